#define OUNCE_AVX512VNNI_IS_AVX512  // see dispatch.h

#include "engine/kernels/f32/winograd.h"

#include "engine/kernels/dispatch.h"
#include "engine/kernels/f32/gemm_f32.h"
#include "engine/kernels/f32/winograd_blocks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/f32/winograd.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/f32/tile_f32-inl.h"
#include "engine/kernels/f32/winograd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// What is the same for all tiles of one convolution.
struct WinogradTask {
  const WinogradBlocks& blocks;
  const ConvShape& shape;
  const float* image;
  const float* zeros;    // [in_channels]: a pixel outside the image
  const float* weights;  // PackedWinogradF32::data
  float* c;
  int64_t ldc;
  const Epilogue& epilogue;
  Clamp clamp;
};

// Channels [first, last) of one tile of the image, to all positions of `row`, its row of the
// transformed block.
template <int kHeight, int kWidth>
HWY_NOINLINE void transform_input_tile(const WinogradTask& t, int64_t tile, int64_t first,
                                       int64_t last, float* row) {
  const ConvShape& s = t.shape;
  const WinogradBlocks::Place at = t.blocks.place(tile);
  const float* pixels[kHeight + 2][kWidth + 2];
  for (int64_t y = 0; y < kHeight + 2; ++y) {
    const int64_t in_y = at.y - s.pad_top + y;
    const bool inside_y = in_y >= 0 && in_y < s.in_h;
    for (int64_t x = 0; x < kWidth + 2; ++x) {
      const int64_t in_x = at.x - s.pad_left + x;
      const bool inside = inside_y && in_x >= 0 && in_x < s.in_w;
      pixels[y][x] =
          inside ? t.image + ((at.n * s.in_h + in_y) * s.in_w + in_x) * s.in_channels : t.zeros;
    }
  }
  const int64_t step = t.blocks.input_position;
  for (int64_t c = first; c < last; c += kLanes) {
    alignas(64) float rest[(kHeight + 2) * (kWidth + 2)][kLanes];
    const bool whole = last - c >= kLanes;
    for (int64_t i = 0; i < (whole ? 0 : (kHeight + 2) * (kWidth + 2)); ++i) {
      const float*& pixel = pixels[i / (kWidth + 2)][i % (kWidth + 2)];
      std::fill_n(std::copy_n(pixel + c, last - c, rest[i]), kLanes - (last - c), 0.0F);
      pixel = rest[i];
    }
    const int64_t at = whole ? c : 0;
    transform_input<kHeight, kWidth>(
        [&](int y, int x) HWY_ATTR { return hn::LoadU(DF(), pixels[y][x] + at); },
        [&](int position, VF v) HWY_ATTR { hn::StoreU(v, DF(), row + c + position * step); });
  }
}

// sums[position][tile][chunk] = the products of a block with `panels` panels of the weights of each
// position. `weights`: the first of those panels.
HWY_NOINLINE void multiply_block(const WinogradTask& t, const float* input, int64_t rows,
                                 const float* weights, int64_t panels, float* sums) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const WinogradBlocks& blocks = t.blocks;
  const int64_t run = t.shape.in_channels;
  const int64_t panel_stride = run * kPanelColumns;
  const RowTiles tiles(rows, kTileF32.rows);
  for (int64_t position = 0; position < blocks.tile.positions(); ++position) {
    for (int64_t panel = 0; panel < panels;) {
      const int64_t step = panel + kTileF32.panels <= panels ? kTileF32.panels : 1;
      for (int64_t tile = 0; tile < tiles.count(); ++tile) {
        const auto [begin, end] = tiles.rows_of(tile);
        const int64_t count = end - begin;
        const float* pointers[kMostTileRows];
        for (int64_t i = 0; i < count; ++i) pointers[i] = input + (begin + i) * blocks.input_row;
        float* c = sums + begin * blocks.chunk + panel * kPanelColumns;
        tile_function<TileKernelF32>(
            count, step)({pointers, 1, run, weights + panel * panel_stride, panel_stride, nullptr,
                          c, blocks.chunk, nullptr, 0, -kInfinity, kInfinity});
      }
      panel += step;
    }
    input += blocks.input_position;
    weights += blocks.weights_position;
    sums += blocks.sums_position;
  }
}

