#include "quantize/affine.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "graph/error.h"

namespace ounce::quantize {

int32_t QuantParams::quantize(float x) const {
  const auto low = static_cast<float>(lowest() - zero_point);
  const auto high = static_cast<float>(highest() - zero_point);
  return static_cast<int32_t>(round_code(x / scale, low, high)) + zero_point;
}

void check_bits(int bits) {
  if (bits < kMinBits || bits > kMaxBits) {
    throw Error("cannot quantize to " + std::to_string(bits) + " bits", {}, "2 to 8 bits");
  }
}

std::optional<int> bits_from_text(std::string_view text) {
  if (text.size() != 1 || text[0] < '1' || text[0] > '8') return std::nullopt;
  return text[0] - '0';
}

std::string bits_text(int bits, bool ternary) {
  return ternary ? "ternary" : std::to_string(bits);
}

std::string bits_phrase(int bits, bool ternary) {
  return bits_text(bits, ternary) + (ternary ? "" : " bit");
}

QuantParams affine_params(Range range, int bits) {
  check_bits(bits);
  QuantParams params;
  params.bits = bits;
  const double low = std::min(0.0, static_cast<double>(range.low));
  const double high = std::max(0.0, static_cast<double>(range.high));
  if (high - low <= 0.0) return params;
  params.scale = std::max(static_cast<float>((high - low) / params.highest()), kSmallestScale);
  const double zero_point = std::nearbyint(-low / static_cast<double>(params.scale));
  params.zero_point =
      static_cast<int32_t>(std::clamp(zero_point, 0.0, static_cast<double>(params.highest())));
  return params;
}

QuantParams ternary_params(float scale) {
  QuantParams params;
  params.bits = kTernaryBitCount;
  params.ternary = true;
  params.zero_point = 1;
  if (scale > 0.0F) params.scale = std::max(scale, kSmallestScale);
  return params;
}

void fake_quantize(std::span<float> values, const QuantParams& params) {
  for (float& value : values) value = params.fake_quantize(value);
}

}  // namespace ounce::quantize
