#define OUNCE_AVX512_IS_AVX2  // see dispatch.h

#include <array>
#include <cstring>

#include "engine/isa.h"
#include "engine/kernels/blocking/implicit_gemm.h"
#include "engine/kernels/conv.h"
#include "engine/kernels/depthwise.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/int8/depthwise_u8s8.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/int8/depthwise_u8s8-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR

// The fold that needs the fewest vector operations for a row of output pixels.
int64_t best_fold(const ConvShape& s) {
  if (s.dilation_w != 1 || s.stride_w != 1) return 1;
  // Pixels of their own share the columns of the image with their neighbours, the more the wider
  // the kernel (measured).
  const double shared = s.kernel_w >= 5 ? 0.3 : 0.6;
  constexpr double kPartlyStored = 1.5;
  int64_t best = 1;
  double least = std::numeric_limits<double>::infinity();
  for (int64_t fold = 1; fold <= s.out_w && fold * s.in_channels <= kMostFolded; ++fold) {
    double vectors = 0;
    for_pieces(fold * s.in_channels, [&](const Piece& piece) {
      vectors += piece.skip == 0 && piece.valid == piece.bytes ? 1.0 : kPartlyStored;
    });
    const double cost =
        vectors * static_cast<double>(ceil_div(s.out_w, fold)) * (fold == 1 ? shared : 1.0);
    if (cost < least) {
      least = cost;
      best = fold;
    }
  }
  return best;
}

void pack_depthwise(const int8_t* hwc, const int32_t* bias, PackedDepthwiseS8& packed) {
  const ConvShape& s = packed.shape;
  packed.fold = best_fold(s);
  const bool pairs = s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 &&
                     is_unrolled(s, packed.wide_channels());
  packed.output_rows = pairs ? 2 : 1;
  packed.groups = ceil_div(s.kernel_h + packed.output_rows - 1, 4);
  for_pieces(packed.wide_channels(), [&](const Piece& piece) {
    const auto weight = [&](int64_t row, int64_t column, int64_t channel) -> int8_t {
      if (row < 0 || row >= s.kernel_h || channel >= piece.valid) return 0;
      return hwc[(row * s.kernel_w + column) * s.in_channels +
                 (piece.start + channel) % s.in_channels];
    };
    for (int64_t i = 0; i < packed.lane_bytes() * piece.bytes; ++i) {
      const int64_t byte = i % piece.bytes;
      const int64_t v = i / piece.bytes % 4;
      const int64_t column = i / (4 * piece.bytes) % s.kernel_w;
      const int64_t group = i / (4 * piece.bytes * s.kernel_w);
      const int64_t row = group % packed.groups * 4 + byte % 4 - group / packed.groups;
      packed.data.push_back(weight(row, column, channel_of(v, byte / 4)));
    }
    for (int64_t i = 0; i < piece.bytes; ++i) {
      const int64_t channel = channel_of(i / (piece.bytes / 4), i % (piece.bytes / 4));
      int32_t sum = 0;
      for (int64_t tap = 0; tap < s.taps(); ++tap) {
        sum += weight(tap / s.kernel_w, tap % s.kernel_w, channel);
      }
      const bool exists = bias != nullptr && channel < piece.valid;
      packed.column_sums.push_back(sum);
      packed.offsets.push_back((exists ? bias[(piece.start + channel) % s.in_channels] : 0) -
                               packed.a_zero_point * sum);
    }
  });
}

#else

// One channel at a time needs no order but the given one.
void pack_depthwise(const int8_t* hwc, const int32_t* bias, PackedDepthwiseS8& packed) {
  const ConvShape& s = packed.shape;
  packed.groups = ceil_div(s.kernel_h, 4);
  packed.data.assign(hwc, hwc + s.taps() * s.in_channels);
  for (int64_t c = 0; c < s.in_channels; ++c) {
    int32_t sum = 0;
    for (int64_t tap = 0; tap < s.taps(); ++tap) sum += hwc[tap * s.in_channels + c];
    packed.column_sums.push_back(sum);
    packed.offsets.push_back((bias != nullptr ? bias[c] : 0) - packed.a_zero_point * sum);
  }
}

#endif

struct RowJob {
  const uint8_t* input;
  const PackedDepthwiseS8* weights;
  const float* scales;       // in the order of the weights
  IntegerEpilogue epilogue;  // its scales and biases are those of folded pixels
  const uint8_t* blank;      // a row of padding
};

