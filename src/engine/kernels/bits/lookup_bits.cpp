#define OUNCE_AVX512VNNI_IS_AVX512  // see dispatch.h

#include "engine/kernels/bits/lookup_bits.h"

#include <array>
#include <bit>
#include <cstring>

#include "engine/isa.h"
#include "engine/kernels/blocking/implicit_gemm.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/bits/lookup_bits.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/bits/tile_lookup-inl.h"
#include "engine/kernels/blocking/tiles_by_rows-inl.h"
#include "engine/kernels/vector/tally-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

#if HWY_TARGET != HWY_AVX2 && HWY_TARGET != HWY_AVX3

// Here counting bits is faster.
LookupLayout lookup_layout() {
  return {};
}
void table_offsets_of(const Context&, const uint64_t*, int64_t, int64_t, int64_t, int, uint16_t*) {}
void gemm_lookup(const Context&, const RowSource<uint64_t>&, const RowSource<uint16_t>&,
                 const PackedBits&, const PanelsBits&, const uint16_t*, const IntegerEpilogue&) {}

#else

LookupLayout lookup_layout() {
  return {kLookupColumns};
}

// sums[activation bits][weight bits] = popcount of their join; the 16 of an activation's four bits
// stand in every 128-bit block of a register.
struct alignas(64) Tables {
  explicit Tables(BitJoin join) {
    for (size_t i = 0; i < sums.size(); ++i) {
      const size_t a = i / kLookupColumns;
      const size_t w = i % 16;
      sums[i] = static_cast<uint8_t>(std::popcount(join == BitJoin::kXor ? a ^ w : a & w));
    }
  }
  std::array<uint8_t, 16 * kLookupColumns> sums;
};

inline const uint8_t* tables_of(BitJoin join) {
  static const Tables kXor(BitJoin::kXor);
  static const Tables kAnd(BitJoin::kAnd);
  return (join == BitJoin::kXor ? kXor : kAnd).sums.data();
}

// The offsets of a run of `bytes` bytes.
HWY_INLINE void offsets_of_run(const uint8_t* bits, int64_t bytes, uint16_t* out) {
  for (int64_t i = 0; i < bytes; ++i) {
    out[2 * i] = static_cast<uint16_t>((bits[i] & 15) * kLookupColumns);
    out[2 * i + 1] = static_cast<uint16_t>((bits[i] >> 4) * kLookupColumns);
  }
}

void table_offsets_of(const Context& context, const uint64_t* bits, int64_t stride, int64_t rows,
                      int64_t run, int planes, uint16_t* offsets) {
  constexpr int64_t kRows = 16;  // a task
  const int64_t words = BitFormat::plane_words(run);
  const int64_t length = LookupLayout::offsets(run);
  const int64_t bytes = LookupLayout::bytes(run);
  context.pool.parallel_for(ceil_div(rows, kRows), [&](int64_t task, int) HWY_ATTR {
    const int64_t end = std::min(rows, (task + 1) * kRows);
    for (int64_t i = task * kRows; i < end; ++i) {
      for (int p = 0; p < planes; ++p) {
        const auto* source = reinterpret_cast<const uint8_t*>(bits + i * stride + p * words);
        offsets_of_run(source, bytes, offsets + (i * planes + p) * length);
      }
    }
  });
}

// What is the same for all tiles of a looked-up product.
struct ProductLookup {
  const ProductBits& p;
  const PackedBits& packed;
  const uint16_t* padding;
  const uint8_t* tables;
  int64_t bytes, group_stride, a_plane;
};

