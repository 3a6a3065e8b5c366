#include <gtest/gtest.h>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "graph/error.h"
#include "tests/engine/graphs.h"
#include "tests/engine/session_checks.h"

namespace ounce::engine {
namespace {

using ounce::testing::close;
using ounce::testing::GraphBuilder;
using ounce::testing::random_tensor;

/// Both executors on the same random input; float kernels sum in another order than the reference.
void expect_same(const Graph& graph, const Shape& input_shape, int threads = 1) {
  const std::vector<Tensor> inputs = {random_tensor(input_shape, 77)};
  Graph inferred = graph;
  infer_shapes(inferred);
  SessionOptions options;
  options.threads = threads;
  Session session(inferred, options);
  const std::vector<Tensor> expected = reference::run(inferred, inputs);
  for (int run = 0; run < 2; ++run) {  // the second run meets a used arena
    const std::vector<Tensor> actual = session.run(inputs);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i) {
      EXPECT_TRUE(close(actual[i], expected[i], 1e-4)) << "output " << i << ", run " << run;
    }
  }
}

TEST(SessionFloat, ResidualConvolutionNetWithPoolingAndHead) {
  GraphBuilder b;
  ValueId x = b.input("x", {2, 3, 33, 29});
  x = b.node("Relu", {b.conv(x, {20, 3, 7, 7}, 2, 3)});
  AttributeMap pool;
  pool.set("kernel_shape", std::vector<int64_t>{3, 3});
  pool.set("strides", std::vector<int64_t>{2, 2});
  pool.set("pads", std::vector<int64_t>{1, 1, 1, 1});
  x = b.node("MaxPool", {x}, pool);
  const ValueId shortcut = b.conv(x, {24, 20, 1, 1}, 2, 0);
  ValueId y = b.node("Relu", {b.conv(x, {24, 20, 3, 3}, 2, 1)});
  y = b.conv(y, {24, 24, 3, 3}, 1, 1);
  x = b.node("Relu", {b.node("Add", {y, shortcut})});
  x = b.node("Flatten", {b.node("GlobalAveragePool", {x})});
  x = b.node("Gemm", {x, b.weights({24, 10}), b.weights({10})});
  b.output(x);
  expect_same(b.graph, {2, 3, 33, 29});
  expect_same(b.graph, {2, 3, 33, 29}, 3);
}

TEST(SessionFloat, ConvolutionsRunAsPlainSumsOnRequest) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 32, 28, 28});
  b.output(b.conv(x, {32, 32, 3, 3}, 1, 1));
  Graph graph = b.graph;
  infer_shapes(graph);
  const std::vector<Tensor> inputs = {random_tensor({1, 32, 28, 28}, 2)};
  SessionOptions plain;
  plain.winograd = false;
  EXPECT_EQ(count_kernels(kernels_of(graph, inputs), "winograd_f32"), 1);
  EXPECT_EQ(count_kernels(kernels_of(graph, inputs, plain), "conv_f32"), 1);
}

TEST(SessionFloat, DepthwiseSeparableWithClipAndLateActivation) {
  GraphBuilder b;
  ValueId x = b.input("x", {1, 8, 19, 17});
  const ValueId six = b.constant(Tensor::scalar(6.0F));
  const ValueId zero = b.constant(Tensor::scalar(0.0F));
  const ValueId first = b.node("Clip", {b.conv(x, {40, 8, 1, 1}, 1, 0), zero, six});
  const ValueId deep = b.node("Clip", {b.conv(first, {40, 1, 3, 3}, 1, 1, 40), zero, six});
  const ValueId thin = b.conv(deep, {8, 40, 1, 1}, 1, 0);
  b.output(b.node("Add", {b.node("HardSwish", {thin}), x}));
  expect_same(b.graph, {1, 8, 19, 17});
}

TEST(SessionFloat, GroupedDilatedAndOneDimensionalConvolutions) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 12, 15, 15});
  AttributeMap dilated;
  dilated.set("dilations", std::vector<int64_t>{2, 2});
  dilated.set("auto_pad", std::string("SAME_UPPER"));
  dilated.set("group", int64_t{3});
  const ValueId y = b.node("Conv", {x, b.weights({18, 4, 3, 3}), b.weights({18})}, dilated);
  const ValueId line = b.reshape(y, {1, 18, 225});
  AttributeMap one;
  one.set("pads", std::vector<int64_t>{2, 2});
  one.set("strides", std::vector<int64_t>{3});
  b.output(b.node("Conv", {line, b.weights({7, 18, 5}), b.weights({7})}, one));
  expect_same(b.graph, {1, 12, 15, 15});
}

