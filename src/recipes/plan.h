#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "recipes/recipe.h"

namespace ounce::recipes {

/// A convolution or product of a stage's network and how its operands are rounded: "4 bits",
/// "ternary", "1 bit", "float".
struct PlannedLayer {
  std::string name;
  std::string op;
  bool has_weights = true;  // else both operands are activations
  std::string second;       // operand: the weights, if it has any
  std::string first;
};

struct StagePlan {
  std::string name;
  std::string method;
  int64_t epochs = 0;
  int64_t batch = 0;
  int64_t steps_per_epoch = 0;
  int64_t parameters = 0;            // of the network
  int64_t quantizer_parameters = 0;  // steps, zero points and whatever else its method learns
  std::vector<PlannedLayer> layers;
  double seconds_per_step = 0;  // median of a few steps, made here and now
  int64_t memory = 0;           // bytes that the process has held at most up to the end of them
};

/// What a run would do. Takes a few steps of every stage on a few of the pictures; writes nothing.
/// Later stages begin from the untrained network of the first: times and sizes are the same.
std::vector<StagePlan> plan(const Recipe& recipe, int threads);

}  // namespace ounce::recipes
