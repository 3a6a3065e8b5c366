#pragma once

#include <cstdint>

#include "graph/graph.h"
#include "train/image_set.h"
#include "train/module.h"

namespace ounce::recipes {

/// How a frozen network in the engine compares with the network that was trained, picture by
/// picture.
struct Parity {
  int64_t pictures = 0;
  int64_t other_class = 0;        // pictures whose largest logit differs
  double largest_difference = 0;  // of logits, over their range
  double trained_accuracy = 0;    // on these pictures
  double engine_accuracy = 0;     // the same
};

/// Runs `trained` (not in training) by libtorch and `frozen`, which `train::freeze` made of it, in
/// the engine over `set`: what freezing, lowering and kernels change, they change here.
Parity judge(train::Module& trained, const Graph& frozen, const train::ImageSet& set,
             const train::Normalization& normalization, int threads);

}  // namespace ounce::recipes
