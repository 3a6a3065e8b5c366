#pragma once

#include "engine/kernels/common.h"

// Operands of 1 to 3 bits as planes of bits, which products take by popcount.
//
// Polarity: a set bit of a sign plane means -1, as in the IEEE sign bit; sign(0) = sign(-0) = +1
// and sign(NaN) = +1. The canonical unpacked form of every format is int8 VALUES (not codes).
//
// Activations lie in memory as [pixel or row][plane][word] of 64-bit words: bit k % 64 of word
// k / 64 is channel k. Bits beyond the channels are zero. Weights: see PackedBits.
namespace ounce::engine {

/// How the bits of an element, one a plane, are its value.
enum class BitCoding {
  // 1 plane: 1 - 2 * bit. Values -1, +1.
  kSign,
  // 1 to 3 planes: the sum of 2^p * bit of plane p. Values 0 .. 2^planes - 1.
  kUnsigned,
  // 2 or 3 planes: the same minus 2^(planes - 1), which is two's complement with the top bit
  // inverted, so that all planes add. Values -2^(planes - 1) .. 2^(planes - 1) - 1.
  kSigned,
  // 2 planes: Z - 2 * S. Plane 0 is Z, not zero; plane 1 is S, negative, set only where Z is. These
  // values are -1, 0, +1.
  kTernary
};

struct BitFormat {
  BitCoding coding = BitCoding::kSign;
  int planes = 1;

  /// 64-bit words of one plane of `channels` elements, and of all planes.
  static constexpr int64_t plane_words(int64_t channels) { return ceil_div(channels, 64); }
  constexpr int64_t words(int64_t channels) const { return planes * plane_words(channels); }
  /// Smallest and largest value.
  constexpr int32_t lowest() const {
    if (coding == BitCoding::kUnsigned) return 0;
    return coding == BitCoding::kSigned ? -((1 << planes) / 2) : -1;
  }
  constexpr int32_t highest() const {
    if (coding == BitCoding::kUnsigned) return (1 << planes) - 1;
    return coding == BitCoding::kSigned ? (1 << planes) / 2 - 1 : 1;
  }
  /// Whether the format has a code for 0.
  constexpr bool has_zero() const { return coding != BitCoding::kSign; }
  constexpr bool operator==(const BitFormat&) const = default;
};

/// The value whose bit in plane p is bit p of `code`.
constexpr int8_t value_of_code(BitFormat format, int code) {
  switch (format.coding) {
    case BitCoding::kSign:
      return static_cast<int8_t>(1 - 2 * code);
    case BitCoding::kUnsigned:
    case BitCoding::kSigned:
      return static_cast<int8_t>(code + format.lowest());
    case BitCoding::kTernary:
      return static_cast<int8_t>((code & 1) - (code & 2));
  }
  return 0;
}
/// Its inverse.
constexpr int code_of_value(BitFormat format, int value) {
  switch (format.coding) {
    case BitCoding::kSign:
      return value < 0 ? 1 : 0;
    case BitCoding::kUnsigned:
    case BitCoding::kSigned:
      return value - format.lowest();
    case BitCoding::kTernary:
      return value & 3;
  }
  return 0;
}

inline constexpr BitFormat kSignBits = {BitCoding::kSign, 1};
inline constexpr BitFormat kMapBits = {BitCoding::kUnsigned, 1};  // {0, 1} attention maps
inline constexpr BitFormat kTernaryBits = {BitCoding::kTernary, 2};

/// The number of planes fits the coding.
bool is_valid(BitFormat format);

/// Whether there is a product of activations `a` and weights `b`: sign x sign; sign x ternary;
/// ternary x ternary; and kSign, kUnsigned, kSigned in any mixture. A ternary operand meets the
/// others as kSigned with two planes, which has all of its values.
bool can_multiply(BitFormat a, BitFormat b);

/// Unsigned codes (values in [0, 2^planes)) to kUnsigned bits.
void pack_codes(const Context& context, const uint8_t* codes, int64_t ld, int64_t rows,
                int64_t channels, int planes, uint64_t* bits);

/// Codes 0, 1, 2 of the values -1, 0, +1 to kTernary bits.
void pack_ternary_codes(const Context& context, const uint8_t* codes, int64_t ld, int64_t rows,
                        int64_t channels, uint64_t* bits);

/// kSign bits of x + shift[channel]: set where x + shift < 0. `shift`: [channels] or null; rows of
/// bits are `bit_stride` words apart.
void pack_signs(const Context& context, const float* x, int64_t ld, int64_t rows, int64_t channels,
                const float* shift, int64_t bit_stride, uint64_t* bits);

/// kSign bits of numbers that grow with their codes: bit (code < limits[c]) xor bit c % 64 of
/// flips[c / 64]. Both are for whole words, zero beyond the channels.
void pack_code_signs(const Context& context, const uint8_t* codes, int64_t rows, int64_t channels,
                     const uint8_t* limits, const uint64_t* flips, uint64_t* bits);

}  // namespace ounce::engine
