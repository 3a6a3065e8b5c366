#pragma once

#include <algorithm>

#include "engine/kernels/blocking/blocking.h"
#include "engine/kernels/f32/winograd.h"

// How the tiles of a Winograd convolution are grouped, for every instruction set.
namespace ounce::engine {

/// Output columns of a tile that are transformed back at a time.
inline constexpr int64_t kWinogradColumns = 2 * kPanelColumns;
/// Input channels of a tile that one thread transforms where threads share a block.
inline constexpr int64_t kWinogradSlice = 128;

/// Tiles go in blocks whose transformed pixels stay in the L2 cache while all weights pass by. With
/// enough tiles every thread has blocks of its own and no thread waits; otherwise the threads
/// transform each block together and then divide its columns.
struct WinogradBlocks {
  WinogradBlocks(const ConvShape& shape, WinogradTile size, int threads)
      : tile(size),
        rows(ceil_div(shape.out_h, size.height)),
        columns(ceil_div(shape.out_w, size.width)),
        tiles(shape.batch * rows * columns),
        input_row(row_stride(shape.in_channels)) {
    weights_position = shape.in_channels * round_up(shape.out_channels, kPanelColumns);
    const int64_t tile_bytes = tile.positions() * input_row * kFloat;
    const bool streamed = tile.positions() * weights_position * kFloat > kStreamedWeights;
    blocks = ceil_div(tiles, std::max(kCacheBudget / tile_bytes, streamed ? kStreamTiles : 1));
    one_thread_a_block = threads == 1 || tiles >= threads * kMostTileRows;
    if (threads > 1 && one_thread_a_block) {
      const int64_t fair = std::min(threads * kBlocksPerThread, tiles / kMostTileRows);
      blocks = std::min(round_up(std::max(blocks, fair), threads), tiles);
    }
    const int64_t most = ceil_div(tiles, std::max<int64_t>(blocks, 1));
    input_position = spread(most * input_row);
    const int64_t fair_chunk = shape.out_channels / (one_thread_a_block ? 1 : 2 * threads);
    chunk = std::clamp(round_up(fair_chunk, kWinogradColumns), kWinogradColumns, kMostChunk);
    sums_position = spread(most * chunk);
  }

  struct Range {
    int64_t begin, end;
  };
  Range tiles_of(int64_t block) const {
    return {tiles * block / blocks, tiles * (block + 1) / blocks};
  }
  /// The first output pixel of a tile.
  struct Place {
    int64_t n, y, x;
  };
  Place place(int64_t index) const {
    return {index / (rows * columns), index / columns % rows * tile.height,
            index % columns * tile.width};
  }
  /// Floats of one transformed block, and how many blocks are held at a time.
  int64_t input_elements() const { return tile.positions() * input_position; }
  int64_t input_copies(int threads) const { return one_thread_a_block ? threads : 1; }
  /// Floats of the sums of one block and one chunk.
  int64_t sums_elements() const { return tile.positions() * sums_position; }

  WinogradTile tile;
  int64_t rows, columns, tiles;
  int64_t blocks = 0;
  bool one_thread_a_block = true;
  int64_t input_row;       // floats between the tiles of a block
  int64_t input_position;  // floats between positions
  int64_t chunk;           // output columns whose sums are held at a time
  int64_t sums_position;
  int64_t weights_position;

 private:
  static constexpr int64_t kFloat = sizeof(float);
  static constexpr int64_t kCacheBudget = 480 * 1024;  // of transformed pixels
  // Weights beyond this come from memory for every block: then blocks are at least so large that
  // the products hide it, and their pixels may spill into the third-level cache.
  static constexpr int64_t kStreamedWeights = int64_t{4} << 20;
  static constexpr int64_t kStreamTiles = 28;
  static constexpr int64_t kMostChunk = 128;
  static constexpr int64_t kBlocksPerThread = 4;
  static constexpr int64_t kLine = 16;  // floats of a cache line

  // An odd number of cache lines: what lies one such stride apart does not share cache sets.
  static constexpr int64_t spread(int64_t elements) {
    return (ceil_div(elements, kLine) | 1) * kLine;
  }
  // Rows of whole lines; those of 1 KiB and its multiples would compete for few cache sets.
  static constexpr int64_t row_stride(int64_t channels) {
    const int64_t row = round_up(channels, kLine);
    return row % 256 == 0 ? row + kLine : row;
  }
};

}  // namespace ounce::engine
