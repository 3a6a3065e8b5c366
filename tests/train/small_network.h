#pragma once

#include <algorithm>
#include <vector>

#include "graph/graph.h"
#include "train/image_set.h"

namespace ounce::testing {

/// 8x8 pictures whose brightest channel is their class.
inline train::ImageSet channel_pictures(int64_t count) {
  at::Generator random = at::detail::createCPUGenerator(5);
  const at::Tensor labels = at::randint(0, 3, {count}, random, at::kLong);
  at::Tensor images = at::randint(0, 120, {count, 3, 8, 8}, random, at::kByte);
  const at::Tensor bright = at::one_hot(labels, 3).view({count, 3, 1, 1}).to(at::kByte);
  return {images + bright * 60, labels, {"red", "green", "blue"}};
}

inline Tensor random_weights(const Shape& shape) {
  Tensor tensor(DType::f32, shape);
  const at::Tensor values = at::randn(shape) * 0.3;
  const auto* first = values.data_ptr<float>();
  std::copy(first, first + values.numel(), tensor.mutable_data<float>().begin());
  return tensor;
}

inline Tensor filled(int64_t count, float value) {
  return Tensor::of(std::vector<float>(static_cast<size_t>(count), value), {count});
}

/// Convolution, BatchNormalization, Relu, pooling, linear layer.
inline Graph small_network() {
  at::manual_seed(7);
  Graph graph;
  const ValueId x = graph.add_input("pixels", DType::f32, {Dim("batch"), Dim(3), Dim(8), Dim(8)});
  AttributeMap conv;
  conv.set("pads", std::vector<int64_t>{1, 1, 1, 1});
  ValueId y = graph.add_node(
      "Conv", {x, graph.add_constant("conv.weight", random_weights({6, 3, 3, 3}))}, conv, "conv");
  y = graph.add_node(
      "BatchNormalization",
      {y, graph.add_constant("bn.weight", filled(6, 1)),
       graph.add_constant("bn.bias", filled(6, 0)), graph.add_constant("bn.mean", filled(6, 0)),
       graph.add_constant("bn.var", filled(6, 1))},
      {}, "bn");
  y = graph.add_node("Relu", {y}, {}, "relu");
  y = graph.add_node("Flatten", {graph.add_node("GlobalAveragePool", {y}, {}, "pool")}, {}, "flat");
  y = graph.add_node("Gemm",
                     {y, graph.add_constant("fc.weight", random_weights({6, 3})),
                      graph.add_constant("fc.bias", filled(3, 0))},
                     {}, "fc");
  graph.outputs = {y};
  return graph;
}

/// Linear layer, LayerNormalization, Relu, linear layer.
inline Graph layer_normalised_network() {
  at::manual_seed(8);
  Graph graph;
  const ValueId x = graph.add_input("pixels", DType::f32, {Dim("batch"), Dim(3), Dim(8), Dim(8)});
  ValueId y = graph.add_node("Flatten", {x}, {}, "flat");
  y = graph.add_node("Gemm",
                     {y, graph.add_constant("fc1.weight", random_weights({192, 12})),
                      graph.add_constant("fc1.bias", filled(12, 0))},
                     {}, "fc1");
  y = graph.add_node("LayerNormalization",
                     {y, graph.add_constant("norm.weight", filled(12, 1)),
                      graph.add_constant("norm.bias", filled(12, 0))},
                     {}, "norm");
  y = graph.add_node("Relu", {y}, {}, "relu");
  y = graph.add_node("Gemm",
                     {y, graph.add_constant("fc2.weight", random_weights({12, 3})),
                      graph.add_constant("fc2.bias", filled(3, 0))},
                     {}, "fc2");
  graph.outputs = {y};
  return graph;
}

}  // namespace ounce::testing
