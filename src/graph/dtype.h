#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ounce {

/// Element types of tensors.
///
/// The packed types hold several elements a byte, the first element in the lowest bits: u4/i4 two,
/// i2 (ternary or 2-bit two's complement) four, u1 eight (a set bit means -1, the IEEE sign bit).
/// i3 is two planes, one behind the other: the low two bits of all elements as i2, then the high
/// bit of all elements as u1.
enum class DType : uint8_t {
  undefined,
  f32,
  f16,
  bf16,
  f64,
  i64,
  i32,
  i16,
  i8,
  u64,
  u32,
  u16,
  u8,
  boolean,
  u4,
  i4,
  i3,
  i2,
  u1,
};

/// Bits of one element: 64 ... 1; 0 for `undefined`.
int bits_of(DType dtype);

/// Bytes that `elements` elements occupy, packed types rounded up to whole bytes.
/// Throws `Error` when the size does not fit 63 bits.
size_t byte_size(DType dtype, int64_t elements);

bool is_float(DType dtype);
bool is_integer(DType dtype);  // packed integers included, boolean not
bool is_packed(DType dtype);   // less than one byte an element

/// "f32", "u8", "bool", ... as used in messages, JSON and file metadata.
std::string_view name_of(DType dtype);
std::optional<DType> dtype_from_name(std::string_view name);

/// IEEE half and bfloat16, as bit patterns; conversions round half to even.
float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);
float bfloat16_to_float(uint16_t bits);
uint16_t float_to_bfloat16(float value);

/// The DType of a C++ element type (`float` -> f32, `bool` -> boolean, ...).
template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::f64;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::i64;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::i32;
}
template <>
constexpr DType dtype_of<int16_t>() {
  return DType::i16;
}
template <>
constexpr DType dtype_of<int8_t>() {
  return DType::i8;
}
template <>
constexpr DType dtype_of<uint64_t>() {
  return DType::u64;
}
template <>
constexpr DType dtype_of<uint32_t>() {
  return DType::u32;
}
template <>
constexpr DType dtype_of<uint16_t>() {
  return DType::u16;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::u8;
}
template <>
constexpr DType dtype_of<bool>() {
  return DType::boolean;
}

}  // namespace ounce
