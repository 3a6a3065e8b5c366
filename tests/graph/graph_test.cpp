#include "graph/graph.h"

#include <gtest/gtest.h>

#include "graph/error.h"
#include "graph/operator.h"
#include "graph/passes/passes.h"

namespace ounce {
namespace {

/// x -> Relu -> Sigmoid -> y, with names as given.
Graph chain() {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim("batch"), 3});
  const ValueId a = graph.add_node("Relu", {x}, {}, "a");
  const ValueId b = graph.add_node("Sigmoid", {a}, {}, "b");
  graph.outputs = {b};
  return graph;
}

std::string message_of(const Graph& graph) {
  try {
    graph.validate();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Graph, taken_and_empty_names_get_a_suffix) {
  Graph graph;
  EXPECT_EQ(graph.value(graph.add_value("w")).name, "w");
  EXPECT_EQ(graph.value(graph.add_value("w")).name, "w.1");
  EXPECT_EQ(graph.value(graph.add_value("w")).name, "w.2");
  EXPECT_FALSE(graph.value(graph.add_value("")).name.empty());
  graph.add_node("Relu", {0}, {}, "n");
  graph.add_node("Relu", {0}, {}, "n");
  EXPECT_EQ(graph.nodes[1].name, "n.1");
}

TEST(Graph, a_second_output_is_named_after_its_node) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {4});
  const ValueId k = graph.add_constant("k", Tensor::of_i64({2}));
  const ValueId first = graph.add_node("TopK", {x, k}, {}, "top", 2);
  EXPECT_EQ(graph.value(first).name, "top");
  EXPECT_EQ(graph.value(graph.nodes[0].output(1)).name, "top.1");
  EXPECT_EQ(graph.nodes[0].output(2), kNoValue);
}

TEST(Graph, replace_uses_reaches_consumers_and_outputs) {
  Graph graph = chain();
  graph.replace_uses(graph.nodes[0].outputs[0], graph.inputs[0]);
  EXPECT_EQ(graph.nodes[1].inputs[0], graph.inputs[0]);
  graph.replace_uses(graph.outputs[0], graph.inputs[0], false);
  EXPECT_NE(graph.outputs[0], graph.inputs[0]);
}

TEST(Graph, sorting_is_stable_and_puts_producers_first) {
  Graph graph = chain();
  graph.add_node("Neg", {graph.inputs[0]}, {}, "c");
  std::swap(graph.nodes[0], graph.nodes[1]);
  EXPECT_THROW(graph.validate(), Error);
  graph.sort_topologically();
  graph.validate();
  EXPECT_EQ(graph.nodes[0].name, "a");
  EXPECT_EQ(graph.nodes[1].name, "b");
  EXPECT_EQ(graph.nodes[2].name, "c");
}

TEST(Graph, a_cycle_is_an_error_that_names_a_node) {
  Graph graph = chain();
  graph.nodes[0].inputs[0] = graph.nodes[1].outputs[0];
  try {
    graph.sort_topologically();
    FAIL() << "a cycle was sorted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'a'"), std::string::npos) << error.what();
  }
}

TEST(Graph, remove_dead_keeps_what_outputs_need_and_all_inputs) {
  Graph graph = chain();
  graph.add_input("unused", DType::f32, {1});
  graph.add_constant("orphan", Tensor::scalar(1.0f));
  graph.add_node("Neg", {graph.inputs[0]}, {}, "dead");
  graph.remove_dead();
  graph.validate();
  EXPECT_EQ(graph.nodes.size(), 2u);
  EXPECT_EQ(graph.inputs.size(), 2u);
  EXPECT_EQ(graph.values.size(), 4u);
  EXPECT_EQ(graph.value(graph.inputs[1]).name, "unused");
  EXPECT_EQ(graph.find_value("orphan"), kNoValue);
}

TEST(Graph, remove_dead_drops_producers_of_folded_constants) {
  Graph graph = chain();
  graph.value(graph.nodes[0].outputs[0]).constant = Tensor(DType::f32, {2, 3});
  graph.remove_dead();
  graph.validate();
  ASSERT_EQ(graph.nodes.size(), 1u);
  EXPECT_EQ(graph.nodes[0].name, "b");
}

TEST(Graph, names_are_found_whatever_happened_to_the_vectors) {
  Graph graph = chain();
  graph.rename_value(graph.outputs[0], "result");
  EXPECT_EQ(graph.find_value("result"), graph.outputs[0]);
  EXPECT_EQ(graph.find_value("b"), kNoValue);
  graph.rename_value(graph.outputs[0], "x");
  EXPECT_EQ(graph.value(graph.outputs[0]).name, "x.1");
  std::swap(graph.values[0].name, graph.values[1].name);  // in place
  EXPECT_EQ(graph.find_value("x"), 1);
  graph.values[2].name = "written";
  EXPECT_EQ(graph.find_value("written"), 2);
  const Graph copy = graph;
  graph.values.insert(graph.values.begin(), Value{.name = "first", .shape = {}, .constant = {}});
  EXPECT_EQ(graph.find_value("first"), 0);
  EXPECT_EQ(graph.find_value("written"), 3);
  EXPECT_EQ(copy.find_value("written"), 2);
  graph.values.pop_back();
  graph.values.pop_back();
  EXPECT_EQ(graph.find_value("written"), kNoValue);
  EXPECT_EQ(graph.unique_value_name("written"), "written");
  graph = copy;
  EXPECT_EQ(graph.find_value("written"), 2);
}

