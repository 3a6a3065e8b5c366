#include "engine/kernels/gemm_bits.h"

#include <array>
#include <bit>

#include "engine/kernels/dispatch.h"
#include "engine/kernels/implicit_bits.h"
#include "engine/kernels/implicit_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/gemm_bits.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/epilogue_u8-inl.h"
#include "engine/kernels/tile_bits-inl.h"
#include "engine/kernels/tiles_by_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// value = scale * code + lowest, of the formats whose codes are added up.
constexpr int32_t scale_of(BitFormat format) {
  return format.coding == BitCoding::kSign ? -2 : 1;
}
constexpr int32_t constant_of(BitFormat format) {
  return format.coding == BitCoding::kSign ? 1 : format.lowest();
}

constexpr bool is_ternary(BitFormat format) {
  return format.coding == BitCoding::kTernary;
}
constexpr bool is_sign(BitFormat format) {
  return format.coding == BitCoding::kSign;
}
constexpr bool adds_codes(const PanelsBits& b) {
  return !is_ternary(b.format) && !(is_sign(b.a) && is_sign(b.format));
}

// One product: what is the same for all of its tiles.
struct ProductBits {
  ProductBits(const PanelsBits& panels, const IntegerEpilogue& e) : b(panels), epilogue(e) {
    b_plane = b.words * 2 * kPanelColumns;
    if (!adds_codes(b)) {
      factor = is_ternary(b.a) ? 1 : -2;
      sweeps[sweep_count++] = {0, 0, false};
      return;
    }
    factor = scale_of(b.a) * scale_of(b.format);
    for (int level = b.a.planes + b.format.planes - 2; level >= 0; --level) {
      bool doubles = sweep_count > 0;
      for (int p = 0; p < b.a.planes; ++p) {
        const int q = level - p;
        if (q < 0 || q >= b.format.planes) continue;
        sweeps[sweep_count++] = {p * b.a_plane, q * b_plane, doubles};
        doubles = false;
      }
    }
  }
  const PanelsBits& b;
  const IntegerEpilogue& epilogue;
  const int32_t* row_offsets = nullptr;
  int64_t b_plane;
  int32_t factor;
  std::array<BitSweep, 9> sweeps{};
  size_t sweep_count = 0;
};

// What padded taps were counted as.
HWY_INLINE void take_off_padding(const PanelsBits& b, const uint64_t* const* pointers,
                                 const SumTile& t) {
  const int64_t columns = round_up(t.columns, kPanelColumns);
  const int64_t stride = round_up(b.n, kPanelColumns);
  for (int64_t tap = 0; tap < b.taps; ++tap) {
    const int32_t* lost = b.tap_sums + tap * stride + t.column;
    for (int64_t i = 0; i < t.rows; ++i) {
      if (pointers[tap * t.rows + i] != b.padding) continue;
      int32_t* sums = t.sums + i * kSumStride;
      for (int64_t j = 0; j < columns; j += kLanes) {
        const VI sum = hn::LoadU(DI(), sums + j);
        hn::StoreU(hn::Sub(sum, hn::LoadU(DI(), lost + j)), DI(), sums + j);
      }
    }
  }
}

// Asks for the cache lines that a tile's results go to: products of few words are done before the
// first of them would arrive otherwise.
HWY_INLINE void prefetch_output(const IntegerEpilogue& e, const TileRange& tile, int64_t columns) {
  if (e.output != IntegerOutput::kF32 && e.output != IntegerOutput::kI32) return;
  constexpr int64_t kLine = 16;  // elements
  for (int64_t i = tile.row; i < tile.row + tile.rows; ++i) {
    const int32_t* row = static_cast<const int32_t*>(e.c) + i * e.ldc + tile.column;
    for (int64_t j = 0; j < columns; j += kLine) __builtin_prefetch(row + j, 1);
  }
}

