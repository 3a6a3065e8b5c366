#pragma once

#include <cstdint>
#include <optional>

#include "graph/graph.h"
#include "recipes/recipe.h"

namespace ounce::recipes {

/// The network that the first stage begins with: a file's, or a built one, whose weights are random
/// or those of `ModelSource::weights`. Throws `Error` when it does not fit the pictures, their
/// classes, or the checkpoint.
Graph initial_network(const Recipe& recipe, int64_t classes);

/// The network in f32 that the recipe names as teacher, if it names one.
std::optional<Graph> initial_teacher(const Recipe& recipe, int64_t classes);

}  // namespace ounce::recipes