/// Minutes if any step looked at every node for each node.
TEST(Graph, two_hundred_thousand_nodes_are_built_and_cleaned_in_linear_time) {
  constexpr int kNodes = 200'000;
  Graph graph;
  ValueId value = graph.add_input("x", DType::f32, {4});
  for (int i = 0; i < kNodes / 2; ++i) {
    const ValueId one = graph.add_constant("one", Tensor::scalar(1.0f));
    value = graph.add_node("Add", {value, one});
    value = graph.add_node("Identity", {value});
    graph.rename_value(value, "step");
    ASSERT_EQ(graph.find_value(graph.value(value).name), value);
    if (i % 4 == 0) graph.outputs.push_back(value);
  }
  graph.outputs.push_back(value);
  graph.sort_topologically();
  infer_shapes(graph);
  graph.validate();
  EXPECT_EQ(eliminate_no_ops(graph), kNodes / 2);
  EXPECT_EQ(merge_common_subexpressions(graph), 0);
  graph.validate();
  EXPECT_EQ(graph.nodes.size(), size_t{kNodes / 2});
}

TEST(GraphValidate, names_every_broken_invariant) {
  EXPECT_EQ(message_of(chain()), "");
  Graph graph = chain();
  graph.nodes[1].inputs[0] = 99;
  EXPECT_NE(message_of(graph).find("out of range"), std::string::npos);

  graph = chain();
  graph.nodes[1].outputs[0] = graph.nodes[0].outputs[0];
  EXPECT_NE(message_of(graph).find("two producers"), std::string::npos);

  graph = chain();
  graph.values[0].name = graph.values[1].name;
  EXPECT_NE(message_of(graph).find("two values"), std::string::npos);

  graph = chain();
  graph.nodes[0].name = "b";
  EXPECT_NE(message_of(graph).find("two nodes"), std::string::npos);

  graph = chain();
  graph.nodes[0].inputs.clear();
  EXPECT_NE(message_of(graph).find("0 inputs"), std::string::npos);

  graph = chain();
  graph.nodes[0].inputs[0] = kNoValue;
  EXPECT_NE(message_of(graph).find("required input 0"), std::string::npos);

  graph = chain();
  graph.outputs[0] = graph.add_value("nowhere");
  EXPECT_NE(message_of(graph).find("nowhere"), std::string::npos);

  graph = chain();
  graph.outputs[0] = -3;
  EXPECT_NE(message_of(graph).find("out of range"), std::string::npos);
}

TEST(GraphValidate, an_unknown_operator_is_named_with_node_and_nearest_name) {
  Graph graph = chain();
  graph.nodes[0].op = "Sigmoidd";
  const std::string message = message_of(graph);
  EXPECT_NE(message.find("Sigmoidd"), std::string::npos) << message;
  EXPECT_NE(message.find("'a'"), std::string::npos) << message;
  EXPECT_NE(message.find("is Sigmoid)"), std::string::npos) << message;
}

TEST(GraphIndex, counts_producers_and_consumers) {
  Graph graph = chain();
  const ValueId relu = graph.nodes[0].outputs[0];
  const GraphIndex index(graph);
  EXPECT_EQ(index.producer(graph.inputs[0]), -1);
  EXPECT_EQ(index.producer(relu), 0);
  EXPECT_TRUE(index.has_single_use(relu));
  EXPECT_FALSE(index.has_single_use(graph.outputs[0]));
  EXPECT_TRUE(index.is_output(graph.outputs[0]));
}

TEST(Graph, copies_share_weights_until_written) {
  Graph graph;
  const ValueId w = graph.add_constant("w", Tensor::of(std::vector<float>{1, 2}, {2}));
  Graph copy = graph;
  EXPECT_EQ(copy.value(w).constant.raw(), graph.value(w).constant.raw());
  copy.value(w).constant.mutable_data<float>()[0] = 5;
  EXPECT_EQ(graph.value(w).constant.to_f32()[0], 1);
}

TEST(OperatorTable, every_row_is_complete_and_found_by_name) {
  const auto rows = all_operators();
  EXPECT_GT(rows.size(), 120u);
  for (const OperatorSchema* row : rows) {
    EXPECT_EQ(find_operator(row->name), row) << row->name << " stands twice";
    EXPECT_NE(row->infer, nullptr) << row->name;
    EXPECT_LE(row->min_inputs, row->max_inputs) << row->name;
    EXPECT_LE(row->min_outputs, row->max_outputs) << row->name;
  }
  EXPECT_EQ(find_operator("NoSuchThing"), nullptr);
  EXPECT_EQ(nearest_operator("conv"), "Conv");
  EXPECT_FALSE(nearest_operator(std::string(1 << 20, 'x')).empty());
}

}  // namespace
}  // namespace ounce
