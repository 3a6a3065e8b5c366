#include <gtest/gtest.h>

#include <algorithm>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "tests/engine/graphs.h"

namespace ounce::engine {
namespace {

using ounce::testing::close;
using ounce::testing::codes_close;
using ounce::testing::GraphBuilder;
using ounce::testing::random_tensor;

/// A Q/DQ graph whose output is u8 codes: the engine's integers against the float meaning of the
/// graph. Requantization rounds acc * m where the reference rounds (acc * s) / t: ties may fall to
/// the neighbouring code, nothing else may differ.
void expect_same_codes(const Graph& graph, const Shape& input_shape) {
  Graph inferred = graph;
  infer_shapes(inferred);
  const std::vector<Tensor> inputs = {random_tensor(input_shape, 31)};
  const std::vector<Tensor> expected = reference::run(inferred, inputs);
  const std::vector<Tensor> actual = Session(inferred).run(inputs);
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_TRUE(codes_close(actual[i], expected[i], 1, 0.005)) << "output " << i;
  }
}

/// Every node that is neither Q nor DQ must run on codes.
void expect_all_integer(const Graph& graph) {
  Graph inferred = graph;
  infer_shapes(inferred);
  for (const IntegerSupport& support : integer_support(inferred)) {
    EXPECT_TRUE(support.integer) << support.node << " (" << support.op << "): " << support.reason;
  }
}

TEST(SessionInteger, ConvolutionChainStaysOnCodes) {
  GraphBuilder b;
  ValueId x = b.input("x", {1, 3, 21, 17});
  x = b.fake_quantize(x, 0.008F, 128);
  x = b.node("Relu", {b.quantized_conv(x, {20, 3, 3, 3}, 2, 1)});
  x = b.fake_quantize(x, 0.02F, 0);
  x = b.quantized_conv(x, {20, 1, 3, 3}, 1, 1, 20);
  x = b.fake_quantize(x, 0.05F, 100);
  x = b.quantized_conv(x, {33, 20, 1, 1}, 1, 0);
  b.output(b.quantize(x, 0.1F, 120));
  expect_same_codes(b.graph, {1, 3, 21, 17});
  expect_all_integer(b.graph);
}

TEST(SessionInteger, SiluBetweenQuantizersIsATable) {
  GraphBuilder b;
  ValueId x = b.fake_quantize(b.input("x", {1, 8, 9, 9}), 0.008F, 128);
  x = b.fake_quantize(b.quantized_conv(x, {16, 8, 3, 3}, 1, 1), 0.06F, 130);
  x = b.node("Mul", {x, b.node("Sigmoid", {x})});
  x = b.fake_quantize(x, 0.03F, 9);
  b.output(b.quantize(b.quantized_conv(x, {8, 16, 1, 1}, 1, 0), 0.1F, 128));
  expect_same_codes(b.graph, {1, 8, 9, 9});
  expect_all_integer(b.graph);
}

TEST(SessionInteger, ResidualAdditionPoolingAndConcat) {
  GraphBuilder b;
  ValueId x = b.fake_quantize(b.input("x", {1, 8, 12, 12}), 0.008F, 128);
  const ValueId a = b.fake_quantize(b.quantized_conv(x, {8, 8, 3, 3}, 1, 1), 0.07F, 127);
  const ValueId sum = b.fake_quantize(b.node("Relu", {b.node("Add", {a, x})}), 0.04F, 0);
  AttributeMap pool;
  pool.set("kernel_shape", std::vector<int64_t>{2, 2});
  pool.set("strides", std::vector<int64_t>{2, 2});
  const ValueId pooled = b.node("MaxPool", {sum}, pool);
  const ValueId other = b.fake_quantize(b.quantized_conv(sum, {6, 8, 2, 2}, 2, 0), 0.09F, 120);
  AttributeMap axis;
  axis.set("axis", int64_t{1});
  const ValueId joined = b.fake_quantize(b.node("Concat", {pooled, other}, axis), 0.1F, 110);
  const ValueId mean = b.node("GlobalAveragePool", {joined});
  b.output(b.quantize(mean, 0.05F, 110));
  b.output(b.quantize(b.quantized_conv(joined, {5, 14, 1, 1}, 1, 0), 0.2F, 128));
  expect_same_codes(b.graph, {1, 8, 12, 12});
  expect_all_integer(b.graph);
}

TEST(SessionInteger, ResidualMovesIntoTheConvolution) {
  GraphBuilder b;
  ValueId x = b.fake_quantize(b.input("x", {1, 16, 7, 7}), 0.008F, 128);
  const ValueId y = b.quantized_conv(x, {16, 16, 3, 3}, 1, 1);
  b.output(b.quantize(b.node("Relu", {b.node("Add", {y, x})}), 0.05F, 0));
  expect_same_codes(b.graph, {1, 16, 7, 7});
}

TEST(SessionInteger, LinearWithBiasAndFloatOutput) {
  GraphBuilder b;
  ValueId x = b.fake_quantize(b.input("x", {1, 19, 40}), 0.008F, 128);
  ValueId y = b.node("MatMul", {x, b.quantized_weights({40, 50}, 1)});
  y = b.node("Gelu", {b.node("Add", {y, b.weights({50})})});
  b.output(y);
  Graph graph = b.graph;
  infer_shapes(graph);
  const std::vector<Tensor> inputs = {random_tensor({1, 19, 40}, 3)};
  EXPECT_TRUE(close(Session(graph).run(inputs)[0], reference::run(graph, inputs)[0], 2e-3));
  expect_all_integer(graph);
}

TEST(SessionInteger, BiasesBetweenUnitsOfTheSumAreNotRounded) {
  // A unit is half a step of the output or more: a rounded bias would move a third of the codes.
  const auto weights = [](GraphBuilder& b, const Shape& shape) {
    AttributeMap attributes;
    attributes.set("axis", int64_t{0});
    Tensor scales = random_tensor({shape[0]}, 6);
    for (float& scale : scales.mutable_data<float>()) scale = 0.15F + 0.05F * scale;
    const Tensor codes = cast(random_tensor(shape, 5, 3.0F), DType::i8);
    return b.node("DequantizeLinear", {b.constant(codes), b.constant(scales)}, attributes);
  };
  for (const bool adds_residual : {false, true}) {
    for (const int64_t group : {1, 20}) {
      SCOPED_TRACE(std::to_string(group) + (adds_residual ? " groups, residual" : " groups"));
      GraphBuilder b;
      const ValueId x = b.fake_quantize(b.input("x", {1, 20, 9, 7}), 0.25F, 3);
      ValueId y =
          b.conv_with(x, weights(b, {20, 20 / group, 3, 3}), 1, 1, group, b.weights({20}, 0.5F));
      if (adds_residual) y = b.node("Add", {y, x});
      b.output(b.quantize(y, 0.06F, 120));
      expect_same_codes(b.graph, {1, 20, 9, 7});
      expect_all_integer(b.graph);
    }
  }
}

TEST(SessionInteger, ClampsBeforeQuantizersAreThoseOfCodes) {
  // Behind a norm, whose results are floats; bounds on the grid, between its codes, and one alone.
  const std::vector<std::pair<float, float>> bounds = {
      {-0.4F, 1.1F}, {-0.33F, 0.77F}, {0.2F, 99.0F}};
  for (const auto& [low, high] : bounds) {
    GraphBuilder b;
    const ValueId x =
        b.node("LayerNormalization", {b.input("x", {1, 21, 35}), b.weights({35}, 2.0F)});
    const ValueId clipped =
        b.node("Clip", {x, b.constant(Tensor::scalar(low)), b.constant(Tensor::scalar(high))});
    b.output(b.quantize(clipped, 0.1F, 4));
    b.output(b.quantize(b.node("Relu", {x}), 0.02F, 7));
    // Who reads the clamped floats, too, keeps the clamp.
    const ValueId read_twice = b.node("Clip", {x, b.constant(Tensor::scalar(low))});
    b.output(b.quantize(read_twice, 0.1F, 50));
    b.output(read_twice);
    Graph graph = b.graph;
    infer_shapes(graph);
    const std::vector<Tensor> inputs = {random_tensor({1, 21, 35}, 31)};
    const std::vector<Tensor> expected = reference::run(graph, inputs);
    SessionOptions options;
    options.profile = true;
    Session session(graph, options);
    const std::vector<Tensor> actual = session.run(inputs);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(codes_close(actual[i], expected[i], 1, 0.005)) << "output " << i;
    }
    EXPECT_TRUE(close(actual[3], expected[3], 1e-4));
    const std::vector<StepProfile> steps = session.profile();
    EXPECT_EQ(std::count_if(
                  steps.begin(), steps.end(),
                  [](const StepProfile& step) { return step.kernel.starts_with("activation"); }),
              1);
  }
}

