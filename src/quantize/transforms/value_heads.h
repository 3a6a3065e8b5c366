#pragma once

#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace ounce::quantize {

/// The second product of attention, map times v, between the linear layer that makes v and the one
/// that reads the result. Softmax maps mix tokens alone, so that the channels of v, head by head,
/// can be multiplied by an orthogonal matrix that the layer behind undoes.
struct ValueHeads {
  int product = -1;                           // MatMul of map and v
  int from = -1;                              // the linear layer that makes v
  int to = -1;                                // the one that reads what the heads make
  std::vector<std::vector<int64_t>> columns;  // [heads][channels]: outputs of `from`
  std::vector<std::vector<int64_t>> rows;     // [heads][channels]: inputs of `to`
  std::vector<ValueId> values;                // between the two layers whose numbers would change
};

/// All attention products of a graph between two linear layers, in order. Where elements come to
/// lie between them is found by moving numbered elements through the graph's own operators. Left
/// out: products whose v takes channels that something else reads, too, and those whose result
/// anything else reads.
std::vector<ValueHeads> value_heads(const Graph& graph);

}  // namespace ounce::quantize
