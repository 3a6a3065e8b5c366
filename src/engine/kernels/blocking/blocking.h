#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/kernels/common.h"

// How the rows and column panels of a product are cut into tiles, blocks and tasks. Written once
// for float and integer kernels and for every instruction set.
namespace ounce::engine {

/// Largest tile of an instruction set's micro-kernel.
struct TileLimits {
  int64_t rows = 1;    // accumulator rows
  int64_t panels = 1;  // panels of 16 columns side by side
};

/// No instruction set has a higher tile: scratch sizes must not depend on the instruction set.
inline constexpr int64_t kMostTileRows = 14;
inline constexpr int64_t kMostTilePanels = 4;

/// How rows are cut into tiles of at most `most` rows. Micro-kernels exist for few heights only:
/// `most`, `most` - 1, 4, 2 and 1. The first two make tiles of nearly equal height where there are
/// rows enough; else tiles of `most` rows come first, and smaller ones take the rest.
class RowTiles {
 public:
  struct Range {
    int64_t begin, end;
  };

  RowTiles(int64_t rows, int64_t most) : rows_(rows), most_(most) {
    count_ = std::max<int64_t>(ceil_div(rows, most), 1);
    equal_ = rows >= count_ * (most - 1);
    if (equal_) return;
    full_ = rows / most;
    const int64_t rest = rows % most;
    count_ = full_ + rest / 4 + rest % 4 / 2 + rest % 2;
  }
  static constexpr bool is_height(int64_t rows, int64_t most) {
    return rows == most || rows == most - 1 || rows == 4 || rows == 2 || rows == 1;
  }

  int64_t count() const { return count_; }
  Range rows_of(int64_t tile) const {
    if (equal_) return {rows_ * tile / count_, rows_ * (tile + 1) / count_};
    return {begin_of(tile), begin_of(tile + 1)};
  }

 private:
  int64_t begin_of(int64_t tile) const {
    if (tile <= full_) return tile * most_;
    const int64_t rest = rows_ % most_;
    const int64_t after = tile - full_;
    if (after <= rest / 4) return full_ * most_ + after * 4;
    const bool two = after == rest / 4 + 1 && rest % 4 >= 2;
    return two ? rows_ - rest % 2 : rows_;
  }

  int64_t rows_, most_, count_;
  int64_t full_ = 0;  // tiles of `most` rows, where not all are equal
  bool equal_;
};

/// Where A's rows come from: row i of the product is the concatenation of `taps` runs of `run`
/// elements. A plain matrix has one tap; a convolution one per kernel position.
template <class T>
class RowSource {
 public:
  virtual ~RowSource() = default;
  /// out[tap * count + i] = first element of run `tap` of row `first + i`; count <= 32. Returns a
  /// bit for every row of which some run is a convolution's padding: bit i is row first + i.
  virtual uint32_t rows(int64_t first, int64_t count, const T** out) const = 0;

  int64_t row_count = 0;
  int64_t taps = 1;
  int64_t run = 0;
  /// Distinct bytes that one row touches, about: decides how many tiles stay in the L2 cache.
  int64_t row_bytes = 0;
};

template <class T>
class MatrixRows final : public RowSource<T> {
 public:
  MatrixRows(const T* a, int64_t lda, int64_t m, int64_t k) : a_(a), lda_(lda) {
    this->row_count = m;
    this->run = k;
    this->row_bytes = k * static_cast<int64_t>(sizeof(T));
  }
  uint32_t rows(int64_t first, int64_t count, const T** out) const override {
    for (int64_t i = 0; i < count; ++i) out[i] = a_ + (first + i) * lda_;
    return 0;
  }

 private:
  const T* a_;
  int64_t lda_;
};

/// Whether panels of B are read as they lie or made by each task before its rows meet them.
enum class PanelUse { kInPlace, kMadePerTask };

/// Rows are cut into tiles, tiles are grouped into blocks whose part of A
/// stays in L2 while the panels of B pass by, and panels are cut into chunks when there are too few
/// blocks to keep all threads busy. A task is one (block, chunk). Where all of B stays in L1
/// anyway, a block is one tile: then whole rows of C are written one after the other. Where a task
/// makes its panels, it should have many rows: threads then share the columns first.
class Blocking {
 public:
  template <class T>
  Blocking(const RowSource<T>& source, int64_t panels, TileLimits limits, int threads,
           PanelUse use = PanelUse::kInPlace)
      : tiles_(source.row_count, limits.rows), limits_(limits) {
    const int64_t weight_bytes =
        panels * kPanelColumns * source.taps * source.run * static_cast<int64_t>(sizeof(T));
    columns_ = ceil_div(panels, limits.panels);
    const bool in_place = use == PanelUse::kInPlace;
    block_tiles_ = in_place && weight_bytes <= kSmallWeights
                       ? 1
                       : block_tiles(source.taps, source.row_bytes, limits);
    const bool few_columns = columns_ < threads * kTasksPerThread;
    if (threads > 1 && (in_place || few_columns)) {
      const int64_t fair = ceil_div(tiles_.count(), threads * kTasksPerThread);
      block_tiles_ = std::clamp<int64_t>(fair, std::min<int64_t>(2, block_tiles_), block_tiles_);
    }
    blocks_ = ceil_div(tiles_.count(), block_tiles_);
    const int64_t wanted = threads > 1 ? ceil_div(threads * kTasksPerThread, blocks_) : 1;
    chunks_ = std::clamp<int64_t>(wanted, 1, columns_);
  }