TEST(SessionInteger, AttentionOnCodesReadsThroughTransposes) {
  GraphBuilder b;
  ValueId x = b.fake_quantize(b.input("x", {1, 21, 32}), 0.008F, 128);
  ValueId qkv = b.node("MatMul", {x, b.quantized_weights({32, 96}, 1)});
  qkv = b.fake_quantize(qkv, 0.06F, 128);
  qkv = b.transpose(b.reshape(qkv, {1, 21, 3, 2, 16}), {2, 0, 3, 1, 4});
  AttributeMap axis;
  axis.set("axis", int64_t{0});
  const auto part = [&](int64_t index) {
    return b.node("Gather", {qkv, b.constant(Tensor::scalar(index))}, axis);
  };
  ValueId scores = b.node("MatMul", {part(0), b.transpose(part(1), {0, 1, 3, 2})});
  scores = b.node("Mul", {scores, b.constant(Tensor::scalar(0.02F))});
  AttributeMap last;
  last.set("axis", int64_t{-1});
  const ValueId map = b.fake_quantize(b.node("Softmax", {scores}, last), 1.0F / 255, 0);
  ValueId mixed = b.transpose(b.node("MatMul", {map, part(2)}), {0, 2, 1, 3});
  b.output(b.quantize(b.reshape(mixed, {1, 21, 32}), 0.03F, 128));
  Graph graph = b.graph;
  infer_shapes(graph);
  const std::vector<Tensor> inputs = {random_tensor({1, 21, 32}, 13)};
  const auto actual = Session(graph).run(inputs);
  const auto expected = reference::run(graph, inputs);
  // The map is rounded after a float softmax, whose last bits differ between the executors.
  EXPECT_TRUE(codes_close(actual[0], expected[0], 1, 0.02));
  int products = 0;
  for (const IntegerSupport& support : integer_support(graph)) {
    if (support.op == "MatMul") {
      ++products;
      EXPECT_TRUE(support.integer) << support.node << ": " << support.reason;
    }
  }
  EXPECT_EQ(products, 3);
}

