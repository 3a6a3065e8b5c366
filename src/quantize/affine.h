#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ounce::quantize {

/// A closed interval of real numbers.
struct Range {
  float low = 0.0F;
  float high = 0.0F;
  bool operator==(const Range&) const = default;
};

/// Smaller steps would make x / scale overflow for ordinary x.
inline constexpr float kSmallestScale = 1e-30F;

/// One uniform grid: x_hat = scale * (code - zero_point), code in [lowest(), highest()].
///
/// Activations use unsigned grids 0 .. 2^bits - 1, or ternary ones, codes 0, 1, 2 with zero point
/// 1, which stand for -scale, 0 and scale. Weights use signed grids with zero point 0: -127 .. 127
/// at 8 bits (symmetric, so that |w| <= 127 whatever its sign), -2^(bits-1) .. 2^(bits-1) - 1
/// below, the divisor being 2^(bits-1) - 1 throughout.
struct QuantParams {
  float scale = 1.0F;
  int32_t zero_point = 0;
  int bits = 8;
  bool is_signed = false;
  bool ternary = false;  // unsigned; counted as 2 bits

  int32_t lowest() const {
    if (!is_signed) return 0;
    return bits == 8 ? -127 : -(1 << (bits - 1));
  }
  int32_t highest() const {
    if (ternary) return 2;
    return is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
  }

  /// clamp(round_half_even(x / scale) + zero_point, lowest, highest)
  int32_t quantize(float x) const;
  float dequantize(int32_t code) const { return scale * static_cast<float>(code - zero_point); }
  float fake_quantize(float x) const { return dequantize(quantize(x)); }

  /// The real numbers of the lowest and the highest code.
  Range range() const { return {dequantize(lowest()), dequantize(highest())}; }

  bool operator==(const QuantParams&) const = default;
};

inline constexpr int kMinBits = 2;  // of a grid; one bit is a sign
inline constexpr int kMaxBits = 8;
inline constexpr int kMinWeightBits = 1;
inline constexpr int kTernaryBitCount = 2;  // that codes -1, 0, 1 are counted as

/// Throws `Error` unless `bits` is a number of bits that grids have (2 .. 8).
void check_bits(int bits);

/// "1" .. "8" as a number.
std::optional<int> bits_from_text(std::string_view text);

/// "8", "ternary": for options and tables.
std::string bits_text(int bits, bool ternary);
/// "8 bit", "ternary": for sentences.
std::string bits_phrase(int bits, bool ternary);

/// round_half_even(clamp(x, low, high)) for integer bounds within +-2^22. Adding 1.5 * 2^23 leaves
/// no bits for the fraction: the FPU rounds; unlike a library call it compiles to packed
/// arithmetic.
inline float round_code(float x, float low, float high) {
  constexpr float kMagic = 12582912.0F;
  const float clamped = x < low ? low : (x > high ? high : x);
  return (clamped + kMagic) - kMagic;
}

/// The unsigned grid over `range`, which is first widened to contain 0, so that 0 is exactly a
/// code: scale = (high - low) / (2^bits - 1), zero_point = round(-low / scale). Rounding the zero
/// point shifts the ends by at most half a step: `range()` tells where they came to lie. An empty
/// range gives scale 1.
QuantParams affine_params(Range range, int bits);

/// The grid of -scale, 0 and scale; of scale 1 where `scale` is 0.
QuantParams ternary_params(float scale);

/// Fake-quantizes in place.
void fake_quantize(std::span<float> values, const QuantParams& params);

}  // namespace ounce::quantize