AttributeMap transposed(std::vector<int64_t> strides, std::vector<int64_t> pads, int64_t group) {
  AttributeMap attributes;
  attributes.set("strides", std::move(strides));
  attributes.set("pads", std::move(pads));
  attributes.set("group", group);
  return attributes;
}

TEST(SessionFloat, TransposedConvolutions) {
  GraphBuilder b;
  const ValueId x = b.conv(b.input("x", {2, 6, 9, 7}), {12, 6, 3, 3}, 1, 1);
  const ValueId doubled =
      b.node("Relu", {b.node("ConvTranspose", {x, b.weights({12, 10, 2, 2}), b.weights({10})},
                             transposed({2, 2}, {0, 0, 0, 0}, 1))});
  AttributeMap padded = transposed({3, 2}, {1, 0, 2, 1}, 2);
  padded.set("output_padding", std::vector<int64_t>{1, 1});
  const ValueId grouped = b.node("ConvTranspose", {doubled, b.weights({10, 4, 4, 3})}, padded);
  const ValueId late = b.node("Silu", {grouped});
  for (const char* mode : {"SAME_UPPER", "SAME_LOWER", "VALID"}) {
    AttributeMap automatic;
    automatic.set("auto_pad", std::string(mode));
    automatic.set("strides", std::vector<int64_t>{2, 3});
    automatic.set("dilations", std::vector<int64_t>{2, 1});
    b.output(b.node("ConvTranspose", {x, b.weights({12, 5, 3, 2}), b.weights({5})}, automatic));
  }
  AttributeMap exact;
  exact.set("output_shape", std::vector<int64_t>{20, 13});
  exact.set("strides", std::vector<int64_t>{2, 2});
  b.output(b.node("ConvTranspose", {x, b.weights({12, 3, 3, 3})}, exact));
  b.output(late);
  expect_same(b.graph, {2, 6, 9, 7});
  expect_same(b.graph, {2, 6, 9, 7}, 3);
}

TEST(SessionFloat, TransposedConvolutionOfALine) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 8, 21});
  AttributeMap attributes = transposed({4}, {2, 1}, 1);
  attributes.set("output_padding", std::vector<int64_t>{2});
  attributes.set("dilations", std::vector<int64_t>{3});
  b.output(b.node(
      "Tanh", {b.node("ConvTranspose", {x, b.weights({8, 6, 5}), b.weights({6})}, attributes)}));
  expect_same(b.graph, {1, 8, 21});
  expect_same(b.graph, {1, 8, 21}, 2);
}

TEST(SessionFloat, FeaturePyramidWithConcatResizeSplitAndChannelGate) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 6, 16, 16});
  const ValueId low = b.node("LeakyRelu", {b.conv(x, {10, 6, 3, 3}, 2, 1)});
  const ValueId up = b.upsample(low);
  AttributeMap axis;
  axis.set("axis", int64_t{1});
  const ValueId joined = b.node("Concat", {up, x}, axis);
  const ValueId mixed = b.conv(joined, {12, 16, 1, 1}, 1, 0);
  const ValueId gate =
      b.node("Sigmoid", {b.conv(b.node("GlobalAveragePool", {mixed}), {12, 12, 1, 1}, 1, 0)});
  const ValueId gated = b.node("Mul", {mixed, gate});
  const ValueId scaled = b.node("Mul", {gated, b.weights({12, 1, 1})});
  Graph& graph = b.graph;
  const ValueId first =
      graph.add_node("Split", {scaled, b.constant(Tensor::of_i64({5, 7}))}, axis, "split", 2);
  b.output(first);
  b.output(graph.nodes.back().output(1));
  expect_same(graph, {1, 6, 16, 16});
}

TEST(SessionFloat, ChannelsBecomePixelsAndPixelsChannelsBetweenConvolutions) {
  for (const char* mode : {"CRD", "DCR"}) {
    GraphBuilder b;
    AttributeMap two;
    two.set("blocksize", int64_t{2});
    const ValueId few =
        b.node("SpaceToDepth", {b.conv(b.input("x", {2, 3, 8, 6}), {5, 3, 3, 3}, 1, 1)}, two);
    AttributeMap three;
    three.set("blocksize", int64_t{3});
    three.set("mode", std::string(mode));
    const ValueId many = b.node("DepthToSpace", {b.conv(few, {36, 20, 1, 1}, 1, 0)}, three);
    b.output(many);
    b.output(b.conv(b.node("Relu", {many}), {2, 4, 3, 3}, 1, 1));
    expect_same(b.graph, {2, 3, 8, 6});
    const std::vector<Tensor> inputs = {random_tensor({2, 3, 8, 6}, 3)};
    EXPECT_EQ(count_kernels(kernels_of(b.graph, inputs), "reference"), 0) << mode;
  }
}

