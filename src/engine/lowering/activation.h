#pragma once

#include <optional>

#include "engine/kernels/common.h"
#include "graph/graph.h"

namespace ounce::engine {

/// The epilogue activation that computes this node (Relu, Clip, Silu, Gelu, ...), if there is one.
std::optional<ActivationSpec> activation_of(const Graph& graph, const Node& node);

/// Keeps an activation in the attributes of an internal node, and reads it back.
void store_activation(AttributeMap& attributes, const ActivationSpec& activation);
ActivationSpec load_activation(const AttributeMap& attributes);

}  // namespace ounce::engine
