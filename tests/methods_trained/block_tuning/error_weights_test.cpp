#include "methods/trained/block_tuning/error_weights.h"

#include <gtest/gtest.h>

#include "graph/error.h"
#include "tests/quantize/graphs.h"
#include "train/tensor.h"

namespace ounce::methods {
namespace {

using quantize::testing::Builder;

std::vector<Tensor> some_inputs(const Shape& shape, int64_t count) {
  std::vector<Tensor> inputs;
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor x = at::randn(shape, at::detail::createCPUGenerator(static_cast<uint64_t>(i)));
    inputs.push_back(train::from_torch(x));
  }
  return inputs;
}

/// y = 3 x_0 + 1 x_1 + 0 x_2, of a token that is halved behind the first layer.
Graph weighted_sum() {
  Builder b(1);
  const ValueId x = b.input("x", {1, 4, 3});
  const ValueId hidden = b.op("Abs", {x}, "hidden");
  const ValueId sizes =
      b.graph.add_constant("sizes", Tensor::of(std::vector<float>{1, 0.5F, 0, 0}, {1, 4, 1}));
  const ValueId scaled = b.op("Mul", {hidden, sizes}, "scaled");
  const ValueId weights =
      b.graph.add_constant("w", Tensor::of(std::vector<float>{3, 1, 0}, {3, 1}));
  return b.finish({b.op("MatMul", {scaled, weights}, "y")});
}

TEST(ErrorWeights, are_the_squares_of_what_an_error_moves_the_outputs_by) {
  const Graph graph = weighted_sum();
  const ValueId hidden = graph.find_value("hidden");
  const auto weights = error_weights(graph, {hidden}, some_inputs({1, 4, 3}, 3), 1, {});
  const ErrorWeights& found = weights.at(hidden);
  const at::Tensor channels = found.channels.view({-1});
  ASSERT_EQ(channels.numel(), 3);
  EXPECT_NEAR(channels[0].item<float>() / channels[1].item<float>(), 9.0, 1e-3);
  EXPECT_EQ(channels[2].item<float>(), 0.0F);
  EXPECT_NEAR(channels.mean().item<float>(), 1.0, 1e-5);
  ASSERT_EQ(found.places.size(), 3U);
  for (const at::Tensor& run : found.places) {
    const at::Tensor tokens = run.view({-1});
    ASSERT_EQ(tokens.numel(), 4);
    EXPECT_NEAR(tokens[0].item<float>() / tokens[1].item<float>(), 4.0, 1e-3);
    EXPECT_EQ(tokens[3].item<float>(), 0.0F);
  }
  const std::vector<size_t> runs = {0, 2};
  EXPECT_EQ(found.of(runs).sizes(), at::IntArrayRef({2, 4, 3}));
}

/// Of scores the expectation of squared gradients is p_c (1 - p_c).
TEST(ErrorWeights, of_scores_are_the_fisher_information_of_the_softmax) {
  Builder b(2);
  const ValueId scores = b.op("Identity", {b.input("x", {1, 3})}, "scores");
  const Graph graph = b.finish({b.op("Neg", {scores}, "negated")});
  const std::vector<Tensor> inputs(400, Tensor::of(std::vector<float>{0, -1, -2}, {1, 3}));
  const auto weights = error_weights(graph, {scores}, inputs, 3, {});
  const at::Tensor p = at::softmax(at::tensor({0.0F, 1.0F, 2.0F}), 0);
  const at::Tensor expected = p * (1 - p) / (p * (1 - p)).mean();
  const at::Tensor found = weights.at(scores).channels.view({-1});
  EXPECT_LT((found - expected).abs().max().item<float>(), 0.15F) << found;
}

TEST(ErrorWeights, need_an_output_with_a_slope) {
  Builder b(4);
  const ValueId hidden = b.op("Abs", {b.input("x", {1, 3})}, "hidden");
  const Graph graph = b.finish({b.op("ArgMax", {hidden}, "best")});
  EXPECT_THROW(error_weights(graph, {hidden}, some_inputs({1, 3}, 1), 1, {}), Error);
}

TEST(ErrorWeights, of_pictures_are_by_channel_and_by_pixel_and_repeat) {
  const Graph graph = quantize::testing::relu_network();
  ValueId map = kNoValue;
  for (const Node& node : graph.nodes) {
    if (node.op == "Conv") map = node.output(0);
  }
  ASSERT_NE(map, kNoValue);
  Shape shape;
  for (const Dim& dim : *graph.value(graph.inputs[0]).shape) shape.push_back(dim.value);
  const std::vector<Tensor> inputs = some_inputs(shape, 2);
  const auto one = error_weights(graph, {map}, inputs, 5, {});
  const auto same = error_weights(graph, {map}, inputs, 5, {});
  const ErrorWeights& weights = one.at(map);
  EXPECT_EQ(weights.channels.dim(), 4);
  EXPECT_EQ(weights.places[0].size(1), 1);
  EXPECT_TRUE(at::equal(weights.channels, same.at(map).channels));
}

}  // namespace
}  // namespace ounce::methods
