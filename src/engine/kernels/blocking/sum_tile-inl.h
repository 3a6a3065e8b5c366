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

// A tile of corrected sums and its place in the output.
struct SumTile {
  int32_t* sums;  // [rows][kSumStride]
  int64_t rows, columns;
  int64_t row, column;         // of the output
  const int32_t* row_offsets;  // [rows of the output] added to the sums, or null
  int64_t n = 0;               // columns of the output; only bits need to know
};

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
