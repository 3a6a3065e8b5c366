#include "engine/kernels/bits/gemm_bits.h"

#include "engine/kernels/bits/implicit_bits.h"
#include "engine/kernels/bits/lookup_bits.h"
#include "engine/kernels/blocking/implicit_gemm.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/bits/gemm_bits.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/bits/product_bits-inl.h"
#include "engine/kernels/bits/tile_bits-inl.h"
#include "engine/kernels/blocking/tiles_by_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

template <class Counter>
void run_tile_bits(const ProductBits& p, const uint64_t* const* pointers, const TileRange& tile,
                   uint32_t border) {
  const auto [row, rows, column, panels] = tile;
  const PanelsBits& b = p.b;
  const IntegerEpilogue& e = p.epilogue;
  const int64_t columns = std::min(panels * kPanelColumns, b.n - column);
  const int64_t b_plane = b.words * 2 * kPanelColumns;
  const int64_t b_tap = b.format.planes * b_plane;
  const int64_t panel_stride = b.taps * b_tap;
  alignas(64) int32_t sums[kMostTileRows * kSumStride];
  TileBits t = {pointers,
                b.taps,
                b.words,
                b.a_plane,
                b.data + column / kPanelColumns * panel_stride,
                b_tap,
                b_plane,
                panel_stride,
                {p.sweeps.data(), p.sweep_count},
                p.factor,
                b.offsets + column,
                p.row_offsets == nullptr ? nullptr : p.row_offsets + row,
                sums,
                kSumStride,
                nullptr,
                e.ldc,
                e.scale + column,
                e.f32.bias == nullptr ? nullptr : e.f32.bias + column,
                p.clamp};
  if (p.direct && border == 0 && columns == panels * kPanelColumns) {
    t.floats = static_cast<float*>(e.c) + row * e.ldc + column;
  }
  prefetch_output(e, tile, columns);
  tile_function<TileKernelBits<Counter>>(rows, panels)(t);
  if (t.floats != nullptr) return;
  const SumTile done = {sums, rows, columns, row, column, nullptr, b.n};
  if (border != 0) take_off_padding(b, b.padding, pointers, border, done);
  finish_sums(done, e);
}

template <class Counter>
void multiply_bits(const Context& context, const RowSource<uint64_t>& source,
                   const ProductBits& p) {
  const int64_t panel_bytes = p.b.taps * p.b.format.planes * p.b.words * 8 * kPanelColumns;
  for_all_tiles_by_rows(context, source, p.b.n, panel_bytes,
                        limits_for_rows<TileKernelBits<Counter>>(source.row_count),
                        [&](const uint64_t* const* rows, const TileRange& tile, uint32_t padded) {
                          run_tile_bits<Counter>(p, rows, tile,
                                                 p.b.padding == nullptr ? 0 : padded);
                        });
}

void implicit_gemm_bits(const Context& context, const RowSource<uint64_t>& source,
                        const PanelsBits& b, const IntegerEpilogue& epilogue) {
  ProductBits p(b, epilogue);
  ScratchCursor cursor(context.scratch);
  int32_t* row_offsets = cursor.take<int32_t>(source.row_count);
  const Context rest = {context.pool, cursor.rest(context.scratch)};
  p.row_offsets = needed_row_offsets(rest, source, b, row_offsets);
  if (adds_codes(b)) {
    return multiply_bits<JoinCounter<BitJoin::kAnd>>(rest, source, p);
  }
  if (is_sign(b.format)) return multiply_bits<JoinCounter<BitJoin::kXor>>(rest, source, p);
  if (is_sign(b.a)) return multiply_bits<MaskedCounter>(rest, source, p);
  multiply_bits<TernaryCounter>(rest, source, p);
}

void threshold_rows(const Context& context, const int32_t* sums, int64_t rows, int64_t n,
                    const IntegerEpilogue& epilogue) {
  context.pool.parallel_for(rows, [&](int64_t row, int) HWY_ATTR {
    for (int64_t column = 0; column < n; column += kSumStride) {
      alignas(64) int32_t tile[kSumStride];
      const int64_t columns = std::min(kSumStride, n - column);
      std::memcpy(tile, sums + row * n + column, static_cast<size_t>(columns) * sizeof(int32_t));
      finish_sums({tile, 1, columns, row, column, nullptr, n}, epilogue);
    }
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(implicit_gemm_bits);
OUNCE_EXPORT(threshold_rows);

void implicit_gemm_bits(const Context& context, const RowSource<uint64_t>& rows,
                        const PanelsBits& b, const IntegerEpilogue& epilogue) {
  OUNCE_DISPATCH(implicit_gemm_bits)(context, rows, b, epilogue);
}
void threshold_rows(const Context& context, const int32_t* sums, int64_t rows, int64_t n,
                    const IntegerEpilogue& epilogue) {
  OUNCE_DISPATCH(threshold_rows)(context, sums, rows, n, epilogue);
}

size_t implicit_gemm_bits_scratch_bytes(int64_t rows, int64_t taps, int threads) {
  return ScratchCursor::need<int32_t>(rows) + implicit_gemm_scratch_bytes(taps, threads);
}

PanelsBits panels_of(const PackedBits& packed) {
  PanelsBits b;
  b.data = packed.data.data();
  b.n = packed.n;
  b.taps = packed.taps;
  b.words = packed.plane_words();
  b.format = packed.format;
  b.a = packed.activations.format;
  b.a_plane = b.words;
  b.offsets = packed.offsets.data();
  return b;
}

void gemm_bits(const Context& context, const uint64_t* a, int64_t lda, const PackedBits& b,
               int64_t m, const IntegerEpilogue& epilogue) {
  const BitFormat format = b.activations.format;
  const MatrixRows<uint64_t> rows(a, lda, m, format.words(b.run));
  if (!uses_lookup(b, m)) return implicit_gemm_bits(context, rows, panels_of(b), epilogue);
  const int64_t length = format.planes * LookupLayout::offsets(b.run);
  ScratchCursor cursor(context.scratch);
  auto* offsets = cursor.take<uint16_t>(m * length);
  make_table_offsets(context, a, lda, m, b.run, format.planes, offsets);
  implicit_gemm_lookup({context.pool, cursor.rest(context.scratch)}, rows,
                       MatrixRows<uint16_t>(offsets, length, m, length), b, panels_of(b), nullptr,
                       epilogue);
}

size_t gemm_bits_scratch_bytes(int64_t m, int64_t, int64_t k, int threads) {
  return ScratchCursor::need<uint16_t>(m * table_offsets_of_row(k, 3)) +
         implicit_gemm_bits_scratch_bytes(m, 1, threads);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
