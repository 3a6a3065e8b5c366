#pragma once

#include <cstdint>

#include "graph/graph.h"
#include "train/image_set.h"

namespace ounce::recipes {

/// How a frozen network in the engine compares with the trainer's executor, picture by picture.
struct Parity {
  int64_t pictures = 0;
  int64_t other_class = 0;        // pictures whose largest logit differs
  double largest_difference = 0;  // of logits, over their range
  double engine_accuracy = 0;     // on these pictures
};

/// Runs `frozen` over `set` in both: in the engine, and in f64 by libtorch, where sums of products
/// of codes are exact as they are in the engine's integers.
Parity judge(const Graph& frozen, const train::ImageSet& set,
             const train::Normalization& normalization, int threads);

}  // namespace ounce::recipes
