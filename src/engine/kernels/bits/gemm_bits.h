#pragma once

#include "engine/kernels/bits/bit_planes.h"
#include "engine/kernels/int8/gemm_u8s8.h"

// Products of bit planes. All of them are exact integers, the same on every instruction set.
namespace ounce::engine {

/// The left operand of a product: its format and the value that counts as zero.
struct BitActivations {
  BitFormat format = kSignBits;
  int32_t zero_point = 0;  // kUnsigned and kSigned only
};

/// Weights [taps, run, N] as panels of 16 columns: data[panel][tap][plane][word of 32 k][16
/// columns], so that one broadcast 32-bit word of an activation row meets all columns of a panel in
/// one 512-bit register. A run is padded to a multiple of 64 with zero bits, which contribute
/// nothing because an activation row has zeros there too.
///
/// The products only add bits. With value = s * code + l of each operand (kSign: s = -2, l = 1;
/// kUnsigned: s = 1, l = 0; kSigned: s = 1, l = lowest), what the l contribute is known before the
/// first bit is counted: l_a * (sum of a column) and the bias are in `offsets`, l_b * (sum of a
/// row) is added by the product, which counts the bits of its rows.
struct PackedBits {
  BitFormat format;
  BitActivations activations;
  int64_t taps = 1;
  int64_t run = 0;  // elements of a tap
  int64_t n = 0;
  AlignedVector<uint32_t> data;
  AlignedVector<int32_t> tap_sums;  // [taps][N rounded up to 16] sums of values
  AlignedVector<int32_t> offsets;   // [N rounded up to 16]: where an accumulator starts
  // The weights once more, for products of many rows; see lookup_bits.h. Used at the level (see
  // dispatch.h) that was chosen when they were packed.
  AlignedVector<uint8_t> lookup;
  int lookup_level = 0;

  int64_t k() const { return taps * run; }
  int64_t plane_words() const { return BitFormat::plane_words(run); }
  /// 32-bit words between panels.
  int64_t panel_stride() const { return taps * format.planes * plane_words() * 2 * kPanelColumns; }
};

/// `values`: int8 values of `format`, [taps, run, n] (kKxN) or [n, taps, run] (kNxK). `bias`: [n]
/// in accumulator units, or null. can_multiply(activations.format, format) must hold.
PackedBits pack_bits(const int8_t* values, int64_t taps, int64_t run, int64_t n,
                     WeightLayout layout, BitFormat format, const BitActivations& activations,
                     const int32_t* bias);
/// The values again, [n, taps, run].
std::vector<int8_t> unpack_bits(const PackedBits& packed);

/// acc[i][j] = sum over k of (a[i][k] - zero_point) * b[k][j], plus the bias; then `epilogue`. A:
/// bits [m][plane][word], rows `lda` 64-bit words apart; weights with one tap.
void gemm_bits(const Context& context, const uint64_t* a, int64_t lda, const PackedBits& b,
               int64_t m, const IntegerEpilogue& epilogue);
size_t gemm_bits_scratch_bytes(int64_t m, int64_t n, int64_t k, int threads);

/// One product of a batch whose both operands are activations.
struct MatmulBitsItem {
  const uint64_t* a = nullptr;  // [M][plane][word], bits along K, rows `lda` words apart
  // Signs. kNxK: [N, K], bits along K; kKxN: [K, N], bits along N. Rows `ldb` words apart.
  const uint64_t* b = nullptr;
  void* c = nullptr;             // [M, N] of the epilogue's output type, rows epilogue.ldc apart
  const float* scale = nullptr;  // [N], as that of the epilogue
};
struct MatmulBitsShape {
  int64_t m = 0, n = 0, k = 0;
  int64_t lda = 0, ldb = 0;
  WeightLayout b_layout = WeightLayout::kNxK;
  BitFormat a = kSignBits;  // kSign or kUnsigned
};
/// acc = sum over k of a * b, exactly; then `epilogue`, the same for every item but for its c and
/// scale, which are those of the item. Its residuals and sign_bits must be null.
void matmul_bits(const Context& context, std::span<const MatmulBitsItem> items,
                 const MatmulBitsShape& shape, const IntegerEpilogue& epilogue);
size_t matmul_bits_scratch_bytes(const MatmulBitsShape& shape, int64_t items, int threads);

/// sign(float(acc) * scale[c] + bias[c]) as a comparison of integers, for IntegerOutput::kBits: the
/// bit is set where (acc < thresholds[c]) differs from bit c % 16 of flips[c / 16]. Equal to the
/// float formula (single multiplication and addition) for every int32 accumulator, whatever the
/// sign of the gain.
struct SignThresholds {
  AlignedVector<int32_t> thresholds;  // [columns rounded up to 16]
  AlignedVector<uint16_t> flips;      // [columns / 16 rounded up]
};
SignThresholds fold_sign_thresholds(std::span<const float> scale, std::span<const float> bias);

}  // namespace ounce::engine
