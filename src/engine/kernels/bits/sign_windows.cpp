#include "engine/kernels/bits/sign_windows.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/bits/sign_windows.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/blocking/tiles-inl.h"
#include "engine/kernels/int8/epilogue_u8-inl.h"
#include "engine/kernels/vector/tally-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

#if HWY_CAP_GE512
inline constexpr TileLimits kWindowLimits = {8, 2};
#else
inline constexpr TileLimits kWindowLimits = {2, 1};
#endif

HWY_INLINE VI add_bits(VI count, VI word) {
  if constexpr (kTallyWords == kUnlimited) return tally(count, word);
  return hn::Add(count, tally_sum(tally(hn::Zero(DI()), word)));
}

HWY_INLINE int32_t word_of_run(const uint64_t* run, int64_t k) {
  int32_t word;
  std::memcpy(&word, reinterpret_cast<const std::byte*>(run) + k * 4, sizeof(word));
  return word;
}

// Windows side by side by panels side by side.
struct WindowTile {
  const uint64_t* const* rows;  // [kernel_h], runs of the first window
  int64_t kernel_h, run, step;
  const uint32_t* b;  // first panel
  int64_t panel_stride;
  const int32_t* const* offsets;  // of each window, from the tile's first column
  int32_t* sums;                  // [windows][kSumStride]
};

template <int kRows, int kPanels>
HWY_NOINLINE void window_tile(const WindowTile& t) {
  constexpr int kVectors = kPanels * kPanelVectors;
  VI counts[kRows][kVectors];
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) counts[i][j] = hn::Zero(DI());
  }
  for (int64_t y = 0; y < t.kernel_h; ++y) {
    const uint64_t* const a = t.rows[y];
    const uint32_t* b = t.b + y * t.run * kPanelColumns;
    for (int64_t k = 0; k < t.run; ++k, b += kPanelColumns) {
      VI weights[kVectors];
#pragma GCC unroll kUnroll
      for (int j = 0; j < kVectors; ++j) {
        const int64_t place = j / kPanelVectors * t.panel_stride + j % kPanelVectors * kLanes;
        weights[j] = hn::LoadU(DI(), reinterpret_cast<const int32_t*>(b + place));
      }
#pragma GCC unroll kUnroll
      for (int i = 0; i < kRows; ++i) {
        const VI word = hn::Set(DI(), word_of_run(a + i * t.step, k));
#pragma GCC unroll kUnroll
        for (int j = 0; j < kVectors; ++j) {
          counts[i][j] = add_bits(counts[i][j], hn::Xor(word, weights[j]));
        }
      }
    }
  }
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      const VI twice = hn::Add(counts[i][j], counts[i][j]);
      const VI sum = hn::Sub(hn::LoadU(DI(), t.offsets[i] + j * kLanes), twice);
      hn::StoreU(sum, DI(), t.sums + i * kSumStride + j * kLanes);
    }
  }
}

struct WindowKernel {
  static constexpr TileLimits kLimits = kWindowLimits;
  static constexpr int kFewRows = 0;
  using Function = void (*)(const WindowTile&);
  template <int kRows, int kPanels>
  static constexpr Function function = &window_tile<kRows, kPanels>;
};

// The runs of one image row. `line`: its pixels with padding; `out`: as WindowLayout says.
template <int kKernelWidth>
HWY_INLINE void join_pixels(const uint64_t* line, const ConvShape& s, int64_t step, uint64_t* out) {
  const int64_t width = kKernelWidth == 0 ? s.kernel_w : kKernelWidth;
  for (int64_t x = 0; x < s.out_w; ++x, line += s.stride_w, out += step) {
    if (step == 1) {
      uint64_t word = 0;
#pragma GCC unroll kUnroll
      for (int64_t i = 0; i < width; ++i) word |= line[i] << (i * s.in_channels);
      *out = word;
      continue;
    }
    std::fill_n(out, step, 0);
    for (int64_t i = 0; i < width; ++i) {
      const int64_t bit = i * s.in_channels;
      const int64_t from = bit % 64;
      out[bit / 64] |= line[i] << from;
      if (from + s.in_channels > 64) out[bit / 64 + 1] |= line[i] >> (64 - from);
    }
  }
}

