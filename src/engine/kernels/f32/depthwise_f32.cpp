#define OUNCE_AVX512VNNI_IS_AVX512  // see dispatch.h

#include <array>
#include <cstring>
#include <utility>

#include "engine/kernels/conv.h"
#include "engine/kernels/depthwise.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/f32/depthwise_f32.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/f32/epilogue_f32-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Output pixels of a row that share one load of each weight. A multiply-add and the load of its
// pixel take the same time, so the weight's load costs 1 / kPixels; more pixels would not fit in 16
// registers.
inline constexpr int kPixels = 8;

// kCount neighbouring output pixels by one vector of channels; only taps inside the image.
struct TapWindow {
  const float* in;       // first tap of the first pixel
  const float* weights;  // first tap
  int64_t tap_rows, tap_columns;
  int64_t pixel_step;                    // elements between the inputs of neighbouring pixels
  int64_t row_step, column_step;         // elements between taps of the input
  int64_t weight_row_step, weight_step;  // elements between taps of the weights
};

template <int kCount>
HWY_INLINE void accumulate_taps(const TapWindow& w, int64_t channel, int64_t lanes,
                                VF (&acc)[kCount]) {
  for (int64_t i = 0; i < w.tap_rows; ++i) {
    const float* in = w.in + i * w.row_step + channel;
    const float* weights = w.weights + i * w.weight_row_step + channel;
    for (int64_t j = 0; j < w.tap_columns; ++j) {
      const VF weight = hn::LoadU(DF(), weights);
#pragma GCC unroll kUnroll
      for (int t = 0; t < kCount; ++t) {
        acc[t] = hn::MulAdd(load_lanes(in + t * w.pixel_step, lanes), weight, acc[t]);
      }
      in += w.column_step;
      weights += w.weight_step;
    }
  }
}

struct DepthwiseOutput {
  float* c;  // first pixel, channel 0
  int64_t ldc;
  const float* residual;  // or null
  const Epilogue* epilogue;
  bool direct;  // the activation is a clamp to [lo, hi]
  float lo, hi;
};

// `lanes` < kLanes only at the last channels; stores nothing beyond them.
template <int kCount>
HWY_INLINE void window_vector(const TapWindow& w, const DepthwiseOutput& out, int64_t channel,
                              int64_t lanes) {
  const Epilogue& e = *out.epilogue;
  const VF start = e.bias != nullptr ? load_lanes(e.bias + channel, lanes) : hn::Zero(DF());
  VF acc[kCount];
#pragma GCC unroll kUnroll
  for (int t = 0; t < kCount; ++t) acc[t] = start;
  accumulate_taps(w, channel, lanes, acc);
  if (out.direct && lanes == kLanes) {
    const VF lo = constant(out.lo);
    const VF hi = constant(out.hi);
#pragma GCC unroll kUnroll
    for (int t = 0; t < kCount; ++t) {
      if (out.residual != nullptr) {
        acc[t] = hn::Add(acc[t], hn::LoadU(DF(), out.residual + t * e.residual_stride + channel));
      }
      hn::StoreU(at_most(at_least(acc[t], lo), hi), DF(), out.c + t * out.ldc + channel);
    }
    return;
  }
  alignas(64) float values[kCount * kLanes];
#pragma GCC unroll kUnroll
  for (int t = 0; t < kCount; ++t) hn::Store(acc[t], DF(), values + t * kLanes);
  finish_tile({values, kLanes, kCount, lanes, out.c + channel, out.ldc,
               out.residual == nullptr ? nullptr : out.residual + channel, e.residual_stride},
              e.activation, e.activation_first);
}

template <int kCount>
void window_channels(const TapWindow& w, const DepthwiseOutput& out, int64_t channels) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) window_vector<kCount>(w, out, c, kLanes);
  if (c < channels) window_vector<kCount>(w, out, c, channels - c);
}

using WindowFunction = void (*)(const TapWindow&, const DepthwiseOutput&, int64_t);

