#include "quantize/node_kind.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>

#include "graph/product.h"

namespace ounce::quantize {
namespace {

bool one_of(std::string_view op, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), op) != list.end();
}

bool is_float_constant(const Graph& graph, ValueId id) {
  const Tensor* constant = graph.constant(id);
  return constant != nullptr && constant->dtype() == DType::f32;
}

bool is_scalar_constant(const Graph& graph, ValueId id) {
  const Tensor* constant = graph.constant(id);
  return constant != nullptr && constant->size() == 1;
}

bool is_float_data(const Graph& graph, ValueId id) {
  return id != kNoValue && !graph.value(id).is_constant() && graph.value(id).dtype == DType::f32;
}

int64_t rank_of(const Graph& graph, ValueId id) {
  const auto& shape = graph.value(id).shape;
  return shape ? static_cast<int64_t>(shape->size()) : -1;
}

/// The MatMul whose constant vector bias this Add is, or -1.
int biased_matmul(const Graph& graph, const GraphIndex& index, const Node& add) {
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const ValueId data = add.input(side);
    const Tensor* bias = graph.constant(add.input(1 - side));
    const int producer = data == kNoValue ? -1 : index.producer(data);
    if (bias == nullptr || bias->dtype() != DType::f32 || producer < 0) continue;
    const Node& matmul = graph.nodes[static_cast<size_t>(producer)];
    const Tensor* weights = graph.constant(matmul.input(1));
    if (matmul.op != "MatMul" || weights == nullptr || weights->rank() != 2) continue;
    if (bias->size() == weights->shape()[1] && !bias->shape().empty() &&
        bias->shape().back() == bias->size() && index.has_single_use(data)) {
      return producer;
    }
  }
  return -1;
}

bool is_spatial_mean(const Graph& graph, const Node& node) {
  const Tensor* axes = graph.constant(node.input(1));
  if (axes == nullptr || rank_of(graph, node.input(0)) != 4) return false;
  std::vector<int64_t> list = axes->to_i64();
  for (int64_t& axis : list) axis = axis < 0 ? axis + 4 : axis;
  std::sort(list.begin(), list.end());
  return list == std::vector<int64_t>{2, 3} && node.attributes.get_int("keepdims", 1) != 0;
}

/// Functions of one value, given that any other operand is a scalar constant.
bool is_table_operator(std::string_view op) {
  return one_of(op, {"Relu",        "Clip",     "LeakyRelu", "Sigmoid",
                     "Tanh",        "Silu",     "Gelu",      "HardSwish",
                     "HardSigmoid", "Elu",      "Selu",      "Celu",
                     "Softplus",    "Softsign", "Mish",      "ThresholdedRelu",
                     "Identity",    "Mul",      "Add",       "Sub",
                     "Div"});
}

bool others_are_scalar_constants(const Graph& graph, const Node& node) {
  int data = 0;
  for (const ValueId id : node.inputs) {
    if (id == kNoValue || is_scalar_constant(graph, id)) continue;
    if (!is_float_data(graph, id)) return false;
    ++data;
  }
  return data == 1;
}

NodeKind kind_of_binary(const Graph& graph, const GraphIndex& index, const Node& node) {
  if (node.op == "Add" && biased_matmul(graph, index, node) >= 0) return NodeKind::kBias;
  if (is_float_data(graph, node.input(0)) && is_float_data(graph, node.input(1))) {
    return node.op == "Add" ? NodeKind::kAdd : NodeKind::kMul;
  }
  return others_are_scalar_constants(graph, node) ? NodeKind::kTable : NodeKind::kOther;
}

bool pads_with_zero(const Graph& graph, const Node& node) {
  if (node.attributes.get_string("mode", "constant") != "constant") return false;
  if (node.input(2) == kNoValue) return true;
  return is_scalar_constant(graph, node.input(2)) &&
         graph.constant(node.input(2))->to_f32()[0] == 0.0F;
}

bool other_inputs_constant(const Graph& graph, const Node& node) {
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (node.inputs[i] != kNoValue && !graph.value(node.inputs[i]).is_constant()) return false;
  }
  return true;
}

NodeKind kind_of_data_movement(const Graph& graph, const Node& node) {
  if (one_of(node.op, {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "DepthToSpace",
                       "SpaceToDepth", "Dropout"})) {
    return NodeKind::kMover;
  }
  if (node.op == "Resize" && node.attributes.get_string("mode", "nearest") == "nearest") {
    return NodeKind::kMover;
  }
  if (node.op == "Pad" && pads_with_zero(graph, node)) return NodeKind::kMover;
  if (node.op == "MaxPool" && node.outputs.size() == 1) return NodeKind::kSelector;
  if (one_of(node.op, {"Slice", "Split", "Gather"}) && other_inputs_constant(graph, node)) {
    return NodeKind::kSelector;
  }
  return NodeKind::kOther;
}

}  // namespace

