// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_TILE_F32_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_TILE_F32_INL_H
#undef OUNCE_ENGINE_KERNELS_TILE_F32_INL_H
#else
#define OUNCE_ENGINE_KERNELS_TILE_F32_INL_H
#endif

#include "engine/kernels/blocking/tiles-inl.h"
#include "engine/kernels/f32/epilogue_f32-inl.h"
#include "engine/kernels/vector/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Register budget of the f32 micro-kernel: rows x panel vectors accumulators, the panel's vectors
// and one broadcast must fit: 6 x 2 + 3 = 15 of 16 (AVX2), 6 x 4 + 5 = 29 of 32 (NEON). With
// AVX-512 14 x 2 + 3 = 31 of 32 would, but not 14 row pointers in 16 general registers, and 14
// streams are more than a core fetches ahead: 8 rows are 5 % faster on transformers. Nor do 8 rows
// that lie a multiple of 4 KiB apart push each other out of the first-level cache, whose sets hold
// 8 lines.
#if HWY_CAP_GE512
inline constexpr TileLimits kTileF32 = {8, 2};
inline constexpr int kFewRowsF32 = 4;  // up to this many rows, four panels side by side
#elif HWY_TARGET == HWY_SCALAR
inline constexpr TileLimits kTileF32 = {2, 1};
inline constexpr int kFewRowsF32 = 0;
#else
inline constexpr TileLimits kTileF32 = {6, 1};
inline constexpr int kFewRowsF32 = 0;
#endif

// One tile of C: kRows x (kPanels * 16).
struct TileF32 {
  const float* const* rows;  // [taps][kRows] runs of A
  int64_t taps;
  int64_t run;           // elements of a run
  const float* b;        // first panel, [taps * run][16]
  int64_t panel_stride;  // elements between panels
  const float* bias;     // [kPanels * 16], or null
  float* c;
  int64_t ldc;
  // Fused on the way out; all other epilogues are applied to a stored tile.
  const float* residual;  // or null
  int64_t residual_stride;
  float lo, hi;  // infinities where there is nothing to clamp
};

template <int kRows, int kVectors>
HWY_INLINE void multiply_run(VF (&acc)[kRows][kVectors], const float* const* rows, int64_t run,
                             const float* b, int64_t panel_stride) {
  const DF d;
  for (int64_t k = 0; k < run; ++k) {
    VF bv[kVectors];
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      bv[j] = hn::LoadU(d, b + (j / kPanelVectors) * panel_stride + (j % kPanelVectors) * kLanes);
    }
    b += kPanelColumns;
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) {
      const VF a = hn::Set(d, rows[i][k]);
#pragma GCC unroll kUnroll
      for (int j = 0; j < kVectors; ++j) acc[i][j] = hn::MulAdd(a, bv[j], acc[i][j]);
    }
  }
}

template <int kRows, int kPanels>
HWY_NOINLINE void tile_f32(const TileF32& t) {
  const DF d;
  constexpr int kVectors = kPanels * kPanelVectors;
  VF acc[kRows][kVectors];
#pragma GCC unroll kUnroll
  for (int j = 0; j < kVectors; ++j) {
    const VF start = t.bias != nullptr ? hn::LoadU(d, t.bias + j * kLanes) : hn::Zero(d);
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) acc[i][j] = start;
  }
  const float* b = t.b;
  for (int64_t tap = 0; tap < t.taps; ++tap, b += t.run * kPanelColumns) {
    const float* const* rows = t.rows + tap * kRows;
    multiply_run<kRows, kVectors>(acc, rows, t.run, b, t.panel_stride);
  }
  if (t.residual != nullptr) {
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
      for (int j = 0; j < kVectors; ++j) {
        acc[i][j] =
            hn::Add(acc[i][j], hn::LoadU(d, t.residual + i * t.residual_stride + j * kLanes));
      }
    }
  }
  const VF lo = hn::Set(d, t.lo);
  const VF hi = hn::Set(d, t.hi);
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      hn::StoreU(at_most(at_least(acc[i][j], lo), hi), d, t.c + i * t.ldc + j * kLanes);
    }
  }
}

struct TileKernelF32 {
  static constexpr TileLimits kLimits = kTileF32;
  static constexpr int kFewRows = kFewRowsF32;
  using Function = void (*)(const TileF32&);
  template <int kRows, int kPanels>
  static constexpr Function function = &tile_f32<kRows, kPanels>;
};

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