// The output pixels of one tile that lie inside the image, columns [column, column + columns).
// `sums`: its row of position 0.
template <int kHeight, int kWidth>
HWY_NOINLINE void transform_output_tile(const WinogradTask& t, int64_t tile, int64_t column,
                                        int64_t columns, const float* sums) {
  const ConvShape& s = t.shape;
  const Epilogue& e = t.epilogue;
  const WinogradBlocks::Place at = t.blocks.place(tile);
  const int64_t height = std::min<int64_t>(kHeight, s.out_h - at.y);
  const int64_t width = std::min<int64_t>(kWidth, s.out_w - at.x);
  const int64_t first = (at.n * s.out_h + at.y) * s.out_w + at.x;  // output pixel
  const int64_t step = t.blocks.sums_position;
  alignas(64) float bias[kWinogradColumns] = {};
  if (e.bias != nullptr) std::copy_n(e.bias + column, columns, bias);
  const float* residual =
      e.residual == nullptr ? nullptr : e.residual + first * e.residual_stride + column;
  float* c = t.c + first * t.ldc + column;
  const auto transform = [&](const auto& put) HWY_ATTR {
    for (int64_t j = 0; j < columns; j += kLanes) {
      const VF start = hn::Load(DF(), bias + j);
      transform_output<kHeight, kWidth>(
          [&](int position) HWY_ATTR { return hn::LoadU(DF(), sums + position * step + j); },
          [&](int y, int x, VF v) HWY_ATTR {
            if (y < height && x < width) put(y, x, j, hn::Add(v, start));
          });
    }
  };
  if (t.clamp.direct && columns % kLanes == 0) {
    const VF lo = hn::Set(DF(), t.clamp.lo);
    const VF hi = hn::Set(DF(), t.clamp.hi);
    return transform([&](int y, int x, int64_t j, VF v) HWY_ATTR {
      const int64_t pixel = y * s.out_w + x;
      if (residual != nullptr) {
        v = hn::Add(v, hn::LoadU(DF(), residual + pixel * e.residual_stride + j));
      }
      hn::StoreU(at_most(at_least(v, lo), hi), DF(), c + pixel * t.ldc + j);
    });
  }
  alignas(64) float values[kHeight * kWidth * kWinogradColumns];
  transform([&](int y, int x, int64_t j, VF v) HWY_ATTR {
    hn::StoreU(v, DF(), values + (y * kWidth + x) * kWinogradColumns + j);
  });
  for (int64_t y = 0; y < height; ++y) {
    finish_tile({values + y * kWidth * kWinogradColumns, kWinogradColumns, width, columns,
                 c + y * s.out_w * t.ldc, t.ldc,
                 residual == nullptr ? nullptr : residual + y * s.out_w * e.residual_stride,
                 e.residual_stride},
                e.activation, e.activation_first);
  }
}

template <int kHeight, int kWidth>
struct Winograd {
  const WinogradTask& t;
  int64_t begin, end;  // tiles of the block
  float* input;        // [position][tile][channel], transformed

  void transform(int64_t tile, int64_t first, int64_t last) const {
    transform_input_tile<kHeight, kWidth>(t, tile, first, last,
                                          input + (tile - begin) * t.blocks.input_row);
  }
  // Columns of one chunk of the output; `sums`: memory for them.
  void finish_chunk(int64_t index, float* sums) const {
    const int64_t chunk = t.blocks.chunk;
    const int64_t first = index * chunk;
    const int64_t columns = std::min(chunk, t.shape.out_channels - first);
    multiply_block(t, input, end - begin, t.weights + first * t.shape.in_channels,
                   ceil_div(columns, kPanelColumns), sums);
    for (int64_t tile = begin; tile < end; ++tile) {
      for (int64_t j = 0; j < columns; j += kWinogradColumns) {
        transform_output_tile<kHeight, kWidth>(t, tile, first + j,
                                               std::min(columns - j, kWinogradColumns),
                                               sums + (tile - begin) * chunk + j);
      }
    }
  }
};

template <int kHeight, int kWidth>
void run_winograd(ThreadPool& pool, const WinogradTask& t, float* inputs, float* sums) {
  const WinogradBlocks& blocks = t.blocks;
  const int64_t channels = t.shape.in_channels;
  const int64_t chunks = ceil_div(t.shape.out_channels, blocks.chunk);
  if (blocks.one_thread_a_block) {
    pool.parallel_for(blocks.blocks, [&](int64_t index, int thread) {
      const auto [begin, end] = blocks.tiles_of(index);
      const Winograd<kHeight, kWidth> block = {t, begin, end,
                                               inputs + thread * blocks.input_elements()};
      for (int64_t tile = begin; tile < end; ++tile) block.transform(tile, 0, channels);
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        block.finish_chunk(chunk, sums + thread * blocks.sums_elements());
      }
    });
    return;
  }
  const int64_t slices = ceil_div(channels, kWinogradSlice);
  for (int64_t index = 0; index < blocks.blocks; ++index) {
    const auto [begin, end] = blocks.tiles_of(index);
    const Winograd<kHeight, kWidth> block = {t, begin, end, inputs};
    pool.parallel_for((end - begin) * slices, [&](int64_t task, int) {
      const int64_t first = task % slices * kWinogradSlice;
      block.transform(block.begin + task / slices, first,
                      std::min(channels, first + kWinogradSlice));
    });
    pool.parallel_for(chunks, [&](int64_t chunk, int thread) {
      block.finish_chunk(chunk, sums + thread * blocks.sums_elements());
    });
  }
}

