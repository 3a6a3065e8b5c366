#pragma once

#include "engine/kernels/bits/gemm_bits.h"
#include "engine/kernels/blocking/blocking.h"

// Products of bit planes whose left operand is given by row pointers: what matrix products,
// convolutions and attention share.
namespace ounce::engine {

/// Panels [ceil(n / 16)][tap][plane][2 * words][16] of a format, and what they meet: row pointers
/// lead to the first plane of a tap, planes are `a_plane` 64-bit words apart.
struct PanelsBits {
  const uint32_t* data = nullptr;
  int64_t n = 0;
  int64_t taps = 1;
  int64_t words = 0;  // 64-bit words of a plane of a tap
  BitFormat format;
  BitFormat a;
  int64_t a_plane = 0;
  const int32_t* offsets = nullptr;  // [n rounded up to 16]: where sums start
  // Taps whose row pointer is `padding` contribute nothing: their tap_sums [taps][n rounded up to
  // 16] are taken off. Null where padding is a zero.
  const uint64_t* padding = nullptr;
  const int32_t* tap_sums = nullptr;
};
PanelsBits panels_of(const PackedBits& packed);

/// What the bits of a product do not count, of a column of B with K values: their sum and the sum
/// of their squares are given.
int64_t bit_product_constant(const BitActivations& a, BitFormat b, int64_t k, int64_t sum,
                             int64_t squares);

/// C = epilogue(rows * B).
void implicit_gemm_bits(const Context& context, const RowSource<uint64_t>& rows,
                        const PanelsBits& b, const IntegerEpilogue& epilogue);
size_t implicit_gemm_bits_scratch_bytes(int64_t rows, int64_t taps, int threads);

/// Applies an epilogue with output kBits to sums [rows, n].
void threshold_rows(const Context& context, const int32_t* sums, int64_t rows, int64_t n,
                    const IntegerEpilogue& epilogue);

}  // namespace ounce::engine
