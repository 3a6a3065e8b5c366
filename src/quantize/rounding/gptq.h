#pragma once

#include <vector>

#include "graph/tensor.h"
#include "quantize/weights.h"

namespace ounce::quantize {

/// Sums of products of what a layer reads: gram[i * size + j] = sum over rows of x_i x_j.
struct Gram {
  int64_t size = 0;
  std::vector<double> sums;
};

/// Rounds the weights of a linear layer anew (GPTQ, arXiv 2210.17323): one input after the other,
/// the greatest diagonal of `gram` first, and what rounding an input's weights costs is made up for
/// by the weights of those that follow, as their correlation allows:
///   H = gram + 0.01 mean(diagonal) I, U'U = H^-1, e_j = (w_j - q_j) / U_jj, w_k -= e_j U_jk.
/// Scales stay as they are ("static groups"). Inputs that are always zero get the code of 0 where
/// there is one. `weights`: f32 [.., ..] or, of a convolution, [outputs, channels, height, width],
/// with `gram.size` inputs; `options` as the codes were made by. Returns false, and
/// leaves the codes, where the rounding to nearest is better by x' H x (rank-deficient data).
bool gptq_round(const Tensor& weights, WeightAxes axes, const WeightOptions& options,
                const Gram& gram, QuantizedWeights& quantized);

}  // namespace ounce::quantize