TEST(SessionFloat, PaddingOfAnImageFillsAndCuts) {
  GraphBuilder b;
  const ValueId x = b.conv(b.input("x", {2, 3, 8, 9}), {5, 3, 3, 3}, 1, 1);
  const ValueId value = b.constant(Tensor::scalar(0.5F));
  b.output(b.node("Pad", {x, b.constant(Tensor::of_i64({0, 2, 0, -3, 0, 1, -1, 4})), value}));
  const ValueId axes = b.constant(Tensor::of_i64({-1, 1}));
  b.output(b.conv(b.node("Pad", {x, b.constant(Tensor::of_i64({1, 2, 0, 1})), kNoValue, axes}),
                  {4, 8, 1, 1}, 1, 0));
  expect_same(b.graph, {2, 3, 8, 9});
}

TEST(SessionFloat, RootMeanSquareNormAndRounding) {
  GraphBuilder b;
  const ValueId x = b.input("x", {3, 5, 24});
  AttributeMap axis;
  axis.set("axis", int64_t{-1});
  const ValueId y = b.node("RMSNorm", {x, b.weights({24})}, axis);
  b.output(b.node("Mul", {b.node("Sin", {y}), b.node("Cos", {y})}));
  for (const char* op : {"Floor", "Ceil", "Round"}) {
    b.output(b.node(op, {b.node("Mul", {x, b.constant(Tensor::scalar(7.0F))})}));
  }
  expect_same(b.graph, {3, 5, 24});
}

TEST(SessionFloat, MeansOverNeighbouringAndSeparateAxes) {
  GraphBuilder b;
  const ValueId x = b.input("x", {3, 5, 7, 11});
  for (const std::vector<int64_t>& axes :
       {std::vector<int64_t>{1}, {2, 1}, {-1}, {0, 1, 2, 3}, {0, 2}}) {
    b.output(b.node("ReduceMean", {x, b.constant(Tensor::of_i64(axes))}));
  }
  expect_same(b.graph, {3, 5, 7, 11});
}

/// Token mixing as exporters write it: qkv in one product, heads by Reshape and Transpose.
ValueId attention(GraphBuilder& b, ValueId x, int64_t tokens, int64_t heads, int64_t dim) {
  const int64_t width = heads * dim;
  ValueId qkv = b.node(
      "Add", {b.node("MatMul", {x, b.weights({width, 3 * width}, 0.2F)}), b.weights({3 * width})});
  qkv = b.transpose(b.reshape(qkv, {-1, tokens, 3, heads, dim}), {2, 0, 3, 1, 4});
  AttributeMap axis;
  axis.set("axis", int64_t{0});
  const auto part = [&](int64_t index) {
    return b.node("Gather", {qkv, b.constant(Tensor::scalar(index))}, axis);
  };
  const ValueId k = b.transpose(part(1), {0, 1, 3, 2});
  ValueId scores = b.node("MatMul", {part(0), k});
  scores = b.node("Mul", {scores, b.constant(Tensor::scalar(0.25F))});
  AttributeMap last;
  last.set("axis", int64_t{-1});
  const ValueId map = b.node("Softmax", {scores}, last);
  const ValueId mixed = b.transpose(b.node("MatMul", {map, part(2)}), {0, 2, 1, 3});
  return b.reshape(mixed, {-1, tokens, width});
}

TEST(SessionFloat, AttentionReadsAndWritesThroughTransposes) {
  GraphBuilder b;
  const ValueId x = b.input("x", {2, 19, 32});
  const ValueId mixed = attention(b, x, 19, 2, 16);
  const ValueId projected =
      b.node("Add", {b.node("MatMul", {mixed, b.weights({32, 32})}), b.weights({32})});
  b.output(b.node("Add", {projected, x}));
  expect_same(b.graph, {2, 19, 32});
  expect_same(b.graph, {2, 19, 32}, 2);
}

TEST(SessionFloat, PatchEmbeddingKeepsChannelsLast) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 3, 32, 32});
  AttributeMap patch;
  patch.set("strides", std::vector<int64_t>{8, 8});
  const ValueId grid = b.node("Conv", {x, b.weights({24, 3, 8, 8}), b.weights({24})}, patch);
  b.output(b.transpose(b.reshape(grid, {1, 24, 16}), {0, 2, 1}));
  expect_same(b.graph, {1, 3, 32, 32});
}