// What a thread needs.
struct RowScratch {
  const uint8_t** rows;
  uint8_t* strip;
  float* stage;
};

inline int64_t output_bytes(IntegerOutput output) {
  return output == IntegerOutput::kU8 ? 1 : 4;
}

// The epilogue of the pixels from `pixel` on, `fold` of them a row.
inline IntegerEpilogue epilogue_of_pixels(const IntegerEpilogue& epilogue, int64_t pixel,
                                          int64_t fold) {
  IntegerEpilogue e = epilogue;
  e.c = static_cast<uint8_t*>(e.c) + pixel * e.ldc * output_bytes(e.output);
  if (e.residual != nullptr) e.residual += pixel * e.residual_stride;
  if (e.f32.residual != nullptr) e.f32.residual += pixel * e.f32.residual_stride;
  e.ldc *= fold;
  e.residual_stride *= fold;
  e.f32.residual_stride *= fold;
  return e;
}

// First input pixel of a run's windows, and the rows under them.
struct Corner {
  int64_t image, top, left;
  int64_t rows;
};

// Copies the pixels under a run's windows, with padding outside the image:
// [rows][columns][channels].
inline void copy_strip(const RowJob& job, const ConvShape& s, const Corner& corner, int64_t columns,
                       const RowScratch& scratch) {
  const int64_t channels = s.in_channels;
  // Columns inside the image.
  const TapRange inside = taps_inside(corner.left, s.dilation_w, columns, s.in_w);
  uint8_t* out = scratch.strip;
  for (int64_t i = 0; i < corner.rows; ++i, out += columns * channels) {
    scratch.rows[i] = out;
    const int64_t y = corner.top + i * s.dilation_h;
    if (y < 0 || y >= s.in_h || inside.size() == 0) {
      std::memset(out, job.weights->a_zero_point, static_cast<size_t>(columns * channels));
      continue;
    }
    const uint8_t* in = job.input + ((corner.image * s.in_h + y) * s.in_w + corner.left +
                                     inside.begin * s.dilation_w) *
                                        channels;
    std::memset(out, job.weights->a_zero_point, static_cast<size_t>(inside.begin * channels));
    if (s.dilation_w == 1) {
      std::memcpy(out + inside.begin * channels, in, static_cast<size_t>(inside.size() * channels));
    } else {
      for (int64_t c = 0; c < inside.size(); ++c) {
        std::memcpy(out + (inside.begin + c) * channels, in + c * s.dilation_w * channels,
                    static_cast<size_t>(channels));
      }
    }
    std::memset(out + inside.end * channels, job.weights->a_zero_point,
                static_cast<size_t>((columns - inside.end) * channels));
  }
}

// Points the rows at the pixels under the windows of `pixels` output pixels, and counts the runs
// from there on that do not need a copy.
inline void place_rows(const RowJob& job, const ConvShape& s, const Corner& corner, int64_t pixels,
                       const RowScratch& scratch, PixelRun& run) {
  const int64_t columns = (pixels - 1) * s.stride_w + s.kernel_w;
  const int64_t beyond = s.in_w - 1 - corner.left - (columns - 1) * s.dilation_w;
  run.column_step = s.in_channels;
  run.repeats = 1;
  run.advance = pixels * s.stride_w * s.in_channels;
  if (corner.left >= 0 && beyond >= 0) {
    run.column_step *= s.dilation_w;
    run.repeats = std::min(beyond / (pixels * s.stride_w), kBytesOfRuns / run.advance) + 1;
    for (int64_t i = 0; i < corner.rows; ++i) {
      const int64_t y = corner.top + i * s.dilation_h;
      const int64_t pixel = (corner.image * s.in_h + y) * s.in_w + corner.left;
      scratch.rows[i] = y >= 0 && y < s.in_h ? job.input + pixel * s.in_channels : job.blank;
    }
  } else {
    copy_strip(job, s, corner, columns, scratch);
  }
  for (int64_t i = corner.rows; i < run.weights->groups * 4; ++i) scratch.rows[i] = scratch.rows[0];
}

