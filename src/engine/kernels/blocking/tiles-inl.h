// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_TILES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_TILES_INL_H
#undef OUNCE_ENGINE_KERNELS_TILES_INL_H
#else
#define OUNCE_ENGINE_KERNELS_TILES_INL_H
#endif

#include <array>
#include <utility>

#include "engine/kernels/blocking/blocking.h"
#include "hwy/highway.h"

// What float and integer products share around their micro-kernels. A `Kernel` has `kLimits`, its
// largest tile; `kFewRows`, the number of rows up to which kMostPanels panels fit side by side
// instead (or 0); the type `Function`; and `function<rows, panels>`.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

inline constexpr int kMostPanels = kMostTilePanels;

/// The largest tile for a product of `rows` rows.
template <class Kernel>
constexpr TileLimits limits_for_rows(int64_t rows) {
  return rows <= Kernel::kFewRows ? TileLimits{rows, kMostPanels} : Kernel::kLimits;
}

/// The instance for a height that occurs with that many panels, else null.
template <class Kernel, int kPanels, int kRows>
constexpr typename Kernel::Function function_of_height() {
  constexpr bool kFew = kRows <= Kernel::kFewRows && kPanels != Kernel::kLimits.panels;
  if constexpr (kFew || RowTiles::is_height(kRows, Kernel::kLimits.rows)) {
    return Kernel::template function<kRows, kPanels>;
  }
  return nullptr;
}

template <class Kernel, int kPanels, int... kRows>
constexpr std::array<typename Kernel::Function, sizeof...(kRows)> tile_functions(
    std::integer_sequence<int, kRows...>) {
  return {function_of_height<Kernel, kPanels, kRows + 1>()...};
}

/// The instance for `rows`, a height of RowTiles, and `panels` in {1, kLimits.panels}, or {1,
/// kMostPanels} when rows <= kFewRows are all there are.
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

/// Calls run(row pointers, tile) for all tiles of a product with `n` columns, on all threads.
/// (Here, not beside for_each_tile: only code of the same target inlines `run`.)
template <class T, class Run>
void for_all_tiles(const Context& context, const RowSource<T>& source, int64_t n, TileLimits limits,
                   const Run& run) {
  const int threads = context.pool.size();
  const Blocking blocking(source, ceil_div(n, kPanelColumns), limits, threads);
  const int64_t pointers = Blocking::pointers_per_thread(source.taps);
  const T** table = ScratchCursor(context.scratch).take<const T*>(pointers * threads);
  context.pool.parallel_for(blocking.tasks(), [&](int64_t task, int thread) {
    for_each_tile(
        source, blocking, task, n, table + thread * pointers, [](int64_t, int64_t) {}, run);
  });
}

/// The same with panels that a task makes: make(first panel, count, scratch) into the thread's own
/// scratch of `bytes`, then run(row pointers, tile, scratch) for its rows.
template <class T, class Make, class Run>
void for_all_made_tiles(const Context& context, const RowSource<T>& source, int64_t n,
                        TileLimits limits, int64_t bytes, const Make& make, const Run& run) {
  const int threads = context.pool.size();
  const Blocking blocking(source, ceil_div(n, kPanelColumns), limits, threads,
                          PanelUse::kMadePerTask);
  const int64_t pointers = Blocking::pointers_per_thread(source.taps);
  ScratchCursor cursor(context.scratch);
  const T** table = cursor.take<const T*>(pointers * threads);
  bytes = round_up(bytes, 64);
  std::byte* const made = cursor.take<std::byte>(bytes * threads);
  context.pool.parallel_for(blocking.tasks(), [&](int64_t task, int thread) {
    std::byte* const own = made + thread * bytes;
    for_each_tile(
        source, blocking, task, n, table + thread * pointers,
        [&](int64_t panel, int64_t panels) HWY_ATTR { make(panel, panels, own); },
        [&](const T* const* rows, const TileRange& tile) HWY_ATTR { run(rows, tile, own); });
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