// Counts of one group of columns -> sums or floats.
template <int kFactor, bool kFloats>
HWY_INLINE void finish_group(const ProductBits& p, const uint16_t* counts, int64_t counts_stride,
                             const SumTile& t) {
  const PanelsBits& b = p.b;
  const IntegerEpilogue& e = p.epilogue;
  const VF lo = constant(p.clamp.lo);
  const VF hi = constant(p.clamp.hi);
  const int64_t columns = round_up(t.columns, kPanelColumns);
  for (int part = 0; part * kLanes < columns; ++part) {
    const int64_t column = t.column + part * kLanes;
    const VI offset = hn::LoadU(DI(), b.offsets + column);
    VF scale = hn::Zero(DF());
    VF bias = hn::Zero(DF());
    if constexpr (kFloats) {
      scale = hn::LoadU(DF(), e.scale + column);
      if (e.f32.bias != nullptr) bias = hn::LoadU(DF(), e.f32.bias + column);
    }
    for (int64_t i = 0; i < t.rows; ++i) {
      const VI count = counts_of_part(counts + i * counts_stride, part);
      VI sum = kFactor == 1 ? hn::Add(offset, count) : hn::Sub(offset, hn::Add(count, count));
      if (p.row_offsets != nullptr) {
        sum = hn::Add(sum, hn::Set(DI(), p.row_offsets[t.row + i]));
      }
      if constexpr (kFloats) {
        const VF x = hn::Add(hn::Mul(hn::ConvertTo(DF(), sum), scale), bias);
        float* c = static_cast<float*>(e.c) + (t.row + i) * e.ldc + column;
        hn::StoreU(at_most(at_least(x, lo), hi), DF(), c);
      } else {
        hn::StoreU(sum, DI(), t.sums + i * kSumStride + part * kLanes);
      }
    }
  }
}

inline void finish_group(const ProductLookup& l, const uint16_t* const* pointers,
                         const uint16_t* counts, int64_t counts_stride, const SumTile& t,
                         uint32_t border) {
  const ProductBits& p = l.p;
  if (p.direct && border == 0 && t.columns == kLookupColumns) {
    if (p.factor == 1) return finish_group<1, true>(p, counts, counts_stride, t);
    return finish_group<-2, true>(p, counts, counts_stride, t);
  }
  if (p.factor == 1) {
    finish_group<1, false>(p, counts, counts_stride, t);
  } else {
    finish_group<-2, false>(p, counts, counts_stride, t);
  }
  if (border != 0) take_off_padding(p.b, l.padding, pointers, border, t);
  finish_sums(t, p.epilogue);
}

// `tile`: panels are groups.
inline void run_tile_lookup(const ProductLookup& l, const uint16_t* const* pointers,
                            const TileRange& tile, uint32_t border) {
  const int64_t first = tile.column / kPanelColumns;
  const int64_t groups = tile.panels;
  const PanelsBits& b = l.p.b;
  alignas(64) uint16_t counts[kLookupRows * kLookupGroups * kLookupColumns];
  const TileLookup t = {pointers,
                        b.taps,
                        l.bytes,
                        l.a_plane,
                        l.packed.lookup.data() + first * l.group_stride,
                        l.group_stride,
                        l.tables,
                        {l.p.sweeps.data(), l.p.sweep_count},
                        counts};
  const int64_t column = first * kLookupColumns;
  const int64_t columns = std::min(groups * kLookupColumns, b.n - column);
  prefetch_output(l.p.epilogue, {tile.row, tile.rows, column, groups}, columns);
  lookup_function(tile.rows, groups)(t);
  alignas(64) int32_t sums[kLookupRows * kSumStride];
  for (int64_t j = 0; j < groups; ++j) {
    const int64_t begin = column + j * kLookupColumns;
    const SumTile done = {
        sums, tile.rows, std::min(kLookupColumns, b.n - begin), tile.row, begin, nullptr, b.n};
    finish_group(l, pointers, counts + j * kLookupColumns, groups * kLookupColumns, done, border);
  }
}

void gemm_lookup(const Context& context, const RowSource<uint64_t>& bits,
                 const RowSource<uint16_t>& offsets, const PackedBits& packed,
                 const PanelsBits& panels, const uint16_t* padding,
                 const IntegerEpilogue& epilogue) {
  ProductBits p(panels, epilogue);
  ScratchCursor cursor(context.scratch);
  int32_t* row_offsets = cursor.take<int32_t>(bits.row_count);
  const Context rest = {context.pool, cursor.rest(context.scratch)};
  p.row_offsets = needed_row_offsets(rest, bits, panels, row_offsets);
  const int64_t bytes = LookupLayout::bytes(packed.run);
  const int64_t group_stride = packed.taps * packed.format.planes * bytes * kLookupColumns;
  const ProductLookup l = {p,
                           packed,
                           padding,
                           tables_of(adds_codes(panels) ? BitJoin::kAnd : BitJoin::kXor),
                           bytes,
                           group_stride,
                           LookupLayout::offsets(packed.run)};
  const int64_t groups = ceil_div(packed.n, kLookupColumns);
  for_all_tiles_by_rows(rest, offsets, groups * kPanelColumns, group_stride,
                        {kLookupRows, kLookupGroups},
                        [&](const uint16_t* const* rows, const TileRange& tile, uint32_t padded) {
                          run_tile_lookup(l, rows, tile, panels.padding == nullptr ? 0 : padded);
                        });
}

