#pragma once

#include "engine/kernels/bits/implicit_bits.h"
#include "engine/kernels/blocking/blocking.h"

// Products of bit planes by table look-up, for many rows where no instruction counts bits. Four
// bits of a column are an index into a table of the sums that they could have with four bits of an
// activation row; one shuffle looks up a whole register of columns: two operations for 4 products a
// byte, where a count takes seven for 8. (With VPOPCNTDQ, counting is faster than shuffles of 64
// or 128 entries, too: measured.)
//
// The order of the columns in a register depends on its length, so weights keep the layout of the
// level that they were packed at, and are counted (from PackedBits::data) at any other.
namespace ounce::engine {

/// Columns of a register at the current level; 0 where look-up does not pay. A byte of weights
/// holds the indices of 8 k, low four bits first; activations become 16-bit offsets of tables.
struct LookupLayout {
  int64_t columns = 0;

  /// Bytes of a run of one plane for a column, and offsets that stand for a run of activations.
  static constexpr int64_t bytes(int64_t run) { return ceil_div(run, 8); }
  static constexpr int64_t offsets(int64_t run) { return 2 * bytes(run); }
};
LookupLayout current_lookup();

/// Adds PackedBits::lookup where the current level looks up products of its formats: [group of
/// columns][tap][plane][bytes of a run][column of the register].
void pack_lookup(PackedBits& packed);

/// Whether a product of `rows` rows is looked up.
bool uses_lookup(const PackedBits& packed, int64_t rows);

/// Rows of bits [rows][plane][word] to offsets of tables [rows][plane][offsets(run)].
void make_table_offsets(const Context& context, const uint64_t* bits, int64_t stride, int64_t rows,
                        int64_t run, int planes, uint16_t* offsets);
/// The offsets of one row.
int64_t table_offsets_of_row(int64_t run, int planes);

/// As implicit_gemm_bits, of the rows in both forms. `padding`: as PanelsBits::padding, of offsets.
void implicit_gemm_lookup(const Context& context, const RowSource<uint64_t>& bits,
                          const RowSource<uint16_t>& offsets, const PackedBits& packed,
                          const PanelsBits& panels, const uint16_t* padding,
                          const IntegerEpilogue& epilogue);

}  // namespace ounce::engine
