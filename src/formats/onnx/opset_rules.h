#pragma once

#include "graph/graph.h"

namespace ounce::formats {

/// No file is written in an older opset: below it, quantization per channel has no form.
inline constexpr int kLowestWrittenOpset = 13;
inline constexpr int kNewestWrittenOpset = 21;

/// Lowest opset whose form of the operator expresses this node.
int required_opset(const Graph& graph, const Node& node);

/// Rewrites a node of opset-21 form into the form of `opset`, which is at least its required one.
void lower_to_opset(const Graph& graph, Node& node, int opset);

}  // namespace ounce::formats