#endif

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(lookup_layout);
OUNCE_EXPORT(table_offsets_of);
OUNCE_EXPORT(gemm_lookup);

LookupLayout current_lookup() {
  if (current_isa() == Isa::kAvx512Vnni) return {};  // counts bits, which is faster
  return OUNCE_DISPATCH(lookup_layout)();
}

void make_table_offsets(const Context& context, const uint64_t* bits, int64_t stride, int64_t rows,
                        int64_t run, int planes, uint16_t* offsets) {
  OUNCE_DISPATCH(table_offsets_of)(context, bits, stride, rows, run, planes, offsets);
}

int64_t table_offsets_of_row(int64_t run, int planes) {
  return planes * LookupLayout::offsets(run);
}

void implicit_gemm_lookup(const Context& context, const RowSource<uint64_t>& bits,
                          const RowSource<uint16_t>& offsets, const PackedBits& packed,
                          const PanelsBits& panels, const uint16_t* padding,
                          const IntegerEpilogue& epilogue) {
  OUNCE_DISPATCH(gemm_lookup)(context, bits, offsets, packed, panels, padding, epilogue);
}

namespace {

// The byte of a register that holds column `c` of its group: every fourth byte belongs to the same
// quarter of the columns, so that 16-bit and then 32-bit halves come out in order.
int64_t column_place(int64_t c, int64_t columns) {
  return 4 * (c % (columns / 4)) + c / (columns / 4);
}

bool bit_of(const PackedBits& b, int64_t tap, int plane, int64_t k, int64_t column) {
  if (k >= b.run) return false;
  const int64_t words = b.plane_words() * 2;
  const int64_t word = column / kPanelColumns * b.panel_stride() +
                       ((tap * b.format.planes + plane) * words + k / 32) * kPanelColumns +
                       column % kPanelColumns;
  return (b.data[static_cast<size_t>(word)] >> (k % 32) & 1U) != 0;
}

// Counts must fit in 16 bits.
bool counts_fit(const PackedBits& b) {
  const int64_t a_most = (1 << b.activations.format.planes) - 1;
  const int64_t b_most = (1 << b.format.planes) - 1;
  return b.k() * a_most * b_most <= 0xFFFF;
}

}  // namespace

void pack_lookup(PackedBits& packed) {
  const LookupLayout layout = current_lookup();
  const bool ternary = packed.format.coding == BitCoding::kTernary ||
                       packed.activations.format.coding == BitCoding::kTernary;
  if (layout.columns == 0 || ternary || !counts_fit(packed)) return;
  packed.lookup_level = dispatch_index();
  const int64_t bytes = LookupLayout::bytes(packed.run);
  const int64_t groups = ceil_div(packed.n, layout.columns);
  const int64_t planes = packed.format.planes;
  packed.lookup.resize(static_cast<size_t>(groups * packed.taps * planes * bytes * layout.columns));
  for (int64_t column = 0; column < packed.n; ++column) {
    const int64_t group = column / layout.columns;
    const int64_t place = column_place(column % layout.columns, layout.columns);
    for (int64_t run = 0; run < packed.taps * planes; ++run) {
      for (int64_t i = 0; i < bytes; ++i) {
        unsigned index = 0;
        for (int k = 0; k < 8; ++k) {
          const bool set =
              bit_of(packed, run / planes, static_cast<int>(run % planes), i * 8 + k, column);
          index |= (set ? 1U : 0U) << k;
        }
        const int64_t at = ((group * packed.taps * planes + run) * bytes + i) * layout.columns;
        packed.lookup[static_cast<size_t>(at + place)] = static_cast<uint8_t>(index);
      }
    }
  }
}

bool uses_lookup(const PackedBits& packed, int64_t rows) {
  constexpr int64_t kFewRows = 8;  // below, making offsets and reading more bytes cost more
  return !packed.lookup.empty() && packed.lookup_level == dispatch_index() && rows >= kFewRows;
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
