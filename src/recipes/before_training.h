#pragma once

#include <optional>

#include "graph/graph.h"
#include "recipes/recipe.h"
#include "train/image_set.h"

namespace ounce::recipes {

/// What rounding alone does: a network before the first step of a stage.
struct BeforeTraining {
  double loss = 0;  // mean cross entropy of `test` with the labels
  double accuracy = 0;
};

/// A student of the stage, its quantizers set up by 256 pictures of `train`, over `test`; nullopt
/// where the stage quantizes nothing. The stage's own student must be made behind this one: methods
/// know the last they made.
std::optional<BeforeTraining> before_training(const Stage& stage, const Graph& network,
                                              const train::ImageSet& train,
                                              const train::ImageSet& test,
                                              const train::Normalization& normalization);

}  // namespace ounce::recipes
