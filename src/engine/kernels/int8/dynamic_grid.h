#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "engine/kernels/int8/quantize_dynamic.h"

namespace ounce::engine {

// Least and greatest value of some numbers and 0.
struct Extent {
  float lo = 0.0F, hi = 0.0F;
};

// What codes of that extent mean; lo and hi are codes.
struct Grid {
  float scale = 0.0F;
  int32_t zero_point = 128, lo = 0, hi = 255;
};

inline Grid grid_of(const Extent& extent, DynamicGrid kind, int bits) {
  const int32_t half = 1 << (bits - 1);
  if (kind == DynamicGrid::kSymmetric) {
    const float scale = std::max(-extent.lo, extent.hi) / static_cast<float>(half - 1);
    return {scale, 128, 128 - half, 127 + half};
  }
  Grid grid = {(extent.hi - extent.lo) / static_cast<float>(2 * half - 1), 0, 0, 2 * half - 1};
  const float zero = grid.scale > 0.0F ? std::nearbyint(-extent.lo / grid.scale) : 0.0F;
  // Not a number where the extent is infinite.
  if (zero > 0.0F) grid.zero_point = static_cast<int32_t>(std::min(zero, 255.0F));
  grid.zero_point = std::min(grid.zero_point, grid.hi);
  return grid;
}

}  // namespace ounce::engine
