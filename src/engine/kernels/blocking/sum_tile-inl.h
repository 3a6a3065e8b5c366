// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_SUM_TILE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_SUM_TILE_INL_H
#undef OUNCE_ENGINE_KERNELS_SUM_TILE_INL_H
#else
#define OUNCE_ENGINE_KERNELS_SUM_TILE_INL_H
#endif

#include "engine/kernels/int8/gemm_u8s8.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

inline constexpr int64_t kSumStride = 64;  // row stride of a tile of sums: four panels

// What float outputs of windows have instead of a bias of their column: one of their row, and a
// gain of their column for every bit of their row.
struct WindowTerms {
  const float* const* biases;  // [rows of the tile], each [columns of the output]
  const float* bits;           // [rows of the tile]
  const float* gains;          // [columns of the output]
};

// A tile of corrected sums and its place in the output.
struct SumTile {
  int32_t* sums;  // [rows][kSumStride]
  int64_t rows, columns;
  int64_t row, column;         // of the output
  const int32_t* row_offsets;  // [rows of the output] added to the sums, or null
  int64_t n = 0;               // columns of the output; only bits need to know
  const WindowTerms* terms = nullptr;
};

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
