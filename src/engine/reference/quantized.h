#pragma once

#include "engine/reference/common.h"

/// Integer codes and how they come about; shared by the quantizing operators.
namespace ounce::engine::reference {

/// The codes that a dtype holds.
struct CodeRange {
  int64_t low = 0;
  int64_t high = 0;
};

inline CodeRange code_range(DType dtype) {
  if (!is_integer(dtype) || dtype == DType::u1 || bits_of(dtype) > 32) {
    fail("no quantization to " + std::string(name_of(dtype)));
  }
  const int bits = bits_of(dtype);
  const bool is_unsigned =
      dtype == DType::u4 || dtype == DType::u8 || dtype == DType::u16 || dtype == DType::u32;
  if (is_unsigned) return {0, (int64_t{1} << bits) - 1};
  return {-(int64_t{1} << (bits - 1)), (int64_t{1} << (bits - 1)) - 1};
}

/// clamp(round_half_even(value) + zero_point); NaN becomes the zero point.
inline int64_t to_code(float value, int64_t zero_point, const CodeRange& range) {
  if (std::isnan(value)) return zero_point;
  const double code = std::nearbyint(static_cast<double>(value)) + static_cast<double>(zero_point);
  if (code <= static_cast<double>(range.low)) return range.low;
  if (code >= static_cast<double>(range.high)) return range.high;
  return static_cast<int64_t>(code);
}

/// Stores codes as output `i` of the given dtype, packed where it is.
inline void store_codes(OperatorContext& context, size_t i, const std::vector<int64_t>& codes,
                        DType dtype, const Shape& shape) {
  store(context, i, cast(Tensor::of(codes, shape), dtype));
}

}  // namespace ounce::engine::reference