// The parts of a residual that belong to a folded pixel, side by side.
template <class T>
const T* gather_residual(const T* residual, int64_t stride, int64_t pixels, int64_t channels,
                         float* stage) {
  if (residual == nullptr) return nullptr;
  T* out = reinterpret_cast<T*>(stage);
  std::fill_n(out, kMostFolded, T{});
  for (int64_t p = 0; p < pixels; ++p) {
    std::copy_n(residual + p * stride, channels, out + p * channels);
  }
  return out;
}

// A folded pixel of which only `pixels` exist, or whose pixels are apart in the output. The
// epilogues are those of the first one, not folded.
inline void run_staged(const RunFunction& function, PixelRun run, int64_t rows,
                       const IntegerEpilogue* epilogues, int64_t pixels, float* stage) {
  const int64_t channels = run.weights->shape.in_channels;
  const int64_t wide = run.weights->wide_channels();
  const int64_t bytes = output_bytes(epilogues->output);
  IntegerEpilogue staged[2];
  for (int64_t r = 0; r < rows; ++r) {
    const IntegerEpilogue& e = epilogues[r];
    float* residual = stage + (2 * r + 1) * kMostFolded;
    staged[r] = e;
    staged[r].c = stage + 2 * r * kMostFolded;
    staged[r].ldc = staged[r].residual_stride = staged[r].f32.residual_stride = wide;
    staged[r].residual = gather_residual(e.residual, e.residual_stride, pixels, channels, residual);
    staged[r].f32.residual =
        gather_residual(e.f32.residual, e.f32.residual_stride, pixels, channels, residual);
  }
  run.epilogues = staged;
  run.pixel = 0;
  function.run(run);
  for (int64_t r = 0; r < rows; ++r) {
    const auto* out = static_cast<const uint8_t*>(staged[r].c);
    for (int64_t p = 0; p < pixels; ++p) {
      std::memcpy(static_cast<uint8_t*>(epilogues[r].c) + p * epilogues[r].ldc * bytes,
                  out + p * channels * bytes, static_cast<size_t>(channels * bytes));
    }
  }
}

// Whether the pixels of output and residual are side by side.
inline bool is_dense(const IntegerEpilogue& e, int64_t channels) {
  return e.ldc == channels && (e.residual == nullptr || e.residual_stride == channels) &&
         (e.f32.residual == nullptr || e.f32.residual_stride == channels);
}

// Output rows y, and y + 1 if `rows` is two, of an image.
template <class Dot>
void depthwise_rows(const RowJob& job, const ConvShape& s, int64_t image, int64_t y, int64_t rows,
                    const RowScratch& scratch) {
  const int64_t fold = job.weights->fold;
  const int64_t first = (image * s.out_h + y) * s.out_w;
  const bool dense = is_dense(job.epilogue, s.in_channels);
  const auto epilogues_at = [&](int64_t pixel, int64_t folded) {
    return std::array{epilogue_of_pixels(job.epilogue, pixel, folded),
                      epilogue_of_pixels(job.epilogue, pixel + s.out_w, folded)};
  };
  const auto epilogues = epilogues_at(first, fold);
  for (int64_t x = 0; x < s.out_w;) {
    const int64_t rest = s.out_w - x;
    const RunFunction function = run_function<Dot>(*job.weights, rest, rows);
    const int64_t pixels = function.pixels * fold;
    PixelRun run = {scratch.rows, 0, job.weights, job.scales, epilogues.data(), x / fold, 1, 0};
    const Corner corner = {image, y * s.stride_h - s.pad_top, x * s.stride_w - s.pad_left,
                           s.kernel_h + rows - 1};
    place_rows(job, s, corner, pixels, scratch, run);
    if (fold > 1 && (rest < fold || !dense)) {
      run.repeats = 1;
      run_staged(function, run, rows, epilogues_at(first + x, 1).data(), std::min(rest, fold),
                 scratch.stage);
    } else {
      run.repeats = std::min(run.repeats, rest / pixels);
      function.run(run);
    }
    x += run.repeats * pixels;
  }
}

// Scales in the order of the weights.
inline void order_scales([[maybe_unused]] const PackedDepthwiseS8& weights,
                         [[maybe_unused]] const float* given, [[maybe_unused]] float* ordered) {
#if HWY_TARGET != HWY_SCALAR
  for_pieces(weights.wide_channels(), [&](const Piece& piece) {
    for (int64_t v = 0; v < 4; ++v) {
      for (int64_t lane = 0; lane < piece.bytes / 4; ++lane) {
        const int64_t channel = channel_of(v, lane);
        *ordered++ = channel < piece.valid ? given[piece.start + channel] : 0.0F;
      }
    }
  });
#endif
}