TEST(SessionFloat, BatchMatMulBroadcastsAndTransposes) {
  GraphBuilder b;
  const ValueId x = b.input("x", {3, 2, 9, 13});
  const ValueId y = b.node("MatMul", {x, b.transpose(x, {0, 1, 3, 2})});
  b.output(b.node("MatMul", {b.reshape(x, {6, 9, 13}), b.reshape(b.weights({13, 5}), {1, 13, 5})}));
  b.output(y);
  expect_same(b.graph, {3, 2, 9, 13});
}

TEST(SessionFloat, DataDependentShapesRunInTheTail) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 4, 6, 6});
  const ValueId y = b.node("Relu", {b.conv(x, {4, 4, 3, 3}, 1, 1)});
  const ValueId positions = b.node("NonZero", {y});
  b.output(y);
  b.output(b.node("Cast", {positions}, [] {
    AttributeMap to;
    to.set("to", int64_t{1});
    return to;
  }()));
  const std::vector<Tensor> inputs = {random_tensor({1, 4, 6, 6}, 5)};
  Graph graph = b.graph;
  infer_shapes(graph);
  Session session(graph);
  const auto actual = session.run(inputs);
  const auto expected = reference::run(graph, inputs);
  EXPECT_TRUE(close(actual[0], expected[0], 1e-5));
  EXPECT_EQ(actual[1].shape()[0], 4);
}

TEST(SessionFloat, TapsSeeTensorsInOnnxLayoutWithoutChangingResults) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 3, 10, 10});
  const ValueId first = b.conv(x, {5, 3, 3, 3}, 1, 1);
  const ValueId relu = b.node("Relu", {first});
  b.output(b.conv(relu, {2, 5, 3, 3}, 2, 1));
  Graph graph = b.graph;
  infer_shapes(graph);
  SessionOptions options;
  options.taps = {graph.value(first).name, graph.value(relu).name};
  Session tapped(graph, options);
  const std::vector<Tensor> inputs = {random_tensor({1, 3, 10, 10}, 6)};
  std::map<std::string, Tensor> seen;
  const auto actual = tapped.run(inputs, [&](std::string_view name, const Tensor& tensor) {
    seen[std::string(name)] = Tensor::of(tensor.data<float>(), tensor.shape());
  });
  Graph with_outputs = graph;
  with_outputs.outputs = {graph.outputs[0], first, relu};
  const auto expected = reference::run(with_outputs, inputs);
  EXPECT_TRUE(close(actual[0], expected[0], 1e-4));
  EXPECT_TRUE(close(seen.at(graph.value(first).name), expected[1], 1e-4));
  EXPECT_TRUE(close(seen.at(graph.value(relu).name), expected[2], 1e-4));
}

TEST(SessionFloat, PlanFollowsTheInputShape) {
  GraphBuilder b;
  b.graph.add_input("x", DType::f32, {Dim("batch"), Dim(3), Dim("height"), Dim("width")});
  b.output(b.conv(0, {4, 3, 3, 3}, 1, 1));
  Graph graph = b.graph;
  infer_shapes(graph);
  Session session(graph);
  for (const Shape& shape : {Shape{1, 3, 8, 8}, Shape{2, 3, 5, 9}, Shape{1, 3, 8, 8}}) {
    const std::vector<Tensor> inputs = {random_tensor(shape, 9)};
    EXPECT_TRUE(close(session.run(inputs)[0], reference::run(graph, inputs)[0], 1e-4));
  }
}

TEST(SessionFloat, WrongInputsAreNamed) {
  GraphBuilder b;
  const ValueId x = b.input("pixels", {1, 3, 8, 8});
  b.output(b.node("Relu", {x}));
  Graph graph = b.graph;
  infer_shapes(graph);
  Session session(graph);
  const std::vector<Tensor> wrong_shape = {random_tensor({1, 3, 9, 8}, 1)};
  try {
    session.run(wrong_shape);
    FAIL() << "a wrong shape was accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "input 'pixels': expected shape [1, 3, 8, 8], got [1, 3, 9, 8]");
  }
  const std::vector<Tensor> wrong_type = {Tensor(DType::i64, {1, 3, 8, 8})};
  EXPECT_THROW(session.run(wrong_type), Error);
  EXPECT_THROW(session.run({}), Error);
}

}  // namespace
}  // namespace ounce::engine