  TileLimits limits() const { return limits_; }
  int64_t tasks() const { return blocks_ * chunks_; }
  using Range = RowTiles::Range;
  /// Tiles of a task, and its range of panel groups (limits.panels panels each).
  Range tiles_of(int64_t task) const { return part(tiles_.count(), blocks_, task / chunks_); }
  Range columns_of(int64_t task) const { return part(columns_, chunks_, task % chunks_); }
  /// Rows of a tile.
  Range rows_of(int64_t tile) const { return tiles_.rows_of(tile); }

  /// Upper bound of the row pointers that one task needs, in pointers.
  static int64_t pointers_per_thread(int64_t taps) {
    return std::max<int64_t>(kPointerBudget, taps * kMostTileRows);
  }

 private:
  static constexpr int64_t kCacheBudget = 384 * 1024;  // of A; a panel of B shares the L2 with it
  static constexpr int64_t kSmallWeights = 16 * 1024;
  static constexpr int64_t kPointerBudget = 4096;  // 32 KiB of row pointers
  static constexpr int64_t kTasksPerThread = 4;

  static int64_t block_tiles(int64_t taps, int64_t row_bytes, TileLimits limits) {
    const int64_t by_cache = kCacheBudget / std::max<int64_t>(row_bytes * limits.rows, 1);
    const int64_t by_pointers = pointers_per_thread(taps) / (taps * limits.rows);
    return std::max<int64_t>(std::min(by_cache, by_pointers), 1);
  }
  static Range part(int64_t total, int64_t parts, int64_t index) {
    return {total * index / parts, total * (index + 1) / parts};
  }

  RowTiles tiles_;
  int64_t columns_, block_tiles_, blocks_, chunks_;
  TileLimits limits_;
};

/// Splits scratch memory into aligned pieces.
class ScratchCursor {
 public:
  explicit ScratchCursor(std::span<std::byte> scratch) : next_(scratch.data()) {}
  template <class T>
  T* take(int64_t count) {
    const auto address = reinterpret_cast<uintptr_t>(next_);
    std::byte* begin = next_ + ((kAlign - address % kAlign) % kAlign);
    next_ = begin + count * static_cast<int64_t>(sizeof(T));
    return reinterpret_cast<T*>(begin);
  }
  /// What is left of `scratch`, which this cursor was made from.
  std::span<std::byte> rest(std::span<std::byte> scratch) const {
    return scratch.subspan(static_cast<size_t>(next_ - scratch.data()));
  }
  /// Bytes that `take<T>(count)` may use up.
  template <class T>
  static size_t need(int64_t count) {
    return static_cast<size_t>(count) * sizeof(T) + kAlign;
  }

 private:
  static constexpr uintptr_t kAlign = 64;
  std::byte* next_;
};

/// A tile of the product: `rows` rows from `row`, `panels` panels of 16 columns from `column`.
struct TileRange {
  int64_t row, rows;
  int64_t column, panels;
};

/// Calls run(row pointers [taps][rows], tile) for the tiles of one task of a product with `n`
/// columns. Panels are the outer loop, so that they stay in the cache while all rows of the task
/// meet them; row pointers are made once a task. Panels that do not fill a tile come one at a time.
/// enter(first panel, count) comes before the tiles of up to limits.panels panels.
template <class T, class Enter, class Run>
void for_each_tile(const RowSource<T>& source, const Blocking& blocking, int64_t task, int64_t n,
                   const T** pointers, const Enter& enter, const Run& run) {
  const auto [first_tile, last_tile] = blocking.tiles_of(task);
  const auto [first_column, last_column] = blocking.columns_of(task);
  const T** next = pointers;
  for (int64_t tile = first_tile; tile < last_tile; ++tile) {
    const auto [begin, end] = blocking.rows_of(tile);
    source.rows(begin, end - begin, next);
    next += (end - begin) * source.taps;
  }
  const int64_t width = blocking.limits().panels;
  for (int64_t column = first_column; column < last_column; ++column) {
    const int64_t panel = column * width;
    const int64_t panels = std::min(width, ceil_div(n, kPanelColumns) - panel);
    const int64_t step = panels == width ? width : 1;
    enter(panel, panels);
    const T* const* rows = pointers;
    for (int64_t tile = first_tile; tile < last_tile; ++tile) {
      const auto [begin, end] = blocking.rows_of(tile);
      for (int64_t i = 0; i < panels; i += step) {
        run(rows, TileRange{begin, end - begin, (panel + i) * kPanelColumns, step});
      }
      rows += (end - begin) * source.taps;
    }
  }
}

}  // namespace ounce::engine
