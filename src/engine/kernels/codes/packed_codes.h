#pragma once

#include "engine/kernels/common.h"
#include "engine/kernels/conv.h"
#include "engine/kernels/int8/gemm_u8s8.h"

/// Weights of few bits, packed, and what multiplies them with 8-bit or f32 activations.
namespace ounce::engine {

/// What a weight may be. Canonical codes are signed bytes in [lowest_code, highest_code].
enum class CodeFormat : uint8_t {
  kSign,     // -1 or +1
  kTernary,  // -1, 0, +1
  kInt2,     // -2 .. 1
  kInt3,     // -4 .. 3
  kInt4,     // -8 .. 7
  kInt8,     // -128 .. 127
};

/// Bits of memory that a code takes: 1, 2, 2, 3, 4, 8.
constexpr int code_bits(CodeFormat format) {
  constexpr int kBits[] = {1, 2, 2, 3, 4, 8};
  return kBits[static_cast<int>(format)];
}
constexpr int32_t lowest_code(CodeFormat format) {
  return format <= CodeFormat::kTernary ? -1 : -(1 << (code_bits(format) - 1));
}
constexpr int32_t highest_code(CodeFormat format) {
  return format <= CodeFormat::kTernary ? 1 : (1 << (code_bits(format) - 1)) - 1;
}

/// How a code is stored: code = factor * stored + offset, stored >= 0. A set sign bit means -1.
constexpr int32_t stored_factor(CodeFormat format) {
  return format == CodeFormat::kSign ? -2 : 1;
}
constexpr int32_t stored_offset(CodeFormat format) {
  return format == CodeFormat::kSign ? 1 : lowest_code(format);
}

/// Weights in canonical form: the meeting point of all formats.
struct CodeMatrix {
  CodeFormat format = CodeFormat::kInt4;
  int64_t taps = 1, run = 0, n = 0;  // reduction = taps * run, columns
  WeightLayout layout = WeightLayout::kNxK;
  const int8_t* codes = nullptr;  // kKxN: [taps, run, n]; kNxK: [n, taps, run]
  // A weight is (code - zero point) * scale. Neighbouring `group` elements of a column's reduction
  // share both; 0: the whole column does. A multiple of 32; only with one tap. The last group may
  // be shorter.
  int64_t group = 0;
  const float* scales = nullptr;        // kKxN: [groups, n]; kNxK: [n, groups]; null: all 1
  const int8_t* zero_points = nullptr;  // likewise, in the range of codes; null: all 0

  int64_t groups() const { return group == 0 ? 1 : ceil_div(run, group); }
};

enum class ScaleStorage : uint8_t { kF32, kF16 };

/// Packed weights, the same on every instruction set: panels of 16 columns, of every panel its
/// taps, of every tap its blocks. A block is one to three vectors of 64 bytes; byte 4 * column + i
/// of a vector holds stored codes of `column` for elements 4 * word + i of the reduction, for
/// several words. Hence shifting and masking a vector gives the s8 panel layout [k / 4][16][4].
///   1 bit:  one vector, 8 words; word t is bit t
///   2 bits: one vector, 4 words; word t is bits 2t, 2t + 1 (ternary, too)
///   3 bits: three vectors, 8 words; words 2j, 2j + 1 are bits 0-2 and 3-5 of vector j; the spare
///           bits of the first two vectors are the upper bits of words 6 and 7, bits 6 and 7 of the
///           third one their lowest
///   4 bits: one vector, 2 words; word t is bits 4t .. 4t + 3
///   8 bits: one vector, 1 word: the canonical code itself, so that a panel is an s8 panel
/// What fills the last block of a tap decodes to 0 (of signs: to 1; kernels give it zero
/// activations).
struct PackedCodes {
  CodeFormat format = CodeFormat::kInt4;
  int64_t taps = 1, run = 0, n = 0;
  int64_t group = 0;  // as in CodeMatrix
  int32_t a_zero_point = 0;

  AlignedVector<uint8_t> data;        // [panels][taps][blocks][vectors][64]
  AlignedVector<int8_t> zero_points;  // [panels][groups][16], or empty
  ScaleStorage scale_storage = ScaleStorage::kF32;
  AlignedVector<float> scales;          // [panels][groups][16], or empty
  AlignedVector<uint16_t> half_scales;  // likewise as IEEE binary16, or empty

