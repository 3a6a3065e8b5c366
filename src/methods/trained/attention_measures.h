#pragma once

#include <ATen/ATen.h>

#include <map>
#include <string>

#include "train/module.h"

namespace ounce::methods {

/// What low-bit training does to attention, on pictures that nobody learns from; means over layers
/// (sheets of Q-ViT and Bi-ViT, section 7):
/// - "code_entropy": bits, of the codes of queries and keys;
/// - "similarity_distance": || G~T - G~S || of queries and keys, see `similarity_distance`;
/// - "map_divergence": KL(teacher's map || student's), by row;
/// - "order_agreement": of the scores, as Kendall's tau, see ranking.h;
/// - "constant_rows": share of the rows of the rounded map that look nowhere.
/// Those that need rounding are left out where nothing is rounded. Both modules run in evaluation
/// mode. Throws `Error` when they have not the same number of attentions.
std::map<std::string, double> attention_measures(train::Module& student, train::Module& teacher,
                                                 const at::Tensor& pictures);

}  // namespace ounce::methods
