#pragma once

#include <cstddef>
#include <vector>

#include "graph/graph.h"
#include "train/quantizers/slices.h"

namespace ounce::methods {

/// Queries or keys of an attention before they are scaled and transposed, and who reads them there.
struct AttentionOperand {
  ValueId value = kNoValue;  // [.., tokens, head_dim]
  int reader = -1;           // node, and which of its inputs
  size_t input = 0;
  bool transposed = false;  // the value is [.., head_dim, tokens]: a Transpose made more of it
};

/// softmax(q k^T [times a number] [+ mask]) v as models spell it out. Nodes are indices.
struct Attention {
  int scores = -1;   // MatMul of q and k
  int softmax = -1;  // over the keys
  int mix = -1;      // MatMul of the map and v
  AttentionOperand q;
  AttentionOperand k;
  /// The scores, scaled, before any mask: [.., queries, keys].
  ValueId logits = kNoValue;
};

/// Every attention of a graph without FakeQuant nodes, in order, found by what nodes compute.
std::vector<Attention> attentions(const Graph& graph);
/// The same; throws `Error` when there is none.
std::vector<Attention> attentions_of(const Graph& graph);

/// The heads [batch, heads, ..] of an operand of attention, or all of it where they are not known.
train::Slices heads_of(const Graph& graph, ValueId value);

/// Which input of a product with a number, or of a quotient by one, is not that number; -1 of other
/// nodes. The number has one element, constant or not: exporters compute 1 / sqrt(head_dim) from
/// shapes.
int scaled_input(const Graph& graph, const Node& node);

/// The product layers (Conv, Gemm, MatMul with weights) that no other one comes before, or that no
/// other one comes behind: patch embedding and heads. One flag a node.
std::vector<bool> end_layers(const Graph& graph);

}  // namespace ounce::methods
