#define OUNCE_AVX512VNNI_IS_AVX512  // see dispatch.h

#include "engine/kernels/tensor/pool.h"

#include <algorithm>

#include "engine/kernels/depthwise.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/tensor/pool.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/f32/epilogue_f32-inl.h"
#include "engine/kernels/vector/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// The taps of one output pixel that lie inside the image.
struct Window {
  int64_t first;  // input pixel of the first of them
  int64_t rows, columns;
  int64_t row_step, column_step;  // in input pixels
  int64_t size() const { return rows * columns; }
};

// Calls f(output pixel, window) for all output pixels, in parallel over rows.
template <class F>
void for_windows(ThreadPool& pool, const ConvShape& s, const F& f) {
  pool.parallel_for(s.batch * s.out_h, [&](int64_t row, int) HWY_ATTR {
    const int64_t top = row % s.out_h * s.stride_h - s.pad_top;
    const TapRange rows = taps_inside(top, s.dilation_h, s.kernel_h, s.in_h);
    const int64_t image = row / s.out_h * s.in_h * s.in_w;
    for (int64_t x = 0; x < s.out_w; ++x) {
      const int64_t left = x * s.stride_w - s.pad_left;
      const TapRange columns = taps_inside(left, s.dilation_w, s.kernel_w, s.in_w);
      const int64_t in_y = top + rows.begin * s.dilation_h;
      const int64_t in_x = left + columns.begin * s.dilation_w;
      f(row * s.out_w + x, Window{image + in_y * s.in_w + in_x, rows.size(), columns.size(),
                                  s.dilation_h * s.in_w, s.dilation_w});
    }
  });
}

// Calls f(input pixel) for the taps of a window.
template <class F>
HWY_INLINE void for_window_pixels(const Window& w, const F& f) {
  for (int64_t i = 0; i < w.rows; ++i) {
    for (int64_t j = 0; j < w.columns; ++j) f(w.first + i * w.row_step + j * w.column_step);
  }
}

HWY_INLINE VF larger(VF a, VF b) {
  return keep_nan(b, at_least(a, b));
}
template <class V>
HWY_INLINE V larger(V a, V b) {
  return hn::Max(a, b);
}

// The largest of a window, for channels from `x` on.
template <bool kWhole, class T>
HWY_INLINE void max_of_window(const T* x, int64_t channels, const Window& w, T lowest,
                              int64_t lanes, T* y) {
  const hn::ScalableTag<T> d;
  auto best = hn::Set(d, lowest);
  for (int64_t i = 0; i < w.rows; ++i) {
    const T* p = x + (w.first + i * w.row_step) * channels;
    for (int64_t j = 0; j < w.columns; ++j, p += w.column_step * channels) {
      best = larger(best, kWhole ? hn::LoadU(d, p) : load_part(d, p, lanes));
    }
  }
  if (kWhole) return hn::StoreU(best, d, y);
  store_part(best, d, y, lanes);
}

template <class T>
void max_pool(const Context& context, const T* x, T* y, const ConvShape& s, T lowest) {
  constexpr int64_t kAll = static_cast<int64_t>(HWY_LANES(T));
  const int64_t channels = s.in_channels;
  for_windows(context.pool, s, [&](int64_t pixel, const Window& w) HWY_ATTR {
    T* out = y + pixel * channels;
    int64_t c = 0;
    for (; c + kAll <= channels; c += kAll) {
      max_of_window<true>(x + c, channels, w, lowest, kAll, out + c);
    }
    if (c < channels) max_of_window<false>(x + c, channels, w, lowest, channels - c, out + c);
  });
}

void max_pool_f32(const Context& context, const float* x, float* y, const ConvShape& s) {
  max_pool(context, x, y, s, -std::numeric_limits<float>::infinity());
}
void max_pool_u8(const Context& context, const uint8_t* x, uint8_t* y, const ConvShape& s) {
  max_pool(context, x, y, s, uint8_t{0});
}

inline int64_t counted_taps(const ConvShape& s, const Window& w, AverageCount count) {
  return count == AverageCount::kAllTaps ? s.taps() : w.size();
}

void average_pool_f32(const Context& context, const float* x, float* y, const ConvShape& s,
                      AverageCount count) {
  const int64_t channels = s.in_channels;
  for_windows(context.pool, s, [&](int64_t pixel, const Window& w) HWY_ATTR {
    const int64_t taps = std::max<int64_t>(counted_taps(s, w, count), 1);
    const VF divisor = constant(static_cast<float>(taps));
    for_vectors(channels, [&](int64_t c, int64_t lanes) HWY_ATTR {
      VF sum = hn::Zero(DF());
      for_window_pixels(w, [&](int64_t in) HWY_ATTR {
        sum = hn::Add(sum, load_lanes(x + in * channels + c, lanes));
      });
      store_lanes(hn::Div(sum, divisor), y + pixel * channels + c, lanes);
    });
  });
}

HWY_INLINE VI load_code_lanes(const uint8_t* p, int64_t lanes) {
  if (lanes == kLanes) return load_codes(p);
  uint8_t codes[kLanes] = {};
  std::memcpy(codes, p, static_cast<size_t>(lanes));
  return load_codes(codes);
}

