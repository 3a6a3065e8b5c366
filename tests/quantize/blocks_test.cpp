#include "quantize/blocks.h"

#include <gtest/gtest.h>

#include "engine/reference/reference.h"
#include "graph/error.h"
#include "quantize/node_kind.h"
#include "tests/quantize/graphs.h"
#include "tests/support/tensors.h"

namespace ounce::quantize {
namespace {

std::vector<int> layers_of(const Graph& graph) {
  const GraphIndex index(graph);
  std::vector<int> layers;
  for (int i = 0; i < static_cast<int>(graph.nodes.size()); ++i) {
    if (kind_of(graph, index, i) == NodeKind::kProduct) layers.push_back(i);
  }
  return layers;
}

/// "border: layers" of each block.
std::vector<std::string> described(const Graph& graph, const std::vector<Block>& blocks) {
  std::vector<std::string> result;
  for (const Block& block : blocks) {
    result.push_back(graph.value(block.output).name + ":");
    for (const int layer : block.layers) {
      result.back() += " " + graph.nodes[static_cast<size_t>(layer)].name;
    }
  }
  return result;
}

/// Blocks cover the nodes in order, and running them one after the other is running the graph.
void expect_chain(const Graph& graph, const std::vector<Block>& blocks) {
  int next = 0;
  for (const Block& block : blocks) {
    EXPECT_EQ(block.first, next);
    next = block.last;
  }
  EXPECT_EQ(next, static_cast<int>(graph.nodes.size()));
  const std::vector<Tensor> inputs = testing::random_inputs(graph, 5);
  std::vector<Tensor> flow = inputs;
  for (const Block& block : blocks) {
    const Graph part = part_of(graph, {block.input}, {block.output});
    ASSERT_NO_THROW(part.validate());
    flow = engine::reference::run(part, flow);
  }
  const auto expected = engine::reference::run(graph, inputs);
  EXPECT_TRUE(::ounce::testing::close(flow[0], expected[0], 1e-6));
}

TEST(Blocks, of_a_vit_are_its_residual_branches) {
  const Graph graph = testing::vit_block();
  const auto blocks = split_into_blocks(graph, layers_of(graph));
  const auto found = described(graph, blocks);
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[0].substr(found[0].find(':')), ": patch");
  EXPECT_EQ(found[1], "residual1: qkv.matmul proj.matmul");
  EXPECT_EQ(found[2], "class_token: fc1.matmul fc2.matmul") << "what only moves stays with it";
  EXPECT_EQ(found[3].substr(found[3].find(':')), ": head");
  expect_chain(graph, blocks);
}

TEST(Blocks, of_a_residual_network_keep_their_activations) {
  const Graph graph = testing::relu_network();
  const auto blocks = split_into_blocks(graph, layers_of(graph));
  const auto found = described(graph, blocks);
  ASSERT_GE(found.size(), 3U);
  EXPECT_EQ(found[1], "block1.relu2: block1.conv1 block1.conv2");
  expect_chain(graph, blocks);
}

TEST(Blocks, none_of_a_graph_with_two_inputs) {
  testing::Builder b(1);
  const ValueId sum = b.op("Add", {b.input("x", {2, 8}), b.input("y", {2, 8})}, "sum");
  const Graph graph = b.finish({b.linear(sum, 8, 4, "layer")});
  EXPECT_TRUE(split_into_blocks(graph, layers_of(graph)).empty());
}

TEST(Blocks, units_begin_before_what_changes_nothing) {
  testing::Builder b(1);
  const ValueId x = b.input("x", {2, 8});
  const ValueId seen = b.op("Identity", {b.op("Identity", {x}, "one")}, "two");
  const Graph graph = b.finish({b.linear(seen, 8, 4, "layer")});
  const Block unit = unit_of_layer(graph, layers_of(graph)[0]);
  EXPECT_EQ(graph.value(unit.input).name, "x");
  EXPECT_EQ(unit.layers, layers_of(graph));
}

TEST(PartOf, refuses_what_needs_more_than_it_is_given) {
  testing::Builder b(1);
  const ValueId x = b.input("x", {2, 8});
  const ValueId hidden = b.linear(x, 8, 8, "hidden");
  const Graph graph = b.finish({b.op("Add", {hidden, x}, "sum")});
  EXPECT_THROW(part_of(graph, {hidden}, graph.outputs), Error);
  EXPECT_NO_THROW(part_of(graph, {x}, {hidden}));
}

}  // namespace
}  // namespace ounce::quantize
