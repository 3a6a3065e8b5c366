#include "tests/quantize/graphs.h"

#include <cmath>

#include "engine/reference/reference.h"
#include "graph/operator.h"

namespace ounce::quantize::testing {

ValueId Builder::input(std::string_view name, Shape shape) {
  return graph.add_input(name, DType::f32, symbolic(shape));
}

Tensor Builder::random(Shape shape, float sigma) {
  Tensor tensor(DType::f32, std::move(shape));
  std::normal_distribution<float> normal(0.0F, sigma);
  for (float& value : tensor.mutable_data<float>()) value = normal(random_);
  return tensor;
}

ValueId Builder::op(std::string_view op, std::vector<ValueId> inputs, std::string_view name,
                    AttributeMap attributes) {
  return graph.add_node(op, std::move(inputs), std::move(attributes), name);
}

ValueId Builder::conv(ValueId x, int64_t in, int64_t out, int64_t kernel, std::string_view name,
                      int64_t stride, int64_t groups) {
  const std::string base(name);
  const float sigma = std::sqrt(2.0F / static_cast<float>(in / groups * kernel * kernel));
  const ValueId w =
      graph.add_constant(base + ".weight", random({out, in / groups, kernel, kernel}, sigma));
  const ValueId b = graph.add_constant(base + ".bias", random({out}, 0.1F));
  AttributeMap attributes;
  attributes.set("kernel_shape", std::vector<int64_t>{kernel, kernel});
  attributes.set("strides", std::vector<int64_t>{stride, stride});
  attributes.set("pads", std::vector<int64_t>(4, kernel / 2));
  attributes.set("group", groups);
  return op("Conv", {x, w, b}, name, std::move(attributes));
}

ValueId Builder::silu(ValueId x, std::string_view name) {
  const std::string base(name);
  return op("Mul", {x, op("Sigmoid", {x}, base + ".sigmoid")}, base);
}

ValueId Builder::linear(ValueId x, int64_t in, int64_t out, std::string_view name) {
  const std::string base(name);
  const float sigma = 1.0F / std::sqrt(static_cast<float>(in));
  const ValueId w = graph.add_constant(base + ".weight", random({in, out}, sigma));
  const ValueId b = graph.add_constant(base + ".bias", random({out}, 0.1F));
  return op("Add", {op("MatMul", {x, w}, base + ".matmul"), b}, base);
}

ValueId Builder::layer_norm(ValueId x, int64_t width, std::string_view name) {
  const std::string base(name);
  const ValueId scale = graph.add_constant(
      base + ".scale", Tensor::of(std::vector<float>(static_cast<size_t>(width), 1.0F), {width}));
  const ValueId bias = graph.add_constant(base + ".shift", random({width}, 0.1F));
  AttributeMap attributes;
  attributes.set("axis", int64_t{-1});
  return op("LayerNormalization", {x, scale, bias}, name, std::move(attributes));
}

Graph Builder::finish(std::vector<ValueId> outputs) {
  graph.outputs = std::move(outputs);
  InferOptions options;
  options.evaluator = &engine::reference::evaluator();
  infer_shapes(graph, options);
  graph.validate();
  return graph;
}

Graph residual_network() {
  Builder b(11);
  const ValueId image = b.input("image", {1, 3, 16, 16});
  ValueId x = b.silu(b.conv(image, 3, 8, 3, "stem"), "stem.act");
  for (const std::string block : {"block1", "block2"}) {
    const ValueId y = b.silu(b.conv(x, 8, 8, 3, block + ".conv1"), block + ".act1");
    const ValueId z = b.silu(b.conv(y, 8, 8, 3, block + ".conv2"), block + ".act2");
    x = b.op("Add", {x, z}, block + ".add");
  }
  AttributeMap pool;
  pool.set("kernel_shape", std::vector<int64_t>{3, 3});
  pool.set("pads", std::vector<int64_t>(4, 1));
  const ValueId pooled = b.op("MaxPool", {x}, "pool", pool);
  AttributeMap axis;
  axis.set("axis", int64_t{1});
  x = b.op("Concat", {x, pooled}, "concat", axis);
  x = b.silu(b.conv(x, 16, 16, 1, "mix"), "mix.act");
  x = b.op("Flatten", {b.op("GlobalAveragePool", {x}, "mean")}, "flatten");
  const ValueId w = b.graph.add_constant("fc.weight", b.random({10, 16}, 0.3F));
  const ValueId bias = b.graph.add_constant("fc.bias", b.random({10}, 0.1F));
  AttributeMap gemm;
  gemm.set("transB", int64_t{1});
  return b.finish({b.op("Gemm", {x, w, bias}, "fc", gemm)});
}

Graph relu_network() {
  Builder b(12);
  const ValueId image = b.input("image", {1, 3, 16, 16});
  ValueId x = b.op("Relu", {b.conv(image, 3, 8, 3, "stem", 2)}, "stem.relu");
  for (const std::string block : {"block1", "block2"}) {
    const ValueId y = b.op("Relu", {b.conv(x, 8, 8, 3, block + ".conv1")}, block + ".relu1");
    const ValueId z = b.conv(y, 8, 8, 3, block + ".conv2");
    x = b.op("Relu", {b.op("Add", {x, z}, block + ".add")}, block + ".relu2");
  }
  const ValueId depthwise = b.conv(x, 8, 8, 3, "depthwise", 1, 8);
  return b.finish({b.conv(b.op("Relu", {depthwise}, "depthwise.relu"), 8, 4, 1, "head")});
}

Graph vit_block() {
  constexpr int64_t kWidth = 16, kTokens = 16, kHeads = 2;
  Builder b(13);
  const auto shape_constant = [&](std::string_view name, std::vector<int64_t> values) {
    return b.graph.add_constant(name, Tensor::of_i64(std::move(values)));
  };
  const ValueId image = b.input("image", {1, 3, 16, 16});
  const ValueId w = b.graph.add_constant("patch.weight", b.random({kWidth, 3, 4, 4}, 0.15F));
  AttributeMap stride;
  stride.set("kernel_shape", std::vector<int64_t>{4, 4});
  stride.set("strides", std::vector<int64_t>{4, 4});
  ValueId x = b.op("Conv", {image, w}, "patch", stride);
  x = b.op("Reshape", {x, shape_constant("tokens", {1, kWidth, kTokens})}, "patch.reshape");
  AttributeMap swap;
  swap.set("perm", std::vector<int64_t>{0, 2, 1});
  x = b.op("Transpose", {x}, "patch.transpose", swap);
  x = b.op("Add", {x, b.graph.add_constant("position", b.random({1, kTokens, kWidth}, 0.2F))},
           "embed");

  const ValueId qkv = b.linear(b.layer_norm(x, kWidth, "norm1"), kWidth, 3 * kWidth, "qkv");
  const ValueId split =
      b.op("Reshape", {qkv, shape_constant("heads", {1, kTokens, 3, kHeads, kWidth / kHeads})},
           "qkv.reshape");
  AttributeMap heads_first;
  heads_first.set("perm", std::vector<int64_t>{2, 0, 3, 1, 4});
  const ValueId stacked = b.op("Transpose", {split}, "qkv.transpose", heads_first);
  const auto part = [&](int64_t i, std::string_view name) {
    AttributeMap axis;
    axis.set("axis", int64_t{0});
    return b.op("Gather",
                {stacked, b.graph.add_constant(std::string(name) + ".index", Tensor::scalar(i))},
                name, axis);
  };
  AttributeMap last_two;
  last_two.set("perm", std::vector<int64_t>{0, 1, 3, 2});
  const ValueId scores =
      b.op("MatMul", {part(0, "q"), b.op("Transpose", {part(1, "k")}, "k.transpose", last_two)},
           "scores");
  const ValueId scaled =
      b.op("Mul", {scores, b.graph.add_constant("scale", Tensor::scalar(0.35F))}, "scaled");
  AttributeMap axis;
  axis.set("axis", int64_t{-1});
  const ValueId mixed =
      b.op("MatMul", {b.op("Softmax", {scaled}, "softmax", axis), part(2, "v")}, "mixed");
  AttributeMap heads_back;
  heads_back.set("perm", std::vector<int64_t>{0, 2, 1, 3});
  ValueId joined = b.op("Transpose", {mixed}, "join.transpose", heads_back);
  joined = b.op("Reshape", {joined, shape_constant("joined", {1, kTokens, kWidth})}, "join");
  x = b.op("Add", {x, b.linear(joined, kWidth, kWidth, "proj")}, "residual1");
  const ValueId hidden = b.linear(b.layer_norm(x, kWidth, "norm2"), kWidth, 4 * kWidth, "fc1");
  const ValueId active = b.op("Gelu", {hidden}, "gelu");
  x = b.op("Add", {x, b.linear(active, 4 * kWidth, kWidth, "fc2")}, "residual2");
  AttributeMap cls;
  cls.set("axis", int64_t{1});
  x = b.op(
      "Gather",
      {b.layer_norm(x, kWidth, "norm3"), b.graph.add_constant("first", Tensor::scalar(int64_t{0}))},
      "class_token", cls);
  const ValueId head = b.graph.add_constant("head.weight", b.random({kWidth, 5}, 0.25F));
  const ValueId head_bias = b.graph.add_constant("head.bias", b.random({5}, 0.1F));
  return b.finish({b.op("Gemm", {x, head, head_bias}, "head")});
}

Graph detector_tail() {
  constexpr int64_t kBins = 8, kCells = 64;
  Builder b(14);
  const auto shape_constant = [&](std::string_view name, std::vector<int64_t> values) {
    return b.graph.add_constant(name, Tensor::of_i64(std::move(values)));
  };
  const ValueId image = b.input("image", {1, 3, 16, 16});
  const ValueId features = b.silu(b.conv(image, 3, 8, 3, "stem", 2), "stem.act");
  const ValueId classes = b.op("Sigmoid", {b.conv(features, 8, 3, 1, "class_head")}, "scores");
  const ValueId boxes = b.conv(features, 8, 4 * kBins, 1, "box_head");
  ValueId x =
      b.op("Reshape", {boxes, shape_constant("bins", {1, 4, kBins, kCells})}, "box.reshape");
  AttributeMap order;
  order.set("perm", std::vector<int64_t>{0, 2, 1, 3});
  x = b.op("Transpose", {x}, "box.transpose", order);
  AttributeMap axis;
  axis.set("axis", int64_t{1});
  x = b.op("Softmax", {x}, "box.softmax", axis);
  std::vector<float> numbers(kBins);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i);
  const ValueId w = b.graph.add_constant("dfl.weight", Tensor::of(numbers, {1, kBins, 1, 1}));
  x = b.op("Conv", {x, w}, "dfl");
  x = b.op("Mul", {x, b.graph.add_constant("stride", Tensor::scalar(8.0F))}, "decoded");
  return b.finish({classes, x});
}

std::vector<Tensor> random_inputs(const Graph& graph, unsigned seed) {
  Builder source(seed);
  std::vector<Tensor> inputs;
  for (const ValueId id : graph.inputs) {
    inputs.push_back(source.random(*concrete(*graph.value(id).shape), 1.0F));
  }
  return inputs;
}

}  // namespace ounce::quantize::testing
