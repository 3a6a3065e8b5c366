// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_PRODUCT_BITS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_PRODUCT_BITS_INL_H
#undef OUNCE_ENGINE_KERNELS_PRODUCT_BITS_INL_H
#else
#define OUNCE_ENGINE_KERNELS_PRODUCT_BITS_INL_H
#endif

#include <algorithm>
#include <array>
#include <bit>

#include "engine/kernels/bits/implicit_bits.h"
#include "engine/kernels/int8/epilogue_u8-inl.h"

// What products of bit planes do around their tiles, however these count.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// value = scale * code + constant, of the formats whose codes are added up.
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

// One sweep over K: planes of A and B that meet. Sums are doubled before it where `doubles`: sweeps
// go from the highest level 2^(plane of A + plane of B) down.
struct BitSweep {
  int a, b;
  bool doubles;
};

// One product: what is the same for all of its tiles.
struct ProductBits {
  ProductBits(const PanelsBits& panels, const IntegerEpilogue& e) : b(panels), epilogue(e) {
    clamp = clamp_of(e.f32);
    direct = e.output == IntegerOutput::kF32 && clamp.direct && e.f32.residual == nullptr &&
             e.prelu_slope == nullptr && e.sign_bits == nullptr;
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
        sweeps[sweep_count++] = {p, q, doubles};
        doubles = false;
      }
    }
  }
  const PanelsBits& b;
  const IntegerEpilogue& epilogue;
  const int32_t* row_offsets = nullptr;
  // Floats are scaled, shifted and clamped sums: the tile can store them itself.
  bool direct;
  Clamp clamp;
  int32_t factor;  // 1 or -2: sums are offsets + factor * what is counted
  std::array<BitSweep, 9> sweeps{};
  size_t sweep_count = 0;
};

// What padded taps of the rows in `border` were counted as.
template <class T>
HWY_INLINE void take_off_padding(const PanelsBits& b, const T* padding, const T* const* pointers,
                                 uint32_t border, const SumTile& t) {
  const int64_t columns = round_up(t.columns, kPanelColumns);
  const int64_t stride = round_up(b.n, kPanelColumns);
  for (; border != 0; border &= border - 1) {
    const int64_t row = std::countr_zero(border);
    int32_t* const sums = t.sums + row * kSumStride;
    for (int64_t tap = 0; tap < b.taps; ++tap) {
      if (pointers[tap * t.rows + row] != padding) continue;
      const int32_t* lost = b.tap_sums + tap * stride + t.column;
      for (int64_t j = 0; j < columns; j += kLanes) {
        const VI sum = hn::LoadU(DI(), sums + j);
        hn::StoreU(hn::Sub(sum, hn::LoadU(DI(), lost + j)), DI(), sums + j);
      }
    }
  }
}

// Asks for the cache lines that a tile's results go to, and those that are added to them: products
// of few words are done before the first of them would arrive otherwise. (Results that overwrite
// what is added to them need it less than it costs.)
HWY_INLINE void prefetch_output(const IntegerEpilogue& e, const TileRange& tile, int64_t columns) {
  const bool floats = e.output == IntegerOutput::kF32;
  if (!floats && e.output != IntegerOutput::kI32) return;
  const float* residual = floats ? e.f32.residual : nullptr;
  if (residual != nullptr && residual == e.c) return;
  constexpr int64_t kLine = 16;  // elements
  for (int64_t i = tile.row; i < tile.row + tile.rows; ++i) {
    const int32_t* row = static_cast<const int32_t*>(e.c) + i * e.ldc + tile.column;
    for (int64_t j = 0; j < columns; j += kLine) __builtin_prefetch(row + j, 1);
    if (residual == nullptr) continue;
    const float* added = residual + i * e.f32.residual_stride + tile.column;
    for (int64_t j = 0; j < columns; j += kLine) __builtin_prefetch(added + j, 0);
  }
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
inline void row_offsets_of(const Context& context, const RowSource<uint64_t>& source,
                           const PanelsBits& b, int32_t* offsets) {
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

// Where the sums of a product start beyond its columns' offsets: [rows] of `offsets` where B's
// values have a constant, else null.
inline const int32_t* needed_row_offsets(const Context& context, const RowSource<uint64_t>& source,
                                         const PanelsBits& b, int32_t* offsets) {
  if (!adds_codes(b) || constant_of(b.format) == 0) return nullptr;
  row_offsets_of(context, source, b, offsets);
  return offsets;
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