template <class Counter>
void run_tile_bits(const ProductBits& p, const uint64_t* const* pointers, const TileRange& tile) {
  const auto [row, rows, column, panels] = tile;
  const PanelsBits& b = p.b;
  const int64_t columns = std::min(panels * kPanelColumns, b.n - column);
  const int64_t b_tap = b.format.planes * p.b_plane;
  const int64_t panel_stride = b.taps * b_tap;
  alignas(64) int32_t sums[kMostTileRows * kSumStride];
  const TileBits t = {pointers,
                      b.taps,
                      b.words,
                      b.a_plane,
                      b.data + column / kPanelColumns * panel_stride,
                      b_tap,
                      p.b_plane,
                      panel_stride,
                      {p.sweeps.data(), p.sweep_count},
                      p.factor,
                      b.offsets + column,
                      sums,
                      kSumStride};
  prefetch_output(p.epilogue, tile, columns);
  tile_function<TileKernelBits<Counter>>(rows, panels)(t);
  const SumTile done = {sums, rows, columns, row, column, p.row_offsets, b.n};
  if (b.padding != nullptr) take_off_padding(b, pointers, done);
  finish_sums(done, p.epilogue);
}

template <class Counter>
void multiply_bits(const Context& context, const RowSource<uint64_t>& source,
                   const ProductBits& p) {
  const int64_t panel_bytes = p.b.taps * p.b.format.planes * p.b_plane * 4;
  for_all_tiles_by_rows(context, source, p.b.n, panel_bytes,
                        limits_for_rows<TileKernelBits<Counter>>(source.row_count),
                        [&](const uint64_t* const* rows, const TileRange& tile) {
                          run_tile_bits<Counter>(p, rows, tile);
                        });
}

// Sum of the codes of one row.
HWY_INLINE int64_t row_code_sum(const PanelsBits& b, const uint64_t* const* taps) {
  int64_t sum = 0;
  for (int64_t tap = 0; tap < b.taps; ++tap) {
    for (int p = 0; p < b.a.planes; ++p) {
      const uint64_t* plane = taps[tap] + p * b.a_plane;
      int64_t bits = 0;
      for (int64_t w = 0; w < b.words; ++w) bits += std::popcount(plane[w]);
      sum += bits << p;
    }
  }
  return sum;
}

// offsets[i] = what the constant of B's values adds to the sums of row i.
void row_offsets_of(const Context& context, const RowSource<uint64_t>& source, const PanelsBits& b,
                    int32_t* offsets) {
  constexpr int64_t kRows = 16;  // a task
  const int64_t pointers = Blocking::pointers_per_thread(source.taps);
  const uint64_t** table =
      ScratchCursor(context.scratch).take<const uint64_t*>(pointers * context.pool.size());
  const int64_t factor = int64_t{constant_of(b.format)} * scale_of(b.a);
  context.pool.parallel_for(ceil_div(source.row_count, kRows), [&](int64_t task, int thread) {
    const uint64_t** taps = table + thread * pointers;
    const int64_t end = std::min(source.row_count, (task + 1) * kRows);
    for (int64_t i = task * kRows; i < end; ++i) {
      source.rows(i, 1, taps);
      offsets[i] = static_cast<int32_t>(factor * row_code_sum(b, taps));
    }
  });
}

void implicit_gemm_bits(const Context& context, const RowSource<uint64_t>& source,
                        const PanelsBits& b, const IntegerEpilogue& epilogue) {
  ProductBits p(b, epilogue);
  ScratchCursor cursor(context.scratch);
  int32_t* row_offsets = cursor.take<int32_t>(source.row_count);
  const Context rest = {context.pool, cursor.rest(context.scratch)};
  if (adds_codes(b)) {
    if (constant_of(b.format) != 0) {
      row_offsets_of(rest, source, b, row_offsets);
      p.row_offsets = row_offsets;
    }
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
  const int64_t words = b.activations.format.words(b.run);
  implicit_gemm_bits(context, MatrixRows<uint64_t>(a, lda, m, words), panels_of(b), epilogue);
}

size_t gemm_bits_scratch_bytes(int64_t m, int64_t, int64_t, int threads) {
  return implicit_gemm_bits_scratch_bytes(m, 1, threads);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
