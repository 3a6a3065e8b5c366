#pragma once

#include <cstdint>
#include <optional>

#include "graph/graph.h"

namespace ounce::tasks {

/// How many times as high and wide as its input [batch, 3, height, width] the first output of a
/// network is, where it is a picture, too; nullopt for a network that makes no larger picture.
std::optional<int64_t> enlargement(const Graph& graph);

}  // namespace ounce::tasks
