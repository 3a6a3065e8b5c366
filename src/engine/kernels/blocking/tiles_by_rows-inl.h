// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_TILES_BY_ROWS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_TILES_BY_ROWS_INL_H
#undef OUNCE_ENGINE_KERNELS_TILES_BY_ROWS_INL_H
#else
#define OUNCE_ENGINE_KERNELS_TILES_BY_ROWS_INL_H
#endif

#include "engine/kernels/blocking/tiles-inl.h"

// The order of tiles for weights of few bits. Theirs are the small operand: a chunk of panels stays
// in the L2 cache while tiles of rows pass by, one after the other through the whole chunk. So rows
// of C are written as long pieces, which costs less than the products would win by keeping one
// panel in L1.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

inline constexpr int64_t kChunkBytes = 384 * 1024;  // of panels

// How rows and panels are cut into tasks of (chunk of panels, block of tiles).
class RowsFirst {
 public:
  RowsFirst(int64_t rows, int64_t panels, int64_t panel_bytes, TileLimits limits, int threads)
      : tiles_(rows, limits.rows),
        panels_(panels),
        width_(limits.panels),
        groups_(ceil_div(panels, width_)) {
    const int64_t in_cache = std::max<int64_t>(kChunkBytes / (panel_bytes * width_), 1);
    chunks_ = ceil_div(groups_, in_cache);
    const int64_t wanted = threads > 1 ? int64_t{threads} * kTasksPerThread : 1;
    blocks_ = std::min(ceil_div(wanted, chunks_), tiles_.count());
    chunks_ = std::min(std::max(chunks_, ceil_div(wanted, blocks_)), groups_);
  }
  int64_t tasks() const { return blocks_ * chunks_; }

  // Calls enter(first row, rows) and then run(tile) for all panels of a chunk, tile after tile.
  // Panels that do not fill a tile come one at a time.
  template <class Enter, class Run>
  void for_tiles(int64_t task, const Enter& enter, const Run& run) const {
    const int64_t chunk = task / blocks_;
    const int64_t block = task % blocks_;
    const int64_t first = groups_ * chunk / chunks_ * width_;
    const int64_t last = std::min(groups_ * (chunk + 1) / chunks_ * width_, panels_);
    const int64_t tiles = tiles_.count();
    for (int64_t t = tiles * block / blocks_; t < tiles * (block + 1) / blocks_; ++t) {
      const auto [row, end] = tiles_.rows_of(t);
      const int64_t rows = end - row;
      enter(row, rows);
      int64_t panel = first;
      for (; panel + width_ <= last; panel += width_) {
        run(TileRange{row, rows, panel * kPanelColumns, width_});
      }
      for (; panel < last; ++panel) run(TileRange{row, rows, panel * kPanelColumns, 1});
    }
  }

 private:
  static constexpr int64_t kTasksPerThread = 4;
  RowTiles tiles_;
  int64_t panels_, width_, groups_, chunks_, blocks_;
};

/// Calls run(row pointers [taps][rows], tile, rows with padding) for all tiles of a product with
/// `n` columns whose panels of 16 are of `panel_bytes`, on all threads. Scratch: as for_all_tiles.
template <class T, class Run>
void for_all_tiles_by_rows(const Context& context, const RowSource<T>& source, int64_t n,
                           int64_t panel_bytes, TileLimits limits, const Run& run) {
  const int threads = context.pool.size();
  const RowsFirst order(source.row_count, ceil_div(n, kPanelColumns), panel_bytes, limits, threads);
  const int64_t pointers = Blocking::pointers_per_thread(source.taps);
  const T** table = ScratchCursor(context.scratch).take<const T*>(pointers * threads);
  context.pool.parallel_for(order.tasks(), [&](int64_t task, int thread) {
    const T** rows = table + thread * pointers;
    uint32_t padded = 0;
    order.for_tiles(
        task, [&](int64_t row, int64_t count) { padded = source.rows(row, count, rows); },
        [&](const TileRange& tile) { run(rows, tile, padded); });
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
