#include "engine/kernels/bits/sign_windows.h"
#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/output_chain.h"
#include "graph/product.h"

// Binarize -> Conv / MatMul / Gemm with weights of one to three bits becomes one node, with what
// follows it: folded normalisation, residual, shifted PRelu. Signs of activations and of weights
// may have a constant added to them.
namespace ounce::engine {
namespace {

/// Where the channels of a product's input and output lie.
enum class ChannelAxis { kImage, kLast };

/// A constant that holds one f32 value a channel, or one for all, and nothing along other axes.
std::vector<float> channel_values(const Graph& graph, ValueId id, int64_t channels,
                                  ChannelAxis axis, size_t rank) {
  const Tensor* constant = graph.constant(id);
  if (constant == nullptr || constant->dtype() != DType::f32) return {};
  const Shape& shape = constant->shape();
  if (constant->size() == 1) {
    return std::vector<float>(static_cast<size_t>(channels), constant->to_f32()[0]);
  }
  const size_t from_end = axis == ChannelAxis::kImage ? rank - 1 : 1;
  if (constant->size() != channels || shape.size() < from_end ||
      shape[shape.size() - from_end] != channels) {
    return {};
  }
  return constant->to_f32();
}

/// The computed operand of an Add with a constant, and the constant; nullopt otherwise.
struct ShiftedValue {
  ValueId value = kNoValue;
  std::vector<float> shift;  // one a channel
};
std::optional<ShiftedValue> shifted(const Graph& graph, const Node& add, int64_t channels,
                                    ChannelAxis axis) {
  for (const size_t constant : {size_t{1}, size_t{0}}) {
    const ValueId value = add.input(1 - constant);
    const auto& shape = graph.value(value).shape;
    if (!shape || graph.value(value).shape != graph.value(add.output(0)).shape) continue;
    std::vector<float> shift =
        channel_values(graph, add.input(constant), channels, axis, shape->size());
    if (!shift.empty()) return ShiftedValue{value, std::move(shift)};
  }
  return std::nullopt;
}

/// What a product reads as bits: sign(x + shift) * scale, or (x > scale / 2) * scale.
struct BitOperand {
  ValueId x = kNoValue;
  float scale = 1.0F;
  bool is_map = false;
  float center = 0.0F;       // added to the sign
  std::vector<float> shift;  // one a channel, or empty
};

/// The computed operand of an Add and its constant one.
struct AddedConstant {
  ValueId value = kNoValue;
  std::vector<float> constant;
  Shape shape;
};
std::optional<AddedConstant> added_constant(const Rewriter& rewriter, ValueId value) {
  const int add = rewriter.producer(value, "Add");
  if (add < 0) return std::nullopt;
  for (const size_t constant : {size_t{1}, size_t{0}}) {
    const Tensor* tensor = rewriter.graph().constant(rewriter.node(add).input(constant));
    if (tensor == nullptr || tensor->dtype() != DType::f32) continue;
    return AddedConstant{rewriter.node(add).input(1 - constant), tensor->to_f32(), tensor->shape()};
  }
  return std::nullopt;
}

/// Weights of one bit, and what is added to those of each output channel.
struct ShiftedWeight {
  DequantizedWeight signs;
  std::vector<float> offsets;
};
std::optional<ShiftedWeight> shifted_weight(const Rewriter& rewriter, ValueId value) {
  const auto added = added_constant(rewriter, value);
  if (!added) return std::nullopt;
  auto weight = dequantized_weight(rewriter, rewriter.graph(), added->value);
  if (!weight || weight->codes.dtype() != DType::u1) return std::nullopt;
  const int64_t channels = weight->codes.shape()[0];
  if (added->constant.size() == 1) {
    return ShiftedWeight{std::move(*weight),
                         std::vector<float>(static_cast<size_t>(channels), added->constant[0])};
  }
  const bool by_channel = static_cast<int64_t>(added->constant.size()) == channels &&
                          added->shape.size() == weight->codes.shape().size() &&
                          added->shape[0] == channels;
  if (!by_channel) return std::nullopt;
  return ShiftedWeight{std::move(*weight), added->constant};
}

std::optional<BitOperand> bit_operand(const Rewriter& rewriter, ValueId value, ChannelAxis axis) {
  const Graph& graph = rewriter.graph();
  int i = rewriter.index().producer(value);
  float added = 0.0F;
  if (const auto center = added_constant(rewriter, value); center && center->constant.size() == 1) {
    added = center->constant[0];
    i = rewriter.index().producer(center->value);
  }
  if (i < 0 || rewriter.node(i).op != "Binarize") return std::nullopt;
  const Node& node = rewriter.node(i);
  BitOperand operand;
  operand.x = node.input(0);
  operand.is_map = node.attributes.get_int("unsigned", 0) != 0;
  if (node.input(1) != kNoValue) {
    const Tensor* scale = graph.constant(node.input(1));
    if (scale == nullptr || scale->size() != 1 || scale->dtype() != DType::f32) {
      return std::nullopt;
    }
    operand.scale = scale->data<float>()[0];
  }
  operand.center = added / operand.scale;
  if (operand.center != 0.0F && operand.is_map) return std::nullopt;
  if (!(operand.scale > 0.0F) || graph.value(operand.x).dtype != DType::f32) return std::nullopt;
  const int add = rewriter.producer(operand.x, "Add");
  const auto& shape = graph.value(operand.x).shape;
  if (operand.is_map || add < 0 || !shape) return operand;
  const size_t channel = axis == ChannelAxis::kImage ? 1 : shape->size() - 1;
  if (auto moved = shifted(graph, rewriter.node(add), (*shape)[channel].value, axis)) {
    operand.x = moved->value;
    operand.shift = std::move(moved->shift);
  }
  return operand;
}

Tensor vector_tensor(const std::vector<float>& values) {
  return Tensor::of(values, {static_cast<int64_t>(values.size())});
}

/// Absorbs [Add constant] PRelu(constant slope) [Add constant] behind a product.
void absorb_shifted_prelu(const Rewriter& rewriter, OutputChain& chain, AttributeMap& attributes,
                          int64_t channels, ChannelAxis axis) {
  const Graph& graph = rewriter.graph();
  ValueId at = chain.result;
  std::vector<int> nodes;
  std::vector<float> before;
  if (const int add = rewriter.only_consumer(at, "Add"); add >= 0) {
    auto moved = shifted(graph, rewriter.node(add), channels, axis);
    if (!moved) return;
    before = std::move(moved->shift);
    nodes.push_back(add);
    at = rewriter.node(add).output(0);
  }
  const int prelu = rewriter.only_consumer(at, "PRelu");
  if (prelu < 0 || rewriter.node(prelu).input(0) != at || !graph.value(at).shape) return;
  std::vector<float> slope = channel_values(graph, rewriter.node(prelu).input(1), channels, axis,
                                            graph.value(at).shape->size());
  if (slope.empty()) return;
  nodes.push_back(prelu);
  at = rewriter.node(prelu).output(0);
  if (!before.empty()) attributes.set("prelu_before", vector_tensor(before));
  if (const int mul = rewriter.only_consumer(at, "Mul"); mul >= 0) {
    const Node& node = rewriter.node(mul);
    const std::vector<float> gain = channel_values(graph, node.input(node.input(0) == at ? 1 : 0),
                                                   channels, axis, graph.value(at).shape->size());
    if (!gain.empty()) {
      for (size_t c = 0; c < slope.size(); ++c) slope[c] *= gain[c];
      attributes.set("prelu_gain", vector_tensor(gain));
      nodes.push_back(mul);
      at = node.output(0);
    }
  }
  attributes.set("prelu_slope", vector_tensor(slope));
  if (const int add = rewriter.only_consumer(at, "Add"); add >= 0) {
    if (auto moved = shifted(graph, rewriter.node(add), channels, axis)) {
      attributes.set("prelu_after", vector_tensor(moved->shift));
      nodes.push_back(add);
      at = rewriter.node(add).output(0);
    }
  }
  chain.nodes.insert(chain.nodes.end(), nodes.begin(), nodes.end());
  chain.result = at;
}

/// A product whose weights have few enough bits for planes.
bool fits_planes(const Tensor& codes) {
  return codes.dtype() == DType::u1 || codes.dtype() == DType::i2 || codes.dtype() == DType::i3;
}

/// What kernels/bits/sign_windows.h asks for.
bool takes_shifted_signs(const Node& conv, const DequantizedWeight& weight) {
  const std::vector<int64_t> dilations = conv.attributes.get_ints("dilations", {});
  const Shape& shape = weight.codes.shape();
  return weight.codes.dtype() == DType::u1 && conv.attributes.get_int("group", 1) == 1 &&
         (dilations.empty() || dilations.back() == 1) &&
         (shape.size() == 3 || shape[2] <= kMostKernelRows);
}

void fuse(Rewriter& rewriter, int i, ChannelAxis axis) {
  Graph& graph = rewriter.graph();
  const Node& node = rewriter.node(i);
  const bool is_conv = axis == ChannelAxis::kImage;
  const bool n_by_k = weights_are_n_by_k(node);
  const int64_t column_axis = is_conv || n_by_k ? 0 : 1;
  const auto operand = bit_operand(rewriter, node.input(0), axis);
  auto weight = dequantized_weight(rewriter, graph, node.input(1));
  std::vector<float> offsets;
  if (auto moved = shifted_weight(rewriter, node.input(1)); moved && !weight) {
    weight = std::move(moved->signs);
    offsets = std::move(moved->offsets);
  }
  if (!operand || !weight || !fits_planes(weight->codes) ||
      (weight->scales.size() > 1 && weight->axis != column_axis)) {
    return;
  }
  const int64_t rank = weight->codes.rank();
  if (is_conv ? rank != 3 && rank != 4 : rank != 2) return;
  const int64_t channels = weight->codes.shape()[static_cast<size_t>(column_axis)];
  const bool is_shifted = operand->center != 0.0F || !offsets.empty();
  if (is_shifted && !(is_conv && takes_shifted_signs(node, *weight))) return;

  Node fused = rewriter.successor(i, is_conv ? internal::kBitConv : internal::kBitMatMul);
  if (is_conv) fused.attributes = node.attributes;
  fused.attributes.set("n_by_k", int64_t{n_by_k});
  fused.attributes.set("is_map", int64_t{operand->is_map});
  fused.attributes.set("x_scale", operand->scale);
  if (!operand->shift.empty()) {
    fused.attributes.set("x_shift", vector_tensor(operand->shift));
  }
  std::vector<float> scales = weight->scales;
  for (float& scale : scales) scale *= operand->scale;
  fused.attributes.set("product_scales", vector_tensor(scales));

  if (is_shifted) {
    offsets.resize(static_cast<size_t>(channels), 0.0F);
    for (float& offset : offsets) offset *= operand->scale;
    fused.attributes.set("x_center", operand->center);
    fused.attributes.set("product_offsets", vector_tensor(offsets));
  }

  const bool has_bias = node.op != "MatMul" && node.input(2) != kNoValue;
  OutputChain chain = follow_float(rewriter, node.output(0), is_conv || has_bias ? 0 : channels);
  const ValueId bias = has_bias ? node.input(2) : chain.bias;
  std::vector<float> biases;
  if (bias != kNoValue) {
    biases = constant_values(rewriter, bias);
    if (static_cast<int64_t>(biases.size()) != channels) return;  // stays float
  }
  if (chain.activation.kind == Activation::kNone) {
    absorb_shifted_prelu(rewriter, chain, fused.attributes, channels, axis);
  }
  store_activation(fused.attributes, chain.activation);
  fused.attributes.set("activation_first", int64_t{chain.activation_first});
  fused.inputs = {
      operand->x, graph.add_constant(node.name + ".weight", weight->codes),
      biases.empty() ? kNoValue : graph.add_constant(node.name + ".bias", vector_tensor(biases)),
      chain.residual};
  fused.outputs = {chain.result};
  std::vector<int> absorbed = {i};
  absorbed.insert(absorbed.end(), chain.nodes.begin(), chain.nodes.end());
  rewriter.replace(absorbed, std::move(fused));
}

}  // namespace

void fuse_bit_products(Graph& graph) {
  Rewriter rewriter(graph);
  for (int i = 0; i < rewriter.node_count(); ++i) {
    if (rewriter.absorbed(i)) continue;
    const Node& node = rewriter.node(i);
    if (node.op == "Conv") {
      fuse(rewriter, i, ChannelAxis::kImage);
    } else if (is_plain_product(node)) {
      fuse(rewriter, i, ChannelAxis::kLast);
    }
  }
  rewriter.finish();
}

}  // namespace ounce::engine