NodeKind kind_of(const Graph& graph, const GraphIndex& index, int node_index) {
  const Node& node = graph.nodes[static_cast<size_t>(node_index)];
  if (node.inputs.empty() || node.outputs.empty() || node.output(0) == kNoValue ||
      graph.value(node.output(0)).dtype != DType::f32) {
    return NodeKind::kOther;
  }
  if (node.op == "MatMul" && is_float_data(graph, node.input(0)) &&
      is_float_data(graph, node.input(1))) {
    return NodeKind::kActivationProduct;
  }
  if (one_of(node.op, {"Conv", "Gemm", "MatMul"})) {
    return product_weights(graph, index, node_index) ? NodeKind::kProduct : NodeKind::kOther;
  }
  if (node.op == "Add" || node.op == "Mul") return kind_of_binary(graph, index, node);
  if (node.op == "Concat") {
    const bool data = std::all_of(node.inputs.begin(), node.inputs.end(),
                                  [&](ValueId id) { return is_float_data(graph, id); });
    return data ? NodeKind::kConcat : NodeKind::kOther;
  }
  if (one_of(node.op, {"AveragePool", "GlobalAveragePool"}) ||
      (node.op == "ReduceMean" && is_spatial_mean(graph, node))) {
    return rank_of(graph, node.input(0)) == 4 ? NodeKind::kAverage : NodeKind::kOther;
  }
  if (is_table_operator(node.op)) {
    if (!others_are_scalar_constants(graph, node)) return NodeKind::kOther;
    return one_of(node.op, {"Relu", "Clip"}) ? NodeKind::kClamp : NodeKind::kTable;
  }
  if (!is_float_data(graph, node.input(0))) return NodeKind::kOther;
  return kind_of_data_movement(graph, node);
}

ValueId data_operand(const Graph& graph, const Node& node) {
  for (const ValueId id : node.inputs) {
    if (is_float_data(graph, id)) return id;
  }
  return kNoValue;
}

std::optional<ProductWeights> product_weights(const Graph& graph, const GraphIndex& index,
                                              int node_index) {
  const Node& node = graph.nodes[static_cast<size_t>(node_index)];
  const Tensor* weights = graph.constant(node.input(1));
  if (weights == nullptr || weights->dtype() != DType::f32 ||
      !is_float_data(graph, node.input(0))) {
    return std::nullopt;
  }
  ProductWeights product;
  product.weights = node.input(1);
  if (node.op == "Conv") {
    if (weights->rank() != 3 && weights->rank() != 4) return std::nullopt;
    product.axes = {0, 1};
    product.groups = node.attributes.get_int("group", 1);
    product.bias = node.input(2);
  } else if (node.op == "Gemm") {
    if (!is_plain_product(node) || weights->rank() != 2) return std::nullopt;
    product.axes = weights_are_n_by_k(node) ? WeightAxes{0, 1} : WeightAxes{1, 0};
    product.bias = node.input(2);
  } else if (node.op == "MatMul") {
    if (weights->rank() != 2) return std::nullopt;
    product.axes = {1, 0};
    for (const int reader : index.consumers(node.output(0))) {
      const Node& add = graph.nodes[static_cast<size_t>(reader)];
      if (add.op == "Add" && biased_matmul(graph, index, add) == node_index) {
        product.bias_node = reader;
        product.bias = add.input(0) == node.output(0) ? add.input(1) : add.input(0);
      }
    }
  } else {
    return std::nullopt;
  }
  if (product.bias != kNoValue) {
    const int64_t channels = weights->shape()[static_cast<size_t>(product.axes.channel)];
    if (!is_float_constant(graph, product.bias) ||
        graph.constant(product.bias)->size() != channels) {
      return std::nullopt;
    }
  }
  return product;
}

