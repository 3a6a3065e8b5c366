#pragma once

#include <optional>
#include <vector>

#include "engine/lowering/rewriter.h"

namespace ounce::engine {

/// Scale and zero point of a tensor quantized as a whole.
struct TensorQuantization {
  float scale = 1.0F;
  int32_t zero_point = 0;
  DType dtype = DType::u8;
  bool operator==(const TensorQuantization&) const = default;
};

/// The parameters of a QuantizeLinear or DequantizeLinear node when they are constant and per
/// tensor; nullopt otherwise. `codes_dtype` is the dtype of the quantized side.
std::optional<TensorQuantization> tensor_quantization(const Graph& graph, const Node& node,
                                                      DType codes_dtype);

/// A float value that is DequantizeLinear(codes), per tensor, of activations (not of a constant).
struct DequantizedValue {
  int node = -1;  // the DequantizeLinear
  ValueId codes = kNoValue;
  TensorQuantization quantization;
};
std::optional<DequantizedValue> dequantized(const Rewriter& rewriter, const Graph& graph,
                                            ValueId value);

/// The values of a constant, or of DequantizeLinear(constant) with one scale or one an element.
/// Empty when it is computed.
std::vector<float> constant_values(const Rewriter& rewriter, ValueId value);

/// Whether zero points are omitted, or constants that are all 0.
bool are_zero(const Graph& graph, ValueId zero_points);

/// Whether a tensor holds codes as weights have them: signed, of at most 8 bits.
bool holds_weight_codes(const Tensor& codes);

/// A float value that is DequantizeLinear(constant signed codes) with zero point 0 and one scale,
/// or one a slice along `axis`.
struct DequantizedWeight {
  int node = -1;
  Tensor codes;               // i8, i4, i3, i2 or u1
  std::vector<float> scales;  // [1] or [dim of axis]
  int64_t axis = 0;
};
std::optional<DequantizedWeight> dequantized_weight(const Rewriter& rewriter, const Graph& graph,
                                                    ValueId value);

}  // namespace ounce::engine