// More than one, so that a thread that comes late leaves something to take over.
inline constexpr int64_t kTasksPerThread = 2;

template <class Dot>
void depthwise(const Context& context, const uint8_t* input, const PackedDepthwiseS8& weights,
               const ConvShape& s, const IntegerEpilogue& epilogue) {
  const int threads = context.pool.size();
  const DepthwiseScratch sizes(s);
  ScratchCursor cursor(context.scratch);
  float* scales = cursor.take<float>(sizes.scales);
  float* columns = cursor.take<float>(2 * sizes.columns);
  uint8_t* blank = cursor.take<uint8_t>(sizes.blank);
  const uint8_t** rows = cursor.take<const uint8_t*>(sizes.rows * threads);
  uint8_t* strips = cursor.take<uint8_t>(sizes.strip * threads);
  float* stages = cursor.take<float>(sizes.stage * threads);
  std::memset(blank, weights.a_zero_point, static_cast<size_t>(sizes.blank));
  RowJob job = {input, &weights, scales, epilogue, blank};
  const auto repeat = [&](const float*& values, float* out) {
    if (values == nullptr || weights.fold == 1) return;
    for (int64_t i = 0; i < weights.fold; ++i) {
      std::copy_n(values, s.in_channels, out + i * s.in_channels);
    }
    values = out;
  };
  repeat(job.epilogue.scale, columns);
  repeat(job.epilogue.f32.bias, columns + sizes.columns);
  if (epilogue.output == IntegerOutput::kU8) order_scales(weights, job.epilogue.scale, scales);
  // Cut by rows, not by pairs of rows: seven pairs would leave one of two threads idle at the end.
  const int64_t pairs = ceil_div(s.out_h, weights.output_rows);
  const int64_t tasks = threads == 1 ? pairs : std::min(pairs, threads * kTasksPerThread);
  context.pool.parallel_for(s.batch * tasks, [&](int64_t task, int thread) {
    const RowScratch scratch = {rows + thread * sizes.rows, strips + thread * sizes.strip,
                                stages + thread * sizes.stage};
    const int64_t part = task % tasks;
    const int64_t end = s.out_h * (part + 1) / tasks;
    for (int64_t y = s.out_h * part / tasks; y < end; y += weights.output_rows) {
      depthwise_rows<Dot>(job, s, task / tasks, y, std::min(weights.output_rows, end - y), scratch);
    }
  });
}

void run_depthwise_u8s8(const Context& context, const uint8_t* input,
                        const PackedDepthwiseS8& weights, const ConvShape& s,
                        const IntegerEpilogue& epilogue) {
#if HWY_TARGET == HWY_NEON
  if (current_isa() == Isa::kNeon) {
    return depthwise<DotPlain>(context, input, weights, s, epilogue);
  }
#endif
  depthwise<Dot>(context, input, weights, s, epilogue);
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(pack_depthwise);
OUNCE_EXPORT(run_depthwise_u8s8);

PackedDepthwiseS8 pack_depthwise_s8(const int8_t* hwc, const ConvShape& shape, int32_t a_zero_point,
                                    const int32_t* bias) {
  PackedDepthwiseS8 packed;
  packed.shape = shape;
  packed.a_zero_point = a_zero_point;
  packed.level = dispatch_index();
  OUNCE_DISPATCH(pack_depthwise)(hwc, bias, packed);
  return packed;
}

void depthwise_u8s8(const Context& context, const uint8_t* input, const PackedDepthwiseS8& weights,
                    const ConvShape& shape, const IntegerEpilogue& epilogue) {
  (*run_depthwise_u8s8_table[weights.level])(context, input, weights, shape, epilogue);
}

size_t depthwise_u8s8_scratch_bytes(const ConvShape& shape, int threads) {
  const DepthwiseScratch sizes(shape);
  return ScratchCursor::need<float>(sizes.scales) + ScratchCursor::need<float>(2 * sizes.columns) +
         ScratchCursor::need<uint8_t>(sizes.blank) +
         ScratchCursor::need<const uint8_t*>(sizes.rows * threads) +
         ScratchCursor::need<uint8_t>(sizes.strip * threads) +
         ScratchCursor::need<float>(sizes.stage * threads);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
