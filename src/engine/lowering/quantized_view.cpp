#include "engine/lowering/quantized_view.h"

#include <algorithm>

namespace ounce::engine {
namespace {

/// Scales of a Q/DQ node as constants; empty when they are computed.
std::vector<float> constant_scales(const Graph& graph, const Node& node) {
  const Tensor* scale = graph.constant(node.input(1));
  return scale != nullptr && scale->dtype() == DType::f32 ? scale->to_f32() : std::vector<float>{};
}

}  // namespace

bool are_zero(const Graph& graph, ValueId zero_points) {
  if (zero_points == kNoValue) return true;
  const Tensor* constant = graph.constant(zero_points);
  if (constant == nullptr) return false;
  const std::vector<int64_t> values = constant->to_i64();
  return std::all_of(values.begin(), values.end(), [](int64_t z) { return z == 0; });
}

bool holds_weight_codes(const Tensor& codes) {
  return codes.dtype() == DType::i8 || (is_packed(codes.dtype()) && codes.dtype() != DType::u4);
}

std::optional<TensorQuantization> tensor_quantization(const Graph& graph, const Node& node,
                                                      DType codes_dtype) {
  const std::vector<float> scales = constant_scales(graph, node);
  if (scales.size() != 1 || !(scales[0] > 0.0F)) return std::nullopt;
  TensorQuantization quantization{scales[0], 0, codes_dtype};
  if (node.input(2) != kNoValue) {
    const Tensor* zero_point = graph.constant(node.input(2));
    if (zero_point == nullptr || zero_point->size() != 1) return std::nullopt;
    quantization.zero_point = static_cast<int32_t>(zero_point->to_i64()[0]);
  }
  return quantization;
}

std::optional<DequantizedValue> dequantized(const Rewriter& rewriter, const Graph& graph,
                                            ValueId value) {
  const int i = rewriter.producer(value, "DequantizeLinear");
  if (i < 0) return std::nullopt;
  const Node& node = graph.nodes[static_cast<size_t>(i)];
  const ValueId codes = node.input(0);
  if (graph.value(codes).dtype != DType::u8 || graph.value(codes).is_constant()) {
    return std::nullopt;
  }
  const auto quantization = tensor_quantization(graph, node, DType::u8);
  if (!quantization) return std::nullopt;
  return DequantizedValue{i, codes, *quantization};
}

std::vector<float> constant_values(const Rewriter& rewriter, ValueId value) {
  const Graph& graph = rewriter.graph();
  if (const Tensor* constant = graph.constant(value)) return constant->to_f32();
  const int i = rewriter.producer(value, "DequantizeLinear");
  if (i < 0) return {};
  const Node& node = rewriter.node(i);
  const Tensor* codes = graph.constant(node.input(0));
  const Tensor* scale = graph.constant(node.input(1));
  if (codes == nullptr || scale == nullptr) return {};
  std::vector<float> values = codes->to_f32();
  const std::vector<float> scales = scale->to_f32();
  if (scales.size() != 1 && scales.size() != values.size()) return {};
  for (size_t c = 0; c < values.size(); ++c) values[c] *= scales[scales.size() == 1 ? 0 : c];
  return values;
}

std::optional<DequantizedWeight> dequantized_weight(const Rewriter& rewriter, const Graph& graph,
                                                    ValueId value) {
  const int i = rewriter.producer(value, "DequantizeLinear");
  if (i < 0) return std::nullopt;
  const Node& node = graph.nodes[static_cast<size_t>(i)];
  const Tensor* codes = graph.constant(node.input(0));
  if (codes == nullptr || !are_zero(graph, node.input(2))) return std::nullopt;
  if (!holds_weight_codes(*codes) || node.attributes.get_int("block_size", 0) != 0)
    return std::nullopt;
  DequantizedWeight weight{i, *codes, constant_scales(graph, node), 0};
  if (weight.scales.empty()) return std::nullopt;
  if (weight.scales.size() > 1) {
    weight.axis = normalize_axis(node.attributes.get_int("axis", 1), codes->rank());
  }
  return weight;
}

}  // namespace ounce::engine