// The same where a window's row fits one word and windows are neighbours.
void join_neighbours(const uint64_t* line, const ConvShape& s, uint64_t* out) {
  const hn::ScalableTag<uint64_t> d;
  constexpr auto kWords = static_cast<int64_t>(HWY_LANES(uint64_t));
  int64_t x = 0;
  for (; x + kWords <= s.out_w; x += kWords) {
    auto word = hn::LoadU(d, line + x);
    for (int64_t i = 1; i < s.kernel_w; ++i) {
      const auto next = hn::LoadU(d, line + x + i);
      word = hn::Or(word, hn::ShiftLeftSame(next, static_cast<int>(i * s.in_channels)));
    }
    hn::StoreU(word, d, out + x);
  }
  for (; x < s.out_w; ++x) {
    uint64_t word = line[x];
    for (int64_t i = 1; i < s.kernel_w; ++i) word |= line[x + i] << (i * s.in_channels);
    out[x] = word;
  }
}

void lay_out_windows(const Context& context, const uint64_t* image, const ConvShape& s,
                     const WindowLayout& layout, uint64_t* lines, uint64_t* rows) {
  const int64_t words = layout.pixel_words;
  const int64_t inside = std::min(s.in_w, layout.line - s.pad_left);
  context.pool.parallel_for(s.batch * s.in_h, [&](int64_t row, int thread) HWY_ATTR {
    uint64_t* out = rows + row * layout.row_words;
    uint64_t* line = layout.gathers ? lines + thread * layout.line : out;
    const int64_t right = layout.line - s.pad_left - inside;
    std::fill_n(line, s.pad_left * words, 0);
    std::copy_n(image + row * s.in_w * words, inside * words, line + s.pad_left * words);
    std::fill_n(line + (s.pad_left + inside) * words, right * words, 0);
    if (!layout.gathers) return;
    if (layout.step == 1 && s.stride_w == 1) return join_neighbours(line, s, out);
    if (s.kernel_w == 3) return join_pixels<3>(line, s, layout.step, out);
    join_pixels<0>(line, s, layout.step, out);
  });
}

// The set bits of a window.
HWY_INLINE int64_t bits_of_window(const uint64_t* const* rows, const SignWindows& w, int64_t at) {
  int64_t bits = 0;
  for (int64_t y = 0; y < w.shape.kernel_h; ++y) {
    const uint64_t* run = rows[y] + at;
    for (int64_t k = 0; k < w.run; ++k) {
      bits += std::popcount(static_cast<uint32_t>(word_of_run(run, k)));
    }
  }
  return bits;
}

// The windows [first, first + count) of an output row, all panels of [begin, end).
struct WindowRow {
  const SignWindows& w;
  const IntegerEpilogue& e;
  int64_t row;                  // of the output, in pixels: its first
  const uint64_t* const* rows;  // [kernel_h], runs of window 0
  int64_t row_class;

  void tiles(int64_t first, int64_t count, int64_t begin, int64_t end) const {
    const int64_t columns = w.columns();
    const int64_t kernel_h = w.shape.kernel_h;
    const int64_t panel_stride = kernel_h * w.run * kPanelColumns;
    const uint64_t* at[kMostKernelRows];
    for (int64_t y = 0; y < kernel_h; ++y) at[y] = rows[y] + first * w.step;
    const int32_t* offsets[kWindowLimits.rows];
    const float* biases[kWindowLimits.rows];
    float bits[kWindowLimits.rows];
    const WindowTerms terms = {biases, bits, w.bit_gains.data()};
    for (int64_t i = 0; i < count; ++i) {
      const int64_t border = row_class * w.column_classes + w.column_class[first + i];
      offsets[i] = w.offsets.data() + border * columns + begin * kPanelColumns;
      if (w.biases.empty()) continue;
      biases[i] = w.biases.data() + border * columns;
      bits[i] = static_cast<float>(bits_of_window(at, w, i * w.step));
    }
    alignas(64) int32_t sums[kWindowLimits.rows * kSumStride];
    for (int64_t panel = begin; panel < end;) {
      const int64_t panels = end - panel >= kWindowLimits.panels ? kWindowLimits.panels : 1;
      const int64_t column = panel * kPanelColumns;
      const uint32_t* b = w.weights.data() + panel * panel_stride;
      tile_function<WindowKernel>(
          count, panels)({at, kernel_h, w.run, w.step, b, panel_stride, offsets, sums});
      const int64_t used = std::min(panels * kPanelColumns, w.shape.out_channels - column);
      finish_sums({sums, count, used, row + first, column, nullptr, w.shape.out_channels,
                   w.biases.empty() ? nullptr : &terms},
                  e);
      panel += panels;
      for (int64_t i = 0; i < count; ++i) offsets[i] += panels * kPanelColumns;
    }
  }
};

