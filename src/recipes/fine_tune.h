#pragma once

#include <cstdint>

#include "graph/graph.h"
#include "recipes/recipe.h"

namespace ounce::recipes {

/// Puts the weights of the checkpoint `source.weights` into the network that was built after
/// `source`, which may be for other pictures than the checkpoint's:
/// - layers that name classes keep their random weights where the checkpoint has none, or has them
///   for another number of classes than `classes`;
/// - positions `pos_embed` [1, tokens, width] of another number of patches are resized as a picture
///   of them (bicubic with antialiasing, as the published ViTs are), both being square;
/// - a distillation token that the checkpoint lacks begins as its class token.
/// Throws `Error` naming the file when anything else differs.
void take_weights(Graph& graph, const ModelSource& source, int64_t classes);

}  // namespace ounce::recipes