// Codes of a mean: `sum` over `summed` codes, divided by `counted`.
HWY_INLINE void store_mean(VI sum, int64_t summed, int64_t counted, const RequantizeU8& q,
                           uint8_t* out, int64_t lanes) {
  const VI offset = hn::Set(DI(), static_cast<int32_t>(summed) * q.zero_in);
  const VF scale = constant(q.multiplier / static_cast<float>(std::max<int64_t>(counted, 1)));
  VF x = hn::Mul(hn::ConvertTo(DF(), hn::Sub(sum, offset)), scale);
  x = hn::Max(x, constant(static_cast<float>(-q.zero_out)));
  x = hn::Min(x, constant(static_cast<float>(255 - q.zero_out)));
  uint8_t codes[kLanes];
  store_codes(hn::Add(round_to_i32(x), hn::Set(DI(), q.zero_out)), codes);
  std::memcpy(out, codes, static_cast<size_t>(lanes));
}

void average_pool_u8(const Context& context, const uint8_t* x, uint8_t* y, const ConvShape& s,
                     AverageCount count, const RequantizeU8& requantize) {
  const int64_t channels = s.in_channels;
  for_windows(context.pool, s, [&](int64_t pixel, const Window& w) HWY_ATTR {
    for_vectors(channels, [&](int64_t c, int64_t lanes) HWY_ATTR {
      VI sum = hn::Zero(DI());
      for_window_pixels(w, [&](int64_t in) HWY_ATTR {
        sum = hn::Add(sum, load_code_lanes(x + in * channels + c, lanes));
      });
      store_mean(sum, w.size(), counted_taps(s, w, count), requantize, y + pixel * channels + c,
                 lanes);
    });
  });
}

// Calls f(image, first channel, lanes) for all vectors of channels, in parallel.
template <class F>
void for_channel_vectors(ThreadPool& pool, int64_t batch, int64_t channels, const F& f) {
  const int64_t vectors = ceil_div(channels, int64_t{kLanes});
  pool.parallel_for(batch * vectors, [&](int64_t task, int) HWY_ATTR {
    const int64_t c = task % vectors * kLanes;
    f(task / vectors, c, std::min<int64_t>(kLanes, channels - c));
  });
}

void global_average_pool_f32(const Context& context, const float* x, float* y, int64_t batch,
                             int64_t pixels, int64_t channels) {
  const VF divisor = constant(static_cast<float>(pixels));
  for_channel_vectors(context.pool, batch, channels,
                      [&](int64_t image, int64_t c, int64_t lanes) HWY_ATTR {
                        const float* p = x + image * pixels * channels + c;
                        VF sum = hn::Zero(DF());
                        for (int64_t i = 0; i < pixels; ++i)
                          sum = hn::Add(sum, load_lanes(p + i * channels, lanes));
                        store_lanes(hn::Div(sum, divisor), y + image * channels + c, lanes);
                      });
}

void global_average_pool_u8(const Context& context, const uint8_t* x, uint8_t* y, int64_t batch,
                            int64_t pixels, int64_t channels, const RequantizeU8& requantize) {
  for_channel_vectors(
      context.pool, batch, channels, [&](int64_t image, int64_t c, int64_t lanes) HWY_ATTR {
        const uint8_t* p = x + image * pixels * channels + c;
        VI sum = hn::Zero(DI());
        for (int64_t i = 0; i < pixels; ++i) {
          sum = hn::Add(sum, load_code_lanes(p + i * channels, lanes));
        }
        store_mean(sum, pixels, pixels, requantize, y + image * channels + c, lanes);
      });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(max_pool_f32);
OUNCE_EXPORT(max_pool_u8);
OUNCE_EXPORT(average_pool_f32);
OUNCE_EXPORT(average_pool_u8);
OUNCE_EXPORT(global_average_pool_f32);
OUNCE_EXPORT(global_average_pool_u8);

void max_pool_f32(const Context& context, const float* x, float* y, const ConvShape& shape) {
  OUNCE_DISPATCH(max_pool_f32)(context, x, y, shape);
}
void max_pool_u8(const Context& context, const uint8_t* x, uint8_t* y, const ConvShape& shape) {
  OUNCE_DISPATCH(max_pool_u8)(context, x, y, shape);
}
void average_pool_f32(const Context& context, const float* x, float* y, const ConvShape& shape,
                      AverageCount count) {
  OUNCE_DISPATCH(average_pool_f32)(context, x, y, shape, count);
}
void average_pool_u8(const Context& context, const uint8_t* x, uint8_t* y, const ConvShape& shape,
                     AverageCount count, const RequantizeU8& requantize) {
  OUNCE_DISPATCH(average_pool_u8)(context, x, y, shape, count, requantize);
}
void global_average_pool_f32(const Context& context, const float* x, float* y, int64_t batch,
                             int64_t pixels, int64_t channels) {
  OUNCE_DISPATCH(global_average_pool_f32)(context, x, y, batch, pixels, channels);
}
void global_average_pool_u8(const Context& context, const uint8_t* x, uint8_t* y, int64_t batch,
                            int64_t pixels, int64_t channels, const RequantizeU8& requantize) {
  OUNCE_DISPATCH(global_average_pool_u8)(context, x, y, batch, pixels, channels, requantize);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