void sign_windows(const Context& context, const uint64_t* image, const SignWindows& w,
                  const ConvShape& s, const IntegerEpilogue& e) {
  const WindowLayout layout(s);
  ScratchCursor cursor(context.scratch);
  auto* zeros = cursor.take<uint64_t>(layout.row_words);
  std::fill_n(zeros, layout.row_words, 0);
  const uint64_t* runs = image;
  if (!layout.in_place) {
    auto* lines = cursor.take<uint64_t>(layout.line * context.pool.size());
    auto* made = cursor.take<uint64_t>(s.batch * s.in_h * layout.row_words);
    lay_out_windows(context, image, s, layout, lines, made);
    runs = made;
  }
  // Tasks are output rows; where these are few, each is shared by its panels.
  const int64_t output_rows = s.batch * s.out_h;
  const int64_t panels = w.columns() / kPanelColumns;
  const int threads = context.pool.size();
  const int64_t wanted = threads == 1 ? 1 : ceil_div(int64_t{8} * threads, output_rows);
  const int64_t chunks = std::clamp<int64_t>(wanted, 1, ceil_div(panels, kWindowLimits.panels));
  const RowTiles tiles(s.out_w, kWindowLimits.rows);
  context.pool.parallel_for(output_rows * chunks, [&](int64_t task, int) HWY_ATTR {
    const int64_t row = task / chunks;
    const int64_t chunk = task % chunks;
    const int64_t pairs = ceil_div(panels, kWindowLimits.panels);
    const int64_t begin = pairs * chunk / chunks * kWindowLimits.panels;
    const int64_t end = std::min(panels, pairs * (chunk + 1) / chunks * kWindowLimits.panels);
    const int64_t n = row / s.out_h;
    const int64_t y = row % s.out_h;
    const uint64_t* rows[kMostKernelRows];
    for (int64_t i = 0; i < s.kernel_h; ++i) {
      const int64_t from = y * s.stride_h - s.pad_top + i * s.dilation_h;
      const bool inside = from >= 0 && from < s.in_h;
      rows[i] = inside ? runs + (n * s.in_h + from) * layout.row_words : zeros;
    }
    const WindowRow windows = {w, e, row * s.out_w, rows, w.row_class[y]};
    for (int64_t tile = 0; tile < tiles.count(); ++tile) {
      const auto [first, last] = tiles.rows_of(tile);
      windows.tiles(first, last - first, begin, end);
    }
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(sign_windows);

namespace {

// Which taps lie inside of the image. (A vector of bools takes kilobytes of code.)
using Inside = std::vector<uint8_t>;

// Output positions that have the same taps inside get the same class.
class TapClasses {
 public:
  TapClasses(int64_t outputs, int64_t taps, int64_t stride, int64_t pad, int64_t dilation,
             int64_t inputs) {
    for (int64_t at = 0; at < outputs; ++at) {
      Inside inside(static_cast<size_t>(taps));
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t from = at * stride - pad + tap * dilation;
        inside[static_cast<size_t>(tap)] = from >= 0 && from < inputs ? 1 : 0;
      }
      const auto found = std::find(classes.begin(), classes.end(), inside);
      of.push_back(static_cast<int32_t>(found - classes.begin()));
      if (found == classes.end()) classes.push_back(inside);
    }
  }
  std::vector<int32_t> of;
  std::vector<Inside> classes;
};

TapClasses row_classes(const ConvShape& s) {
  return {s.out_h, s.kernel_h, s.stride_h, s.pad_top, s.dilation_h, s.in_h};
}
TapClasses column_classes(const ConvShape& s) {
  return {s.out_w, s.kernel_w, s.stride_w, s.pad_left, s.dilation_w, s.in_w};
}

// What the taps inside of a class add up to, of one output channel.
struct InsideTaps {
  int64_t count = 0;    // weights
  int64_t sum = 0;      // of their signs
  int64_t outside = 0;  // weights of -1 whose taps are padding
};
InsideTaps inside_taps(const int8_t* weights, const ConvShape& s, const Inside& rows,
                       const Inside& columns) {
  InsideTaps result;
  for (size_t y = 0; y < rows.size(); ++y) {
    for (size_t x = 0; x < columns.size(); ++x) {
      const int8_t* tap =
          weights +
          (static_cast<int64_t>(y) * s.kernel_w + static_cast<int64_t>(x)) * s.in_channels;
      const int64_t minus = std::count(tap, tap + s.in_channels, int8_t{-1});
      if (rows[y] != 0 && columns[x] != 0) {
        result.count += s.in_channels;
        result.sum += s.in_channels - 2 * minus;
      } else {
        result.outside += minus;
      }
    }
  }
  return result;
}

// Calls set(place in a table of classes, channel, what lies inside).
void for_classes(const SignWindows& w, const int8_t* ohwi,
                 const std::function<void(size_t, int64_t, const InsideTaps&)>& set) {
  const ConvShape& s = w.shape;
  const TapClasses rows = row_classes(s);
  const TapClasses columns = column_classes(s);
  for (size_t y = 0; y < rows.classes.size(); ++y) {
    for (size_t x = 0; x < columns.classes.size(); ++x) {
      const size_t base = (y * columns.classes.size() + x) * static_cast<size_t>(w.columns());
      for (int64_t c = 0; c < s.out_channels; ++c) {
        const int8_t* weights = ohwi + c * s.taps() * s.in_channels;
        set(base + static_cast<size_t>(c), c,
            inside_taps(weights, s, rows.classes[y], columns.classes[x]));
      }
    }
  }
}

}  // namespace

bool can_read_windows(const ConvShape& s) {
  return s.groups == 1 && s.dilation_w == 1 && s.kernel_h <= kMostKernelRows && s.out_h > 0 &&
         s.out_w > 0;
}

SignWindows pack_sign_windows(const int8_t* ohwi, const ConvShape& shape, const int32_t* bias) {
  SignWindows w;
  w.shape = shape;
  const WindowLayout layout(shape);
  w.run = layout.run;
  w.step = layout.step;
  const TapClasses rows = row_classes(shape);
  const TapClasses columns = column_classes(shape);
  w.row_class = rows.of;
  w.column_class = columns.of;
  w.column_classes = static_cast<int64_t>(columns.classes.size());
  w.weights.resize(static_cast<size_t>(w.columns() * shape.kernel_h * w.run));
  const int8_t* weight = ohwi;
  for (int64_t c = 0; c < shape.out_channels; ++c) {
    for (int64_t y = 0; y < shape.kernel_h; ++y) {
      const int64_t panel = c / kPanelColumns * shape.kernel_h + y;
      uint32_t* run = w.weights.data() + panel * w.run * kPanelColumns + c % kPanelColumns;
      for (int64_t x = 0; x < shape.kernel_w; ++x) {
        for (int64_t i = 0; i < shape.in_channels; ++i, ++weight) {
          const int64_t bit = layout.bit(shape, x, i);
          if (*weight < 0) run[bit / 32 * kPanelColumns] |= 1U << (bit % 32);
        }
      }
    }
  }
  w.offsets.resize(rows.classes.size() * columns.classes.size() * static_cast<size_t>(w.columns()));
  for_classes(w, ohwi, [&](size_t place, int64_t c, const InsideTaps& inside) {
    w.offsets[place] =
        static_cast<int32_t>(inside.count + 2 * inside.outside + (bias == nullptr ? 0 : bias[c]));
  });
  return w;
}

void shift_values(SignWindows& w, const int8_t* ohwi, const ValueShift& shift) {
  w.bit_gains.assign(static_cast<size_t>(w.columns()), 0.0F);
  for (size_t c = 0; c < shift.offsets.size(); ++c) w.bit_gains[c] = -2.0F * shift.offsets[c];
  w.biases.assign(w.offsets.size(), 0.0F);
  for_classes(w, ohwi, [&](size_t place, int64_t channel, const InsideTaps& inside) {
    const auto c = static_cast<size_t>(channel);
    const auto count = static_cast<float>(inside.count);
    const float offset = shift.offsets[c] * count;
    const float centers = shift.scales[c] * static_cast<float>(inside.sum) + offset;
    w.biases[place] = (shift.bias.empty() ? 0.0F : shift.bias[c]) + shift.center * centers + offset;
  });
}

void conv_sign_windows(const Context& context, const uint64_t* image, const SignWindows& windows,
                       const ConvShape& shape, const IntegerEpilogue& epilogue) {
  OUNCE_DISPATCH(sign_windows)(context, image, windows, shape, epilogue);
}

size_t sign_windows_scratch_bytes(const ConvShape& s, int threads) {
  const WindowLayout layout(s);
  return ScratchCursor::need<uint64_t>(layout.row_words) +
         ScratchCursor::need<uint64_t>(layout.line * threads) +
         ScratchCursor::need<uint64_t>(s.batch * s.in_h * layout.row_words);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
