// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_TILE_U8S8_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_TILE_U8S8_INL_H
#undef OUNCE_ENGINE_KERNELS_TILE_U8S8_INL_H
#else
#define OUNCE_ENGINE_KERNELS_TILE_U8S8_INL_H
#endif

#include "engine/kernels/blocking/tiles-inl.h"
#include "engine/kernels/int8/epilogue_u8-inl.h"
#include "engine/kernels/vector/dot4-inl.h"
#include "engine/kernels/vector/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Register budget: accumulators, the prepared vectors of B, the prepared broadcast of A, and the
// temporaries of `Dot`: 4 x 2 + 4 + 2 + 1 = 15 of 16 with widening (AVX2); 6 x 4 + 4 + 1 = 29 of 32
// (NEON). With AVX-512 it is the row pointers that must fit, as in tile_f32-inl.h: 8 rows multiply
// 5 to 15 % faster than 14.
#if HWY_CAP_GE512
inline constexpr TileLimits kTileU8S8 = {8, 2};
inline constexpr int kFewRowsU8S8 = HWY_TARGET == HWY_AVX3_DL ? 4 : 0;
#elif HWY_TARGET == HWY_NEON
inline constexpr TileLimits kTileU8S8 = {6, 1};
inline constexpr int kFewRowsU8S8 = 0;
#elif HWY_TARGET == HWY_AVX2
inline constexpr TileLimits kTileU8S8 = {4, 1};
inline constexpr int kFewRowsU8S8 = 0;
#else
inline constexpr TileLimits kTileU8S8 = {2, 1};
inline constexpr int kFewRowsU8S8 = 0;
#endif

// One tile of integer sums: kRows x (kPanels * 16).
struct TileU8S8 {
  const uint8_t* const* rows;  // [taps][kRows] runs of A
  int64_t taps;
  int64_t run;                 // bytes of a run; B has run rounded up to 4 per tap
  const int8_t* b;             // first panel, [taps * run / 4][16][4]
  int64_t panel_stride;        // bytes between panels
  const int32_t* offsets;      // [kPanels * 16]
  const int32_t* column_sums;  // [kPanels * 16]
  int32_t* c;                  // sums, rows `ldc` apart; unused when `codes` is set
  int64_t ldc;
  // Requantized here, straight from the registers, where nothing but scale, zero point and clamp is
  // asked for and all columns exist.
  uint8_t* codes;  // or null
  int64_t code_stride;
  const float* scale;  // [kPanels * 16]
  const IntegerEpilogue* epilogue;
};

template <class Dot, int kRows, int kVectors>
HWY_INLINE void multiply_words(VI (&acc)[kRows][kVectors], const uint32_t (&words)[kRows],
                               const int8_t* b, int64_t panel_stride) {
  PreparedWeights bv[kVectors];
#pragma GCC unroll kUnroll
  for (int j = 0; j < kVectors; ++j) {
    bv[j] = Dot::prepare_b(
        load_words(b + (j / kPanelVectors) * panel_stride + (j % kPanelVectors) * kLanes * 4));
  }
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
    const auto a = broadcast_word<Dot>(words[i]);
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) acc[i][j] = Dot::dot(acc[i][j], a, bv[j]);
  }
}

// One run of every row; returns the panel position behind it.
template <class Dot, int kRows, int kVectors>
HWY_INLINE const int8_t* multiply_bytes(VI (&acc)[kRows][kVectors], const uint8_t* const* rows,
                                        int64_t run, const int8_t* b, int64_t panel_stride) {
  int64_t k = 0;
  for (; k + 4 <= run; k += 4, b += 4 * kPanelColumns) {
    uint32_t words[kRows];
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) words[i] = load_word(rows[i] + k);
    multiply_words<Dot>(acc, words, b, panel_stride);
  }
  if (k < run) {
    uint32_t words[kRows];
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) words[i] = load_word_part(rows[i] + k, run - k);
    multiply_words<Dot>(acc, words, b, panel_stride);
    b += 4 * kPanelColumns;
  }
  return b;
}

#if HWY_TARGET != HWY_SCALAR

// Sums -> codes for a whole tile. Four registers are narrowed together: two vectors of two rows, or
// where a row has one vector (four), four rows (one).
template <int kRows, int kVectors>
HWY_INLINE void store_tile_codes(const VI (&acc)[kRows][kVectors], const TileU8S8& t) {
  constexpr int kAcross = HWY_TARGET == HWY_NEON ? 4 : (kVectors == 1 ? 1 : 2);
  constexpr int kDown = 4 / kAcross;
  const CodeLimits<hn::Repartition<uint8_t, DI>> limits(*t.epilogue);
  uint8_t* const codes = t.codes;
  const int64_t stride = t.code_stride;
#pragma GCC unroll kUnroll
  for (int j = 0; j < kVectors; j += kAcross) {
    VF scale[kAcross];
#pragma GCC unroll kUnroll
    for (int v = 0; v < kAcross; ++v) scale[v] = hn::LoadU(DF(), t.scale + (j + v) * kLanes);
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; i += kDown) {
      VI q[4];
#pragma GCC unroll kUnroll
      for (int v = 0; v < 4; ++v) {
        const int row = std::min(i + v / kAcross, kRows - 1);
        const VI sum = acc[row][j + v % kAcross];
        q[v] = round_scaled<false>(sum, scale[v % kAcross], sum, limits);
      }
      const auto bytes = untangle(narrow(q, limits));
      uint8_t* out = codes + i * stride + j * kLanes;
      if constexpr (kAcross == 1) {
        alignas(64) uint8_t rows[4 * kLanes];
        hn::Store(bytes, hn::Repartition<uint8_t, DI>(), rows);
        for (int r = 0; r < std::min(4, kRows - i); ++r) {
          std::memcpy(out + r * stride, rows + r * kLanes, kLanes);
        }
      } else {
        store_halves(bytes, out, i + kDown - 1 < kRows ? out + (kDown - 1) * stride : out);
      }
    }
  }
}

#endif

template <class Dot, int kRows, int kPanels>
HWY_NOINLINE void tile_u8s8(const TileU8S8& t) {
  const DI d;
  constexpr int kVectors = kPanels * kPanelVectors;
  VI acc[kRows][kVectors];
#pragma GCC unroll kUnroll
  for (int j = 0; j < kVectors; ++j) {
    VI start = hn::LoadU(d, t.offsets + j * kLanes);
    if (Dot::kInputShift != 0) {
      const VI sums = hn::LoadU(d, t.column_sums + j * kLanes);
      start = hn::Add(start, hn::Mul(sums, hn::Set(d, Dot::kInputShift)));
    }
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) acc[i][j] = start;
  }
  const int8_t* b = t.b;
  for (int64_t tap = 0; tap < t.taps; ++tap) {
    b = multiply_bytes<Dot>(acc, t.rows + tap * kRows, t.run, b, t.panel_stride);
  }
#if HWY_TARGET != HWY_SCALAR
  if (t.codes != nullptr) return store_tile_codes(acc, t);
#endif
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      hn::StoreU(acc[i][j], d, t.c + i * t.ldc + j * kLanes);
    }
  }
}

template <class Dot>
struct TileKernelU8S8 {
  static constexpr TileLimits kLimits = kTileU8S8;
  static constexpr int kFewRows = kFewRowsU8S8;
  using Function = void (*)(const TileU8S8&);
  template <int kRows, int kPanels>
  static constexpr Function function = &tile_u8s8<Dot, kRows, kPanels>;
};

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
