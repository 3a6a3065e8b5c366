// Once the plan exists, `run_into` takes nothing from the heap.
#include <gtest/gtest.h>

#include <memory>

#include "engine/kernels/common.h"
#include "graph/operator.h"
#include "tests/engine/graphs.h"
#include "tests/engine/steady_state.h"

namespace ounce::engine {
namespace {

using namespace ounce::testing;

void expect_no_allocation(const GraphBuilder& builder, const Shape& input_shape) {
  Graph graph = builder.graph;
  infer_shapes(graph);
  const std::vector<Tensor> inputs = {random_tensor(input_shape, 41)};
  EXPECT_EQ(reference_operators(graph, inputs), std::set<std::string>{});
  for (const int threads : {1, 2}) {
    EXPECT_EQ(steady_state_allocations(graph, inputs, threads), 0) << "threads: " << threads;
  }
}

AttributeMap axis_attribute(int64_t axis) {
  AttributeMap attributes;
  attributes.set("axis", axis);
  return attributes;
}

AttributeMap window_attributes(int64_t size, int64_t stride) {
  AttributeMap attributes;
  attributes.set("kernel_shape", std::vector<int64_t>{size, size});
  attributes.set("strides", std::vector<int64_t>{stride, stride});
  return attributes;
}

TEST(SteadyState, TheCounterSeesPlainAndAlignedAllocations) {
  const AllocationCounter counter;
  const auto one = std::make_unique<int>(1);
  const AlignedVector<float> two(100);
  EXPECT_EQ(counter.count(), 2);
}

TEST(SteadyState, ConvolutionNet) {
  GraphBuilder b;
  ValueId x = b.input("x", {2, 3, 33, 29});
  x = b.node("Relu", {b.conv(x, {20, 3, 7, 7}, 2, 3)});
  x = b.node("MaxPool", {x}, window_attributes(3, 2));
  const ValueId y = b.node("Silu", {b.conv(x, {20, 20, 3, 3}, 1, 1)});
  x = b.node("Relu", {b.node("Add", {b.conv(y, {20, 20, 3, 3}, 1, 1), x})});
  x = b.conv(x, {24, 10, 3, 3}, 1, 1, 2);
  x = b.node("AveragePool", {x}, window_attributes(2, 2));
  x = b.node("Flatten", {b.node("GlobalAveragePool", {x})});
  b.output(b.node("Softmax", {b.node("Gemm", {x, b.weights({24, 10}), b.weights({10})})}));
  expect_no_allocation(b, {2, 3, 33, 29});
}

TEST(SteadyState, TransposedConvolutions) {
  GraphBuilder b;
  const ValueId x = b.conv(b.input("x", {1, 3, 9, 8}), {12, 3, 3, 3}, 1, 1);
  const ValueId y = b.node(
      "Relu", {b.node("ConvTranspose", {x, b.weights({12, 8, 2, 2})}, window_attributes(2, 2))});
  const ValueId z = b.node("ConvTranspose", {y, b.weights({8, 1, 4, 4}), b.weights({1})},
                           window_attributes(4, 2));
  b.output(b.node("Sigmoid", {z}));
  expect_no_allocation(b, {1, 3, 9, 8});
}

TEST(SteadyState, DepthwiseNetWithChannelGate) {
  GraphBuilder b;
  ValueId x = b.input("x", {1, 8, 19, 17});
  x = b.node("HardSwish", {b.conv(x, {40, 8, 1, 1}, 1, 0)});
  x = b.conv(x, {40, 1, 5, 5}, 2, 2, 40);
  const ValueId gate =
      b.node("HardSigmoid", {b.conv(b.node("GlobalAveragePool", {x}), {40, 40, 1, 1}, 1, 0)});
  b.output(b.node("Mul", {x, gate}));
  expect_no_allocation(b, {1, 8, 19, 17});
}

TEST(SteadyState, Movement) {
  GraphBuilder b;
  const ValueId x = b.input("x", {2, 6, 8, 8});
  const ValueId low = b.conv(x, {10, 6, 3, 3}, 2, 1);
  const ValueId up = b.upsample(low);
  const ValueId joined = b.node("Concat", {up, x}, axis_attribute(1));
  const ValueId part = b.graph.add_node("Split", {joined, b.constant(Tensor::of_i64({5, 11}))},
                                        axis_attribute(1), "split", 2);
  b.output(b.transpose(b.graph.nodes.back().output(1), {2, 0, 3, 1}));
  const ValueId bounds[] = {b.constant(Tensor::of_i64({1})), b.constant(Tensor::of_i64({4})),
                            b.constant(Tensor::of_i64({1}))};
  b.output(b.node("Pad", {part, b.constant(Tensor::of_i64({0, 1, 0, 0, 0, 0, 2, 0}))}));
  const ValueId slice = b.node("Slice", {part, bounds[0], bounds[1], bounds[2]});
  const ValueId picked =
      b.node("Gather", {slice, b.constant(Tensor::of_i64({2, 0}))}, axis_attribute(2));
  b.output(b.node("Expand",
                  {b.reshape(picked, {2, 1, 3, 16}), b.constant(Tensor::of_i64({2, 4, 3, 16}))}));
  expect_no_allocation(b, {2, 6, 8, 8});
}

/// Pre-norm block of two heads of 16; `product` makes a linear layer.
template <class Product>
ValueId transformer_block(GraphBuilder& b, ValueId x, const Product& product) {
  const auto norm = [&](ValueId v) {
    return b.node("LayerNormalization", {v, b.weights({32}), b.weights({32})}, axis_attribute(-1));
  };
  ValueId qkv = product(norm(x), 32, 96);
  qkv = b.transpose(b.reshape(qkv, {-1, 19, 3, 2, 16}), {2, 0, 3, 1, 4});
  const auto part = [&](int64_t index) {
    return b.node("Gather", {qkv, b.constant(Tensor::scalar(index))}, axis_attribute(0));
  };
  ValueId scores = b.node("MatMul", {part(0), b.transpose(part(1), {0, 1, 3, 2})});
  scores = b.node("Mul", {scores, b.constant(Tensor::scalar(0.25F))});
  const ValueId map = b.node("Softmax", {scores}, axis_attribute(-1));
  const ValueId mixed = b.transpose(b.node("MatMul", {map, part(2)}), {0, 2, 1, 3});
  x = b.node("Add", {product(b.reshape(mixed, {-1, 19, 32}), 32, 32), x});
  return b.node("Add", {product(b.node("Gelu", {product(norm(x), 32, 64)}), 64, 32), x});
}

TEST(SteadyState, Transformer) {
  GraphBuilder b;
  const auto product = [&](ValueId x, int64_t from, int64_t to) {
    return b.node("Add", {b.node("MatMul", {x, b.weights({from, to})}), b.weights({to})});
  };
  const ValueId y = transformer_block(b, b.input("x", {2, 19, 32}), product);
  b.output(b.node("ReduceMean", {y, b.constant(Tensor::of_i64({1}))}));
  expect_no_allocation(b, {2, 19, 32});
}

TEST(SteadyState, ElementwiseArithmetic) {
  GraphBuilder b;
  const ValueId x = b.input("x", {3, 5, 7});
  ValueId y = b.node("Exp", {b.node("Neg", {b.node("Abs", {x})})});
  y = b.node("Div", {b.weights({7}), b.node("Add", {y, b.weights({3, 1, 1})})});
  y = b.node("RMSNorm", {b.node("Sin", {y}), b.weights({7})});
  b.output(
      b.node("Max", {b.node("Round", {b.node("Tanh", {y})}), b.constant(Tensor::scalar(0.0F))}));
  expect_no_allocation(b, {3, 5, 7});
}

TEST(SteadyState, IntegerConvolutionNet) {
  GraphBuilder b;
  ValueId x = b.fake_quantize(b.input("x", {1, 3, 21, 17}), 0.008F, 128);
  x = b.fake_quantize(b.node("Relu", {b.quantized_conv(x, {20, 3, 3, 3}, 2, 1)}), 0.02F, 0);
  const ValueId deep = b.quantized_conv(x, {20, 1, 3, 3}, 1, 1, 20);
  x = b.fake_quantize(b.node("Add", {b.fake_quantize(deep, 0.05F, 100), x}), 0.05F, 100);
  x = b.fake_quantize(b.node("MaxPool", {x}, window_attributes(2, 1)), 0.05F, 100);
  const ValueId other = b.fake_quantize(b.quantized_conv(x, {12, 20, 1, 1}, 1, 0), 0.1F, 120);
  x = b.node("Mul", {other, b.node("Sigmoid", {other})});
  x = b.fake_quantize(x, 0.05F, 10);
  x = b.fake_quantize(b.node("Concat", {x, other}, axis_attribute(1)), 0.1F, 110);
  x = b.fake_quantize(b.node("AveragePool", {x}, window_attributes(3, 2)), 0.1F, 110);
  x = b.fake_quantize(b.node("GlobalAveragePool", {x}), 0.05F, 110);
  x = b.node("MatMul", {b.node("Flatten", {x}), b.quantized_weights({24, 10}, 1)});
  b.output(b.node("Add", {x, b.weights({10})}));
  expect_no_allocation(b, {1, 3, 21, 17});
}

TEST(SteadyState, IntegerTransformer) {
  GraphBuilder b;
  const auto product = [&](ValueId x, int64_t from, int64_t to) {
    const ValueId codes = b.fake_quantize(x, 0.02F, 128);
    const ValueId y = b.node("MatMul", {codes, b.quantized_weights({from, to}, 1)});
    return b.fake_quantize(b.node("Add", {y, b.weights({to})}), 0.06F, 128);
  };
  b.output(transformer_block(b, b.input("x", {1, 19, 32}), product));
  expect_no_allocation(b, {1, 19, 32});
}

}  // namespace
}  // namespace ounce::engine
