#include "graph/dtype.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "graph/error.h"

namespace ounce {
namespace {

struct DTypeInfo {
  DType dtype;
  std::string_view name;
  int bits;
};

constexpr std::array<DTypeInfo, 19> kInfos = {{
    {DType::undefined, "undefined", 0},
    {DType::f32, "f32", 32},
    {DType::f16, "f16", 16},
    {DType::bf16, "bf16", 16},
    {DType::f64, "f64", 64},
    {DType::i64, "i64", 64},
    {DType::i32, "i32", 32},
    {DType::i16, "i16", 16},
    {DType::i8, "i8", 8},
    {DType::u64, "u64", 64},
    {DType::u32, "u32", 32},
    {DType::u16, "u16", 16},
    {DType::u8, "u8", 8},
    {DType::boolean, "bool", 8},
    {DType::u4, "u4", 4},
    {DType::i4, "i4", 4},
    {DType::i3, "i3", 3},
    {DType::i2, "i2", 2},
    {DType::u1, "u1", 1},
}};

}  // namespace

int bits_of(DType dtype) {
  return kInfos[static_cast<size_t>(dtype)].bits;
}

size_t byte_size(DType dtype, int64_t elements) {
  const int64_t bits = bits_of(dtype);
  if (elements < 0 || (bits > 0 && elements > (std::numeric_limits<int64_t>::max() - 7) / bits)) {
    throw Error("tensor of " + std::to_string(elements) + " elements is too large");
  }
  const auto whole_bytes = [&](int64_t width) { return (elements * width + 7) / 8; };
  return static_cast<size_t>(dtype == DType::i3 ? whole_bytes(2) + whole_bytes(1)
                                                : whole_bytes(bits));
}

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f64;
}

bool is_integer(DType dtype) {
  return dtype != DType::undefined && dtype != DType::boolean && !is_float(dtype);
}

bool is_packed(DType dtype) {
  return dtype != DType::undefined && bits_of(dtype) < 8;
}

std::string_view name_of(DType dtype) {
  return kInfos[static_cast<size_t>(dtype)].name;
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const DTypeInfo& info : kInfos) {
    if (info.dtype != DType::undefined && info.name == name) return info.dtype;
  }
  return std::nullopt;
}

float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1Fu;
  const uint32_t mantissa = bits & 0x3FFu;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t exponent_f32 = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | (exponent_f32 << 23) | (mantissa << 13));
}

uint16_t float_to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);  // rounds to inf
  if (magnitude < 0x38800000u) {  // subnormal half: nearbyint of value * 2^24 is half to even
    const float scaled = std::nearbyint(std::ldexp(std::bit_cast<float>(magnitude), 24));
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(scaled));
  }
  const uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

float bfloat16_to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

uint16_t float_to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace ounce