  // [n rounded up to 16]:
  AlignedVector<int32_t> column_sums;  // sum of code - zero point
  AlignedVector<int32_t> offsets;      // bias - a_zero_point * column_sums
  AlignedVector<float> weight_sums;    // sum of weights: (code - zero point) * scale

  int64_t panels() const { return ceil_div(n, kPanelColumns); }
  int64_t groups() const { return group == 0 ? 1 : ceil_div(run, group); }
  /// Elements of the reduction in a block, and its bytes (of 16 columns).
  static int64_t block_elements(CodeFormat format);
  static int64_t block_bytes(CodeFormat format);
  int64_t tap_bytes() const { return ceil_div(run, block_elements(format)) * block_bytes(format); }
  int64_t panel_bytes() const { return taps * tap_bytes(); }
  /// Bytes that a product reads: codes, zero points and scales. (The sums of columns come on top:
  /// 12 bytes a column.)
  int64_t packed_bytes() const;
};

/// `a_zero_point` and `bias` ([n] or null) serve products with an IntegerEpilogue, as in pack_s8.
/// Throws ounce::Error where a code or zero point is outside of the format, a group is no multiple
/// of 32 or meets several taps, or a scale does not fit binary16.
PackedCodes pack_codes(const CodeMatrix& matrix, int32_t a_zero_point = 0,
                       const int32_t* bias = nullptr, ScaleStorage scales = ScaleStorage::kF32);

/// The canonical form in layout kNxK: codes [n, taps, run]; scales and zero points [n, groups], as
/// they are stored, empty where there are none.
struct UnpackedCodes {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int8_t> zero_points;
};
UnpackedCodes unpack_codes(const PackedCodes& packed);

/// acc = sum over k of (a - a_zero_point) * (code - zero point) + bias, exactly while it fits in 32
/// bits, for any number of rows; then `epilogue`, whose scale includes that of the columns. Needs
/// one zero point a column (group 0); with kInt8 none. A few rows read each packed byte once
/// and decode it in registers; more rows unpack panels into scratch.
void gemm_u8_codes(const Context& context, const uint8_t* a, int64_t lda, const PackedCodes& b,
                   int64_t m, const IntegerEpilogue& epilogue);

/// Activations whose rows have their own grid: a = (code - zero point) * scale.
struct QuantizedRows {
  const uint8_t* codes = nullptr;  // [m, k], rows `stride` apart; signed codes are stored + 128
  int64_t stride = 0;
  const float* scales = nullptr;         // [m], or [1] when shared
  const int32_t* zero_points = nullptr;  // likewise; null: all 128
  bool shared = false;                   // one scale and zero point for all rows
};

/// c[m, n] = epilogue(A * W), f32 out, with scales of groups or columns:
///   S_g = sum over the group of (code_a - 128) * (code_w - zero point), an exact integer
///   sum = fma(float(S_g), scale_g, sum) over the groups in order
///   sum = fma(float(128 - zero point of the row), weight_sums, sum), where that is not 128
///   c = epilogue(sum * scale of the row)
void gemm_quantized_codes(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                          int64_t m, float* c, int64_t ldc, const Epilogue& epilogue);

/// Weight-only: f32 activations, c = epilogue(A * W). A few rows decode in registers.
void gemm_f32_codes(const Context& context, const float* a, int64_t lda, const PackedCodes& b,
                    int64_t m, float* c, int64_t ldc, const Epilogue& epilogue);

/// Scratch of each of the three products above.
size_t gemm_codes_scratch_bytes(const PackedCodes& b, int64_t m, int threads);

/// Convolutions, as conv_u8s8: weights OHWI, one packed matrix a group of channels.
/// (Depthwise weights of few bits are unpacked when they are packed: pack_depthwise_s8.)
struct PackedConvCodes {
  ConvShape shape;
  int32_t a_zero_point = 0;
  std::vector<PackedCodes> groups;
};
/// `zero_points`, `bias`: [out_channels] or null. Throws as pack_codes, and where kInt8 has zero
/// points.
PackedConvCodes pack_conv_codes(const int8_t* ohwi, CodeFormat format, const ConvShape& shape,
                                int32_t a_zero_point, const int8_t* zero_points,
                                const int32_t* bias);
void conv_u8_codes(const Context& context, const uint8_t* input, const PackedConvCodes& weights,
                   const ConvShape& shape, const IntegerEpilogue& epilogue);
size_t conv_u8_codes_scratch_bytes(const PackedConvCodes& weights, const ConvShape& shape,
                                   int threads);

}  // namespace ounce::engine
