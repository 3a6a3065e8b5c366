#include "engine/lowering/output_chain.h"

#include <algorithm>
#include <cmath>

namespace ounce::engine {
namespace {

ValueId other_operand(const Node& node, ValueId operand) {
  return node.input(0) == operand ? node.input(1) : node.input(0);
}

bool same_shape(const Graph& graph, ValueId a, ValueId b) {
  return graph.value(a).shape && graph.value(a).shape == graph.value(b).shape;
}

/// Absorbs `Add(result, constant vector)`.
void absorb_bias(const Rewriter& rewriter, OutputChain& chain, int64_t columns) {
  if (columns == 0) return;
  const Graph& graph = rewriter.graph();
  const int add = rewriter.only_consumer(chain.result, "Add");
  if (add < 0) return;
  const Node& node = rewriter.node(add);
  const ValueId other = other_operand(node, chain.result);
  const Tensor* bias = graph.constant(other);
  if (bias == nullptr || bias->dtype() != DType::f32 || bias->size() != columns ||
      bias->shape().empty() || bias->shape().back() != columns ||
      !same_shape(graph, chain.result, node.output(0))) {
    return;
  }
  chain.nodes.push_back(add);
  chain.bias = other;
  chain.result = node.output(0);
}

/// Absorbs Relu or Clip, or any epilogue activation when `any`.
void absorb_activation(const Rewriter& rewriter, OutputChain& chain, bool any) {
  const Graph& graph = rewriter.graph();
  const int next = rewriter.only_consumer(chain.result);
  if (next < 0) return;
  const Node& node = rewriter.node(next);
  if (node.input(0) != chain.result) return;
  const auto activation = activation_of(graph, node);
  if (!activation) return;
  const bool clamps =
      activation->kind == Activation::kRelu || activation->kind == Activation::kClip;
  if (!any && !clamps) return;
  chain.nodes.push_back(next);
  chain.activation = *activation;
  chain.result = node.output(0);
}

/// Absorbs `Add(result, other)` of equal shapes, where `other` is computed.
void absorb_residual(const Rewriter& rewriter, OutputChain& chain, bool codes) {
  const Graph& graph = rewriter.graph();
  const int add = rewriter.only_consumer(chain.result, "Add");
  if (add < 0 || chain.residual != kNoValue) return;
  const Node& node = rewriter.node(add);
  const ValueId other = other_operand(node, chain.result);
  if (other == chain.result || graph.value(other).is_constant() ||
      !same_shape(graph, chain.result, other) || graph.value(other).dtype != DType::f32) {
    return;
  }
  if (codes) {
    const auto source = dequantized(rewriter, graph, other);
    if (!source) return;
    chain.residual = source->codes;
    chain.residual_quantization = source->quantization;
  } else {
    chain.residual = other;
    chain.activation_first = chain.activation.kind != Activation::kNone;
  }
  chain.nodes.push_back(add);
  chain.result = node.output(0);
}

bool absorb_quantize(const Rewriter& rewriter, OutputChain& chain) {
  const Graph& graph = rewriter.graph();
  const int next = rewriter.only_consumer(chain.result, "QuantizeLinear");
  if (next < 0) return false;
  const Node& node = rewriter.node(next);
  if (graph.value(node.output(0)).dtype != DType::u8) return false;
  const auto quantization = tensor_quantization(graph, node, DType::u8);
  if (!quantization) return false;
  chain.nodes.push_back(next);
  chain.output = quantization;
  chain.result = node.output(0);
  return true;
}

}  // namespace

OutputChain follow_float(const Rewriter& rewriter, ValueId product, int64_t columns) {
  OutputChain chain;
  chain.result = product;
  absorb_bias(rewriter, chain, columns);
  absorb_residual(rewriter, chain, /*codes=*/false);
  absorb_activation(rewriter, chain, /*any=*/true);
  absorb_residual(rewriter, chain, /*codes=*/false);
  return chain;
}

OutputChain follow_integer(const Rewriter& rewriter, ValueId product, int64_t columns) {
  OutputChain chain;
  chain.result = product;
  absorb_bias(rewriter, chain, columns);
  absorb_residual(rewriter, chain, /*codes=*/true);
  absorb_activation(rewriter, chain, /*any=*/false);
  if (absorb_quantize(rewriter, chain)) return chain;
  return follow_float(rewriter, product, columns);
}

void replace_with_chain(Rewriter& rewriter, std::vector<int> absorbed, Node fused, ValueId bias,
                        int64_t columns, const OutputChain& chain) {
  ValueId bias_constant = kNoValue;
  if (bias != kNoValue) {
    const std::vector<float> values = constant_values(rewriter, bias);
    if (static_cast<int64_t>(values.size()) != columns) return;
    bias_constant =
        rewriter.graph().add_constant(fused.name + ".bias", Tensor::of(values, {columns}));
  }
  store_activation(fused.attributes, chain.activation);
  fused.attributes.set("activation_first", int64_t{chain.activation_first});
  fused.inputs.insert(fused.inputs.end(), {bias_constant, chain.residual});
  fused.outputs = {chain.result};
  absorbed.insert(absorbed.end(), chain.nodes.begin(), chain.nodes.end());
  rewriter.replace(absorbed, std::move(fused));
}

void store_output(AttributeMap& attributes, const OutputChain& chain) {
  const CodeRange range = code_range(chain.activation, *chain.output);
  attributes.set("y_scale", chain.output->scale);
  attributes.set("y_zero_point", int64_t{chain.output->zero_point});
  attributes.set("lo", int64_t{range.lo});
  attributes.set("hi", int64_t{range.hi});
}

void end_in_codes(const Rewriter& rewriter, ValueId& result, std::vector<int>& absorbed,
                  AttributeMap& attributes) {
  OutputChain chain;
  chain.result = result;
  absorb_activation(rewriter, chain, /*any=*/false);
  if (!absorb_quantize(rewriter, chain)) return;
  store_output(attributes, chain);
  absorbed.insert(absorbed.end(), chain.nodes.begin(), chain.nodes.end());
  result = chain.result;
}

CodeRange code_range(const ActivationSpec& activation, const TensorQuantization& output) {
  const auto code = [&](float value) {
    const double scaled = std::nearbyint(static_cast<double>(value / output.scale));
    const double shifted = scaled + output.zero_point;
    return static_cast<int32_t>(std::clamp(shifted, 0.0, 255.0));
  };
  if (activation.kind == Activation::kRelu) return {output.zero_point, 255};
  if (activation.kind == Activation::kClip) return {code(activation.alpha), code(activation.beta)};
  return {};
}

}  // namespace ounce::engine