template <int... kCounts>
constexpr std::array<WindowFunction, sizeof...(kCounts)> window_functions(
    std::integer_sequence<int, kCounts...>) {
  return {&window_channels<kCounts + 1>...};
}

void depthwise_row_f32(const float* input, const PackedDepthwiseF32& weights, const ConvShape& s,
                       float* output, int64_t ldc, const Epilogue& epilogue, int64_t row) {
  static constexpr auto kWindows = window_functions(std::make_integer_sequence<int, kPixels>());
  const int64_t image = row / s.out_h;
  const int64_t y = row % s.out_h;
  const int64_t stored = round_up(s.in_channels, kPanelColumns);
  const TapRange rows = taps_inside(y * s.stride_h - s.pad_top, s.dilation_h, s.kernel_h, s.in_h);
  const int64_t in_y = y * s.stride_h - s.pad_top + rows.begin * s.dilation_h;
  const Clamp clamp = clamp_of(epilogue);
  for (int64_t x = 0; x < s.out_w;) {
    const int64_t left = x * s.stride_w - s.pad_left;
    const TapRange columns = taps_inside(left, s.dilation_w, s.kernel_w, s.in_w);
    const int64_t count =
        columns.size() < s.kernel_w ? 1 : std::min<int64_t>(kPixels, pixels_inside(s, x));
    const int64_t in_x = left + columns.begin * s.dilation_w;
    TapWindow w;
    // An empty window touches nothing: its pointer must only be valid.
    w.tap_rows = columns.size() == 0 ? 0 : rows.size();
    w.tap_columns = columns.size();
    w.in =
        w.tap_rows == 0 ? input : input + ((image * s.in_h + in_y) * s.in_w + in_x) * s.in_channels;
    w.weights = weights.data.data() + (rows.begin * s.kernel_w + columns.begin) * stored;
    w.pixel_step = s.stride_w * s.in_channels;
    w.row_step = s.dilation_h * s.in_w * s.in_channels;
    w.column_step = s.dilation_w * s.in_channels;
    w.weight_row_step = s.kernel_w * stored;
    w.weight_step = stored;
    const int64_t pixel = row * s.out_w + x;
    const DepthwiseOutput out = {output + pixel * ldc,
                                 ldc,
                                 epilogue.residual == nullptr
                                     ? nullptr
                                     : epilogue.residual + pixel * epilogue.residual_stride,
                                 &epilogue,
                                 clamp.direct,
                                 clamp.lo,
                                 clamp.hi};
    kWindows[static_cast<size_t>(count - 1)](w, out, s.in_channels);
    x += count;
  }
}

void depthwise_f32(const Context& context, const float* input, const PackedDepthwiseF32& weights,
                   const ConvShape& s, float* output, int64_t ldc, const Epilogue& epilogue) {
  context.pool.parallel_for(s.batch * s.out_h, [&](int64_t row, int) {
    depthwise_row_f32(input, weights, s, output, ldc, epilogue, row);
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(depthwise_f32);

PackedDepthwiseF32 pack_depthwise_f32(const float* hwc, const ConvShape& shape) {
  PackedDepthwiseF32 packed;
  packed.shape = shape;
  const int64_t stored = round_up(shape.in_channels, kPanelColumns);
  packed.data.assign(static_cast<size_t>(shape.taps() * stored), 0.0F);
  for (int64_t tap = 0; tap < shape.taps(); ++tap) {
    std::copy_n(hwc + tap * shape.in_channels, shape.in_channels,
                packed.data.begin() + tap * stored);
  }
  return packed;
}

void depthwise_f32(const Context& context, const float* input, const PackedDepthwiseF32& weights,
                   const ConvShape& shape, float* output, int64_t ldc, const Epilogue& epilogue) {
  OUNCE_DISPATCH(depthwise_f32)(context, input, weights, shape, output, ldc, epilogue);
}

size_t depthwise_f32_scratch_bytes(const ConvShape&, int) {
  return 0;
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
