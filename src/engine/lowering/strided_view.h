#pragma once

#include <string>

#include "graph/graph.h"

namespace ounce::engine {

/// A tensor seen through strides: element [i, j, ..] lies at offset + i * strides[0] + ... of its
/// source. All in elements.
struct StridedView {
  int64_t offset = 0;
  Shape shape;
  std::vector<int64_t> strides;
};

/// The whole of a row-major tensor.
StridedView contiguous_view(const Shape& shape);

/// Keeps the view of operand `name` ("0", "1", "2", "out") in a node's attributes.
void store_view(AttributeMap& attributes, const std::string& name, const StridedView& view);

/// The view of operand `name`, or the whole tensor of `shape` when there is none.
StridedView load_view(const AttributeMap& attributes, const std::string& name, const Shape& shape);

/// Whether the attention kernel computes this Attention node: f32, equal batches of q, k and v, and
/// at most one mask [.., tokens, keys] whose leading axes broadcast to theirs.
bool attention_kernel_takes(const Graph& graph, const Node& node);

/// Lets matrix products of two activations, and Attention, read through the Transpose, Split,
/// Gather and Reshape nodes before them and write through the Transpose behind them, where strides
/// can express these. The nodes become dead if nobody else reads them.
void absorb_views(Graph& graph);

}  // namespace ounce::engine
