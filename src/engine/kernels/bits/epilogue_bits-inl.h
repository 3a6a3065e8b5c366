// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_EPILOGUE_BITS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_EPILOGUE_BITS_INL_H
#undef OUNCE_ENGINE_KERNELS_EPILOGUE_BITS_INL_H
#else
#define OUNCE_ENGINE_KERNELS_EPILOGUE_BITS_INL_H
#endif

#include "engine/kernels/blocking/sum_tile-inl.h"
#include "engine/kernels/vector/bits-inl.h"

// Outputs that binary layers read: bits, or floats together with their signs.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Calls panel(column within the tile, existing columns) for the panels of a tile.
template <class Panel>
HWY_INLINE void for_panels(const SumTile& t, const Panel& panel) {
  for (int64_t j = 0; j < t.columns; j += kPanelColumns) {
    panel(j, std::min(kPanelColumns, t.columns - j));
  }
}

HWY_INLINE VI load_thresholds(const int32_t* p, int64_t lanes) {
  return lanes == kLanes ? hn::LoadU(DI(), p) : load_part(DI(), p, lanes);
}

// Sums -> bits, by a comparison with the column's threshold.
inline void threshold_tile(const SumTile& t, const IntegerEpilogue& e) {
  for_panels(t, [&](int64_t j, int64_t columns) HWY_ATTR {
    const int64_t column = t.column + j;
    const uint32_t flips = e.flips == nullptr ? 0 : e.flips[column / kPanelColumns];
    const uint32_t valid = (1U << columns) - 1;
    for (int64_t i = 0; i < t.rows; ++i) {
      uint32_t bits = flips;
      for_vectors(columns, [&](int64_t v, int64_t lanes) HWY_ATTR {
        const VI sum = hn::LoadU(DI(), t.sums + i * kSumStride + j + v);
        const VI threshold = load_thresholds(e.thresholds + column + v, lanes);
        bits ^= bits_of_mask(DI(), hn::Lt(sum, threshold)) << v;
      });
      void* row = static_cast<uint64_t*>(e.c) + (t.row + i) * e.ldc;
      store_panel_bits(bits & valid, column, t.n, row);
    }
  });
}

// The signs of a tile whose floats are already in the output.
inline void store_signs(const SumTile& t, const IntegerEpilogue& e) {
  for_panels(t, [&](int64_t j, int64_t columns) HWY_ATTR {
    const int64_t column = t.column + j;
    const float* shift = e.sign_shift == nullptr ? nullptr : e.sign_shift + column;
    for (int64_t i = t.row; i < t.row + t.rows; ++i) {
      const float* y = static_cast<const float*>(e.c) + i * e.ldc + column;
      void* row = static_cast<uint64_t*>(e.sign_bits) + i * e.sign_stride;
      store_panel_bits(sign_bits(y, shift, columns), column, t.n, row);
    }
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