namespace {

using Bounds = std::vector<std::optional<LowerBound>>;

std::optional<LowerBound> bound_at(const Bounds& bounds, ValueId id) {
  return id == kNoValue ? std::nullopt : bounds[static_cast<size_t>(id)];
}

std::optional<LowerBound> sum_bound(const Bounds& bounds, const Node& node) {
  const auto a = bound_at(bounds, node.input(0));
  const auto b = bound_at(bounds, node.input(1));
  if (!a || !b) return std::nullopt;
  const float sum = a->value + b->value;
  return LowerBound{sum, sum == 0.0F && a->tight && b->tight};
}

/// A gate in [0, 1] times a bounded tensor.
std::optional<LowerBound> gated_bound(const Graph& graph, const Bounds& bounds, const Node& node) {
  const auto a = bound_at(bounds, node.input(0));
  const auto b = bound_at(bounds, node.input(1));
  if (!a || !b || graph.value(node.input(0)).is_constant() ||
      graph.value(node.input(1)).is_constant()) {
    return std::nullopt;
  }
  if (a->value >= 0.0F && b->value >= 0.0F) return LowerBound{0.0F, true};
  return std::nullopt;
}

std::optional<LowerBound> least_bound(const Bounds& bounds, const Node& node) {
  std::optional<LowerBound> least = LowerBound{0.0F, true};
  for (const ValueId id : node.inputs) {
    const auto bound = bound_at(bounds, id);
    if (!bound) return std::nullopt;
    if (bound->value < least->value) {
      least = bound;
    } else if (bound->value == least->value) {
      least->tight = least->tight || bound->tight;
    }
  }
  return least;
}

/// Minimum of the function itself, whatever goes in.
std::optional<LowerBound> function_bound(const Graph& graph, const Node& node) {
  if (node.op == "Silu") return LowerBound{kSiluLowerBound, true};
  if (node.op == "Gelu") return LowerBound{kGeluLowerBound, true};
  if (node.op == "HardSwish") return LowerBound{kHardSwishLowerBound, true};
  if (node.op == "Mish") return LowerBound{kMishLowerBound, true};
  if (one_of(node.op, {"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Abs", "Exp",
                       "Sqrt", "ThresholdedRelu"})) {
    return LowerBound{0.0F, true};
  }
  if (node.op == "Clip") {
    const Tensor* low = graph.constant(node.input(1));
    if (low != nullptr && low->size() == 1) return LowerBound{low->to_f32()[0], true};
  }
  return std::nullopt;
}

}  // namespace

std::optional<LowerBound> lower_bound_of(const Graph& graph, const Node& node,
                                         const Bounds& bounds) {
  if (const auto bound = function_bound(graph, node)) return bound;
  if (node.op == "Add") return sum_bound(bounds, node);
  if (node.op == "Mul") return gated_bound(graph, bounds, node);
  if (node.op == "Concat") return least_bound(bounds, node);
  if (one_of(node.op, {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "DepthToSpace",
                       "SpaceToDepth", "Dropout", "Identity", "MaxPool", "Slice", "Split", "Gather",
                       "Expand", "Tile"})) {
    return bound_at(bounds, node.input(0));
  }
  if (node.op == "Resize" && node.attributes.get_string("mode", "nearest") != "cubic") {
    return bound_at(bounds, node.input(0));
  }
  if (node.op == "Pad" && pads_with_zero(graph, node)) return bound_at(bounds, node.input(0));
  if (one_of(node.op, {"AveragePool", "GlobalAveragePool", "ReduceMean"})) {
    auto bound = bound_at(bounds, node.input(0));
    if (bound) bound->tight = bound->value == 0.0F;  // a mean stays above the minimum
    return bound;
  }
  return std::nullopt;
}

bool is_heavy(const Node& node) {
  return one_of(node.op, {"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN",
                          "Attention"});
}

std::string why_not_quantizable(const Graph& graph, const GraphIndex& index, int node_index) {
  const Node& node = graph.nodes[static_cast<size_t>(node_index)];
  const NodeKind kind = kind_of(graph, index, node_index);
  if (kind == NodeKind::kActivationProduct) return {};
  if (kind != NodeKind::kProduct) {
    if (!one_of(node.op, {"Conv", "Gemm", "MatMul"}))
      return "there is no integer kernel for " + node.op;
    return "its weights or its bias are computed, or have an unusual rank";
  }
  // YOLOv8 and its kin: the expectation over box-edge bins is a convolution with weights 0, 1, 2,
  // ...
  ValueId value = node.input(0);
  for (int i = index.producer(value); i >= 0; i = index.producer(value)) {
    const Node& producer = graph.nodes[static_cast<size_t>(i)];
    if (producer.op == "Softmax" && node.op == "Conv") {
      return "it decodes boxes (expectation over a softmax)";
    }
    if (kind_of_data_movement(graph, producer) == NodeKind::kOther) break;
    value = producer.input(0);
  }
  return {};
}

}  // namespace ounce::quantize
