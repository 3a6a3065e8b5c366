#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "quantize/affine.h"

namespace ounce::quantize {

enum class Granularity {
  kTensor,   // one scale
  kChannel,  // one an output channel
  kGroup,    // one a group of input channels of an output channel
};

enum class WeightRule {
  kMinMax,  // scale = max |w| / (2^(bits-1) - 1)
  kMse,     // the scale between 1.0 and 0.2 of that with the least squared error, then refitted
};

/// "tensor", "channel", "group:N" and "minmax", "mse".
std::string_view name_of(Granularity granularity);
std::string_view name_of(WeightRule rule);
std::optional<WeightRule> weight_rule_from_name(std::string_view name);

struct WeightOptions {
  int bits = 8;          // 1 .. 8
  bool ternary = false;  // codes -1, 0, 1, counted as 2 bits
  Granularity granularity = Granularity::kChannel;
  int64_t group_size = 32;  // input channels, for kGroup
  WeightRule rule = WeightRule::kMinMax;
  bool operator==(const WeightOptions&) const = default;
};

/// "8", "ternary", "1": the word with which `set_weight_bits` sets it.
std::string bits_text(const WeightOptions& options);

/// Sets bits from "1" .. "8" or "ternary"; false, and nothing is set, when the text is neither.
bool set_weight_bits(WeightOptions& options, std::string_view text);

/// The rule that is followed: ternary and 1-bit scales are always searched.
WeightRule rule_of(const WeightOptions& options);

/// The least and the greatest code that weights may have.
struct WeightCodes {
  int lowest = 0;
  int highest = 0;
};
WeightCodes weight_codes(const WeightOptions& options);

/// Which axes of a weight tensor count output channels and what is summed over. Other axes (kernel
/// taps) belong to the reduction.
struct WeightAxes {
  int64_t channel = 0;
  int64_t reduction = 1;
};

/// Symmetric codes with zero point 0 (1 bit: -1 and 1) and their scales, in the shape
/// DequantizeLinear takes.
struct QuantizedWeights {
  Tensor codes;   // i8, shape of the weights
  Tensor scales;  // f32: [] per tensor, [channels], or the weights' shape with the reduction axis
                  // divided by the block
  int64_t axis = 0;        // of DequantizeLinear
  int64_t block_size = 0;  // of DequantizeLinear, 0: not blocked

  /// The weights that the codes stand for.
  Tensor dequantize() const;
};

/// Quantizes f32 weights. Ternary and 1-bit scales are those of least squares (least_squares.h),
/// whatever the rule; 1-bit codes are signs, that of 0 being +1. `least_scales`, when given, holds
/// a lower bound of the scale for each output channel (so that a bias stays within 32 bits). Throws
/// `Error` naming `name` when a weight is NaN or infinite, or an option is impossible.
QuantizedWeights quantize_weights(const Tensor& weights, WeightAxes axes,
                                  const WeightOptions& options, std::string_view name,
                                  std::span<const float> least_scales = {});

/// Codes in the narrowest element type that holds `bits` bits: i8 above 4 bits, i4, i3, i2, and u1
/// for signs.
Tensor pack_codes(const Tensor& codes, int bits);

/// round(bias / (input_scale * weight_scale[channel])) as i32, one a channel.
Tensor quantize_bias(std::span<const float> bias, float input_scale,
                     std::span<const float> weight_scales);

/// The scale below which `bias` would not fit the accumulator beside its products.
float least_weight_scale(float bias, float input_scale);

}  // namespace ounce::quantize