TEST(SessionInteger, SignedActivationsOfOtherToolsRunToo) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 9, 9});
  const auto signed_pair = [&](ValueId value, float scale, int8_t zero_point) {
    const ValueId s = b.constant(Tensor::scalar(scale));
    const ValueId z = b.constant(Tensor::scalar(zero_point));
    return b.node("DequantizeLinear", {b.node("QuantizeLinear", {value, s, z}), s, z});
  };
  ValueId y = b.quantized_conv(signed_pair(x, 0.008F, 3), {6, 4, 3, 3}, 1, 1);
  y = signed_pair(y, 0.05F, -7);
  b.output(b.quantize(b.quantized_conv(y, {4, 6, 3, 3}, 1, 1), 0.1F, 128));
  expect_same_codes(b.graph, {1, 4, 9, 9});
  expect_all_integer(b.graph);
}

TEST(SessionInteger, WhatHasNoIntegerKernelIsNamedAndStillRight) {
  GraphBuilder b;
  ValueId x = b.fake_quantize(b.input("x", {1, 4, 9, 9}), 0.008F, 128);
  // Scales along the input channels: no integer product can factor them out.
  const ValueId w = b.quantized_weights({6, 4, 3, 3}, 1);
  b.output(b.quantize(b.node("Conv", {x, w}), 0.1F, 128));
  expect_same_codes(b.graph, {1, 4, 9, 9});
  Graph graph = b.graph;
  infer_shapes(graph);
  const auto support = integer_support(graph);
  ASSERT_EQ(support.size(), 1U);
  EXPECT_FALSE(support[0].integer);
  EXPECT_NE(support[0].reason.find("output channel"), std::string::npos);
}

}  // namespace
}  // namespace ounce::engine
