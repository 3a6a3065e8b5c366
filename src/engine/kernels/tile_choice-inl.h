// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_TILE_CHOICE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_TILE_CHOICE_INL_H
#undef OUNCE_ENGINE_KERNELS_TILE_CHOICE_INL_H
#else
#define OUNCE_ENGINE_KERNELS_TILE_CHOICE_INL_H
#endif

#include <array>
#include <utility>

#include "engine/kernels/blocking.h"
#include "hwy/highway.h"

// Which instance of a micro-kernel computes a tile. A `Kernel` has `kLimits`, its largest tile;
// `kFewRows`, the number of rows up to which kMostPanels panels fit side by side instead (or 0);
// the type `Function`; and `function<rows, panels>`.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

inline constexpr int kMostPanels = 4;

/// The largest tile for a product of `rows` rows.
template <class Kernel>
constexpr TileLimits limits_for_rows(int64_t rows) {
  return rows <= Kernel::kFewRows ? TileLimits{rows, kMostPanels} : Kernel::kLimits;
}

template <class Kernel, int kPanels, int... kRows>
constexpr std::array<typename Kernel::Function, sizeof...(kRows)> tile_functions(
    std::integer_sequence<int, kRows...>) {
  return {Kernel::template function<kRows + 1, kPanels>...};
}

/// The instance for `rows` in [1, kLimits.rows], `panels` in {1, kLimits.panels}, or kMostPanels
/// when rows <= kFewRows.
template <class Kernel>
typename Kernel::Function tile_function(int64_t rows, int64_t panels) {
  using Rows = std::make_integer_sequence<int, static_cast<int>(Kernel::kLimits.rows)>;
  const auto row = static_cast<size_t>(rows - 1);
  if constexpr (Kernel::kFewRows > 0) {
    static constexpr auto kMost =
        tile_functions<Kernel, kMostPanels>(std::make_integer_sequence<int, Kernel::kFewRows>());
    if (panels == kMostPanels) return kMost[row];
  }
  if constexpr (Kernel::kLimits.panels == 2) {
    static constexpr auto kTwo = tile_functions<Kernel, 2>(Rows());
    if (panels == 2) return kTwo[row];
  }
  static constexpr auto kOne = tile_functions<Kernel, 1>(Rows());
  return kOne[row];
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
