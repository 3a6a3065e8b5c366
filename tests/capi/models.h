#pragma once

#include "formats/ounce_file/ounce_file.h"
#include "graph/graph.h"
#include "tests/support/tensors.h"

namespace ounce::testing {

/// Two products and what is between them, [batch, 8] -> [batch, 4] and [batch, 6].
inline Graph small_model() {
  Graph graph;
  graph.name = "small";
  const ValueId x = graph.add_input("x", DType::f32, {Dim("batch"), 8});
  const ValueId first = graph.add_constant("first", random_tensor({8, 6}, 1));
  const ValueId second = graph.add_constant("second", random_tensor({6, 4}, 2));
  const ValueId hidden = graph.add_node("Relu", {graph.add_node("MatMul", {x, first})});
  graph.outputs = {graph.add_node("MatMul", {hidden, second}), hidden};
  return graph;
}

/// x + [3 numbers], where x is of unknown length.
inline Graph open_model() {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim("n")});
  graph.outputs = {graph.add_node("Add", {x, graph.add_constant("w", random_tensor({3}, 1))})};
  return graph;
}

}  // namespace ounce::testing
