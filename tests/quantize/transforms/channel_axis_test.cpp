#include "quantize/transforms/channel_axis.h"

#include <gtest/gtest.h>

#include "tests/quantize/graphs.h"

namespace ounce::quantize {
namespace {

using testing::Builder;

/// One node over x [1, 6, 4, 4], whose channels lie along axis 1 or, for tokens, [1, 16, 6] axis 2.
struct OneNode {
  Graph graph;
  const Node& node() const { return graph.nodes.back(); }
};

OneNode over(Shape shape, std::string_view op, std::vector<Tensor> constants,
             AttributeMap attributes = {}) {
  Builder b(1);
  std::vector<ValueId> inputs = {b.input("x", std::move(shape))};
  for (Tensor& constant : constants) {
    inputs.push_back(b.graph.add_constant("constant", std::move(constant)));
  }
  const ValueId output = b.op(op, inputs, "node", std::move(attributes));
  return {b.finish({output})};
}

AttributeMap with(const char* name, int64_t value) {
  AttributeMap attributes;
  attributes.set(name, value);
  return attributes;
}

void expect_axes(const OneNode& one, int64_t before, std::optional<int64_t> behind) {
  EXPECT_EQ(axis_behind(one.graph, one.node(), before), behind) << one.node().op;
  if (!behind) return;
  EXPECT_EQ(axis_before(one.graph, one.node(), *behind), before) << one.node().op;
}

TEST(ChannelAxis, follows_moves_of_other_axes) {
  AttributeMap turn;
  turn.set("perm", std::vector<int64_t>{0, 2, 1});
  expect_axes(over({1, 6, 16}, "Transpose", {}, turn), 1, 2);
  expect_axes(over({1, 6, 4, 4}, "Reshape", {Tensor::of_i64({1, 6, 16})}), 1, 1);
  expect_axes(over({1, 6, 1, 1}, "Flatten", {}), 1, 1);
  expect_axes(over({1, 16, 6}, "Gather", {Tensor::scalar(int64_t{0})}, with("axis", 1)), 2, 1);
  expect_axes(over({1, 16, 6}, "ReduceMean", {Tensor::of_i64({1})}, with("keepdims", 0)), 2, 1);
  expect_axes(over({1, 16, 6}, "ReduceMean", {Tensor::of_i64({1})}, with("keepdims", 1)), 2, 2);
  expect_axes(over({1, 1, 6}, "Expand", {Tensor::of_i64({2, 1, 6})}), 2, 2);
  expect_axes(over({1, 6, 4, 4}, "GlobalAveragePool", {}), 1, 1);
}

TEST(ChannelAxis, ends_where_channels_are_touched) {
  expect_axes(over({1, 6, 4, 4}, "Reshape", {Tensor::of_i64({1, 96})}), 1, std::nullopt);
  expect_axes(over({1, 6, 4, 4}, "Reshape", {Tensor::of_i64({1, 2, 3, 16})}), 1, std::nullopt);
  expect_axes(over({1, 16, 6}, "Gather", {Tensor::scalar(int64_t{0})}, with("axis", 2)), 2,
              std::nullopt);
  expect_axes(over({1, 16, 6}, "ReduceMean", {Tensor::of_i64({-1})}), 2, std::nullopt);
  expect_axes(over({1, 16, 6}, "Relu", {}), 2, std::nullopt);
}

}  // namespace
}  // namespace ounce::quantize