void winograd_tiles_f32(ThreadPool& pool, const WinogradBlocks& blocks, const ConvShape& shape,
                        const float* image, const float* zeros, const float* weights, float* c,
                        int64_t ldc, const Epilogue& epilogue, float* inputs, float* sums) {
  const WinogradTask t = {
      blocks, shape, image, zeros, weights, c, ldc, epilogue, clamp_of(epilogue)};
  const bool high = blocks.tile.height == 4;
  const bool wide = blocks.tile.width == 4;
  const auto run = high ? (wide ? &run_winograd<4, 4> : &run_winograd<4, 2>)
                        : (wide ? &run_winograd<2, 4> : &run_winograd<2, 2>);
  run(pool, t, inputs, sums);
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(winograd_tiles_f32);

bool winograd_applies(const ConvShape& s) {
  return s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == 1 && s.stride_w == 1 &&
         s.dilation_h == 1 && s.dilation_w == 1 && s.groups == 1;
}

namespace {

// Time of a convolution in cycles of a core that multiplies 16 numbers in each: `rows` rows of
// `run` elements meet all panels. What the weights take from memory, where they do not stay in a
// cache, is hidden behind the products for the most part, and they behind it.
double estimated_cycles(const ConvShape& s, int64_t rows, int64_t run, int64_t matrices) {
  constexpr double kStart = 8;  // a micro-kernel's beginning and end, in steps
  constexpr double kCached = 2 << 20;
  constexpr double kBytesPerCycle = 7;
  const auto panels = static_cast<double>(ceil_div(s.out_channels, kPanelColumns));
  const double products =
      static_cast<double>(rows * matrices) * panels * (static_cast<double>(run) + kStart);
  const double weights =
      static_cast<double>(matrices * run) * panels * kPanelColumns * sizeof(float);
  const double traffic = std::max(weights - kCached, 0.0) / kBytesPerCycle;
  return std::max(products, traffic) + 0.25 * std::min(products, traffic);
}

double estimated_cycles(const ConvShape& s, WinogradTile tile) {
  constexpr double kInput = 5;   // cycles for 16 channels of a position
  constexpr double kOutput = 4;  // the same of the output
  const WinogradBlocks blocks(s, tile, 1);
  const auto in = static_cast<double>(ceil_div(s.in_channels, kPanelColumns));
  const auto out = static_cast<double>(ceil_div(s.out_channels, kPanelColumns));
  const auto positions = static_cast<double>(blocks.tiles * tile.positions());
  return estimated_cycles(s, blocks.tiles, s.in_channels, tile.positions()) +
         positions * (kInput * in + kOutput * out);
}

}  // namespace

std::optional<WinogradTile> choose_winograd(const ConvShape& shape) {
  if (!winograd_applies(shape)) return std::nullopt;
  double best = estimated_cycles(shape, shape.out_pixels(), 9 * shape.in_channels, 1);
  std::optional<WinogradTile> chosen;
  for (const WinogradTile tile : {WinogradTile{4, 4}, {4, 2}, {2, 4}, {2, 2}}) {
    const double cycles = estimated_cycles(shape, tile);
    if (cycles >= best) continue;
    best = cycles;
    chosen = tile;
  }
  return chosen;
}

void winograd_f32(const Context& context, const float* input, const PackedWinogradF32& weights,
                  const ConvShape& shape, float* output, int64_t ldc, const Epilogue& epilogue) {
  const int threads = context.pool.size();
  const WinogradBlocks blocks(shape, weights.tile, threads);
  ScratchCursor cursor(context.scratch);
  float* zeros = cursor.take<float>(shape.in_channels);
  std::fill(zeros, zeros + shape.in_channels, 0.0F);
  float* inputs = cursor.take<float>(blocks.input_elements() * blocks.input_copies(threads));
  float* sums = cursor.take<float>(blocks.sums_elements() * threads);
  OUNCE_DISPATCH(winograd_tiles_f32)
  (context.pool, blocks, shape, input, zeros, weights.data.data(), output, ldc, epilogue, inputs,
   sums);
}

size_t winograd_f32_scratch_bytes(const ConvShape& shape, WinogradTile tile, int threads) {
  const WinogradBlocks blocks(shape, tile, threads);
  return ScratchCursor::need<float>(shape.in_channels) +
         ScratchCursor::need<float>(blocks.input_elements() * blocks.input_copies(threads)) +
         ScratchCursor::need<float>(blocks.sums_elements() * threads);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
