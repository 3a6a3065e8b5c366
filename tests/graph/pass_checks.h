#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "graph/operator.h"
#include "graph/passes/passes.h"
#include "tests/graph/build_graph.h"
#include "tests/graph/equivalence.h"

namespace ounce::testing {

/// Writes small graphs tersely.
struct Builder {
  Graph graph;

  ValueId input(const char* name, SymbolicShape shape) {
    return graph.add_input(name, DType::f32, std::move(shape));
  }
  ValueId weights(Shape shape, uint32_t seed) {
    return graph.add_constant("w", random_tensor(std::move(shape), seed));
  }
  ValueId positive(Shape shape, uint32_t seed) {
    Tensor tensor = random_tensor(std::move(shape), seed);
    for (float& value : tensor.mutable_data<float>()) value = std::abs(value) + 0.1F;
    return graph.add_constant("p", std::move(tensor));
  }
  ValueId number(double value) {
    return graph.add_constant("n", Tensor::scalar(static_cast<float>(value)));
  }
  ValueId ints(Ints values) { return graph.add_constant("i", Tensor::of_i64(std::move(values))); }
  ValueId op(const char* name, std::vector<ValueId> inputs, AttributeMap map = {}) {
    return graph.add_node(name, std::move(inputs), std::move(map));
  }
  /// Ends the graph and infers its shapes.
  Graph done(std::vector<ValueId> outputs) {
    graph.outputs = std::move(outputs);
    infer_shapes(graph);
    return graph;
  }
};

/// Applies `pass`, checks the number of rewrites, the operators that remain, and equivalence.
template <class Pass>
Graph check(const Graph& before, Pass pass, int rewrites, const std::string& wanted,
            double tolerance = 1e-5) {
  Graph after = before;
  EXPECT_EQ(pass(after), rewrites);
  EXPECT_EQ(operators(after), wanted);
  infer_shapes(after);
  expect_equivalent(before, after, tolerance);
  return after;
}

/// Expansion of a fused graph must compute the same, without operators of our own.
inline void check_expansion(const Graph& fused, int opset, const std::string& gone) {
  Graph plain = fused;
  EXPECT_GT(expand_fused(plain, opset), 0);
  EXPECT_EQ(operator_counts(plain).count(gone), 0u) << operators(plain);
  for (const Node& node : plain.nodes) EXPECT_EQ(find_operator(node.op)->domain, "") << node.op;
  expect_equivalent(fused, plain);
}

}  // namespace ounce::testing
