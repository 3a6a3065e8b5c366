#include <gtest/gtest.h>

#include "engine/reference/reference.h"
#include "graph/error.h"
#include "tests/reference/evaluate_node.h"

namespace ounce::testing {
namespace {

TEST(Registry, implements_every_operator_of_the_table) {
  for (const OperatorSchema* schema : all_operators()) {
    EXPECT_NE(engine::reference::find_operator_function(schema->name), nullptr) << schema->name;
  }
}

TEST(Run, passes_values_between_nodes_and_keeps_those_it_returns) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim(2)});
  const ValueId doubled = graph.add_node("Add", {x, x});
  const ValueId squared = graph.add_node("Mul", {doubled, doubled});
  graph.outputs = {doubled, squared, x};
  const auto outputs = engine::reference::run(graph, std::vector<Tensor>{floats({1, 3}, {2})});
  EXPECT_EQ(outputs[0].to_f32(), (std::vector<float>{2, 6}));
  EXPECT_EQ(outputs[1].to_f32(), (std::vector<float>{4, 36}));
  EXPECT_EQ(outputs[2].to_f32(), (std::vector<float>{1, 3}));
}

TEST(Run, refuses_inputs_of_another_number_or_dtype) {
  Graph graph;
  graph.outputs = {graph.add_node("Relu", {graph.add_input("x", DType::f32, {Dim(2)})})};
  EXPECT_THROW(engine::reference::run(graph, {}), Error);
  EXPECT_THROW(engine::reference::run(graph, std::vector<Tensor>{Tensor::of_i64({1, 2})}), Error);
}

}  // namespace
}  // namespace ounce::testing
