#include "engine/lowering/activation.h"

#include <limits>

namespace ounce::engine {
namespace {

/// Scalar f32 constant, or `fallback` when the operand is omitted; nullopt when it is computed.
std::optional<float> scalar_operand(const Graph& graph, ValueId id, float fallback) {
  if (id == kNoValue) return fallback;
  const Tensor* tensor = graph.constant(id);
  if (tensor == nullptr || tensor->size() != 1 || tensor->dtype() != DType::f32) {
    return std::nullopt;
  }
  return tensor->data<float>()[0];
}

std::optional<ActivationSpec> clip_of(const Graph& graph, const Node& node) {
  constexpr float kMax = std::numeric_limits<float>::max();
  const auto lo = scalar_operand(graph, node.input(1), -kMax);
  const auto hi = scalar_operand(graph, node.input(2), kMax);
  if (!lo || !hi) return std::nullopt;
  return ActivationSpec{Activation::kClip, *lo, *hi};
}

}  // namespace

std::optional<ActivationSpec> activation_of(const Graph& graph, const Node& node) {
  if (node.inputs.empty() || node.input(0) == kNoValue ||
      graph.value(node.input(0)).dtype != DType::f32) {
    return std::nullopt;
  }
  const AttributeMap& attributes = node.attributes;
  if (node.op == "Relu") return ActivationSpec{Activation::kRelu};
  if (node.op == "Clip") return clip_of(graph, node);
  if (node.op == "LeakyRelu") {
    return ActivationSpec{Activation::kLeakyRelu, attributes.get_float("alpha", 0.01F)};
  }
  if (node.op == "Silu") return ActivationSpec{Activation::kSilu};
  if (node.op == "Gelu") {
    const bool tanh = attributes.get_string("approximate", "none") == "tanh";
    return ActivationSpec{tanh ? Activation::kGeluTanh : Activation::kGeluErf};
  }
  if (node.op == "Sigmoid") return ActivationSpec{Activation::kSigmoid};
  if (node.op == "Tanh") return ActivationSpec{Activation::kTanh};
  if (node.op == "HardSwish") return ActivationSpec{Activation::kHardSwish};
  if (node.op == "HardSigmoid") {
    return ActivationSpec{Activation::kHardSigmoid, attributes.get_float("alpha", 0.2F),
                          attributes.get_float("beta", 0.5F)};
  }
  return std::nullopt;
}

void store_activation(AttributeMap& attributes, const ActivationSpec& activation) {
  attributes.set("activation", static_cast<int64_t>(activation.kind));
  attributes.set("alpha", activation.alpha);
  attributes.set("beta", activation.beta);
}

ActivationSpec load_activation(const AttributeMap& attributes) {
  ActivationSpec activation;
  activation.kind = static_cast<Activation>(attributes.get_int("activation", 0));
  activation.alpha = attributes.get_float("alpha", 0.0F);
  activation.beta = attributes.get_float("beta", 0.0F);
  return activation;
}

}  // namespace ounce::engine
