#include <limits>

#include "engine/reference/families.h"
#include "engine/reference/sliding_window.h"

namespace ounce::engine::reference {
namespace {

Shape pooled_shape(const Tensor& x, const Shape& spatial) {
  Shape shape = {x.shape()[0], x.shape()[1]};
  shape.insert(shape.end(), spatial.begin(), spatial.end());
  return shape;
}

/// Index of a row-major pixel when the spatial dimensions are stored column by column.
int64_t column_major(int64_t pixel, const Shape& spatial) {
  int64_t index = 0;
  int64_t divisor = element_count(spatial);
  int64_t stride = 1;
  for (const int64_t dim : spatial) {
    divisor /= dim;
    index += pixel / divisor % dim * stride;
    stride *= dim;
  }
  return index;
}

/// The maximum of each window and, when wanted, where in the input it stands.
void max_pool(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Sliding sliding = forward_sliding(context.node, spatial_of(x.shape()));
  const bool by_columns = context.attributes().get_int("storage_order", 0) != 0;
  const Shape shape = pooled_shape(x, sliding.dense);
  Tensor& y = output(context, 0, x.dtype(), shape);
  Tensor indices(DType::i64, shape);
  const int64_t in_pixels = element_count(sliding.strided);
  const int64_t out_pixels = element_count(sliding.dense);
  with_number_type(x.dtype(), [&]<class T>(Type<T>) {
    using Limits = std::numeric_limits<T>;
    T* to = mutable_elements<T>(y);
    int64_t* where = mutable_elements<int64_t>(indices);
    std::fill_n(to, y.size(), Limits::has_infinity ? -Limits::infinity() : Limits::lowest());
    std::fill_n(where, y.size(), -1);
    for (int64_t plane = 0; out_pixels > 0 && plane < y.size() / out_pixels; ++plane) {
      const T* from = elements<T>(x) + plane * in_pixels;
      for (Walker<0> tap(sliding.kernel(), {}); !tap.done(); tap.next()) {
        for_each_run(sliding, tap.index(),
                     [&](int64_t out, int64_t in, int64_t count, int64_t stride) {
                       for (int64_t i = 0; i < count; ++i) {
                         const int64_t at = plane * out_pixels + out + i;
                         const T value = from[in + i * stride];
                         if (where[at] >= 0 && !(value > to[at])) continue;
                         to[at] = value;
                         where[at] = in + i * stride;
                       }
                     });
      }
      for (int64_t at = plane * out_pixels; at < (plane + 1) * out_pixels; ++at) {
        if (where[at] < 0) continue;
        if (by_columns) where[at] = column_major(where[at], sliding.strided);
        where[at] += plane * in_pixels;
      }
    }
  });
  if (wants_output(context, 1)) store(context, 1, indices);
}

/// Number of window elements that count at each output position along one axis: those inside the
/// input, or (with_pads) inside the padded input.
std::vector<int64_t> window_counts(const Sliding& sliding, size_t axis, bool with_pads) {
  const ops::WindowAxis& window = sliding.axes[axis];
  const int64_t low = with_pads ? -window.pad_begin : 0;
  const int64_t high = sliding.strided[axis] + (with_pads ? window.pad_end : 0);
  std::vector<int64_t> counts(static_cast<size_t>(sliding.dense[axis]), 0);
  for (int64_t p = 0; p < sliding.dense[axis]; ++p) {
    for (int64_t t = 0; t < window.kernel; ++t) {
      const int64_t at = p * window.stride + t * window.dilation - window.pad_begin;
      counts[static_cast<size_t>(p)] += at >= low && at < high ? 1 : 0;
    }
  }
  return counts;
}

/// Sums `term(x)` over each window and calls `emit(output index, pixel, sum)`.
template <class T, class Term, class Emit>
void sum_windows(const Tensor& x, const Sliding& sliding, Term term, Emit emit) {
  const int64_t in_pixels = element_count(sliding.strided);
  const int64_t out_pixels = element_count(sliding.dense);
  std::vector<double> sums(static_cast<size_t>(out_pixels));
  for (int64_t plane = 0; plane < x.shape()[0] * x.shape()[1]; ++plane) {
    const T* from = elements<T>(x) + plane * in_pixels;
    std::fill(sums.begin(), sums.end(), 0.0);
    for (Walker<0> tap(sliding.kernel(), {}); !tap.done(); tap.next()) {
      for_each_run(sliding, tap.index(),
                   [&](int64_t out, int64_t in, int64_t count, int64_t stride) {
                     for (int64_t i = 0; i < count; ++i) {
                       sums[static_cast<size_t>(out + i)] +=
                           term(static_cast<double>(from[in + i * stride]));
                     }
                   });
    }
    for (int64_t i = 0; i < out_pixels; ++i) {
      emit(plane * out_pixels + i, i, sums[static_cast<size_t>(i)]);
    }
  }
}

void average_pool(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Sliding sliding = forward_sliding(context.node, spatial_of(x.shape()));
  const bool with_pads = context.attributes().get_int("count_include_pad", 0) != 0;
  Tensor& y = output(context, 0, x.dtype(), pooled_shape(x, sliding.dense));
  std::vector<double> divisors;  // one an output pixel
  std::vector<std::vector<int64_t>> counts;
  for (size_t axis = 0; axis < sliding.axes.size(); ++axis) {
    counts.push_back(window_counts(sliding, axis, with_pads));
  }
  for (Walker<0> pixel(sliding.dense, {}); !pixel.done(); pixel.next()) {
    double count = 1.0;
    for (size_t axis = 0; axis < counts.size(); ++axis) {
      count *= static_cast<double>(counts[axis][static_cast<size_t>(pixel.index()[axis])]);
    }
    divisors.push_back(count);
  }
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    T* to = mutable_elements<T>(y);
    sum_windows<T>(
        x, sliding, [](double value) { return value; },
        [&](int64_t i, int64_t pixel, double sum) {
          to[i] = static_cast<T>(sum / divisors[static_cast<size_t>(pixel)]);
        });
  });
}

/// (sum |x|^p)^(1/p) of each window of `sliding`.
void lp_pool_over(OperatorContext& context, const Sliding& sliding) {
  const Tensor& x = input(context, 0);
  const auto p = static_cast<double>(context.attributes().get_int("p", 2));
  require(p >= 1.0, "p must be at least 1");
  Tensor& y = output(context, 0, x.dtype(), pooled_shape(x, sliding.dense));
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    T* to = mutable_elements<T>(y);
    sum_windows<T>(
        x, sliding, [p](double value) { return std::pow(std::abs(value), p); },
        [&](int64_t i, int64_t, double sum) { to[i] = static_cast<T>(std::pow(sum, 1.0 / p)); });
  });
}

void lp_pool(OperatorContext& context) {
  lp_pool_over(context, forward_sliding(context.node, spatial_of(input(context, 0).shape())));
}

/// One window over everything.
Sliding global_sliding(const Shape& shape) {
  const std::span<const int64_t> spatial = spatial_of(shape);
  Sliding sliding;
  sliding.strided.assign(spatial.begin(), spatial.end());
  sliding.dense.assign(spatial.size(), 1);
  for (const int64_t dim : spatial) sliding.axes.push_back({.kernel = dim});
  return sliding;
}

void global_lp_pool(OperatorContext& context) {
  lp_pool_over(context, global_sliding(input(context, 0).shape()));
}

/// Folds all pixels of each channel: y = finish(fold of step, pixels).
template <class Step, class Finish>
void global_pool(OperatorContext& context, double start, Step step, Finish finish) {
  const Tensor& x = input(context, 0);
  require(x.rank() >= 2, "an input of rank >= 2, [batch, channels, ...], wanted");
  Shape shape(x.shape().size(), 1);
  shape[0] = x.shape()[0], shape[1] = x.shape()[1];
  Tensor& y = output(context, 0, x.dtype(), shape);
  const int64_t pixels = element_count(std::span(x.shape()).subspan(2));
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for (int64_t plane = 0; plane < y.size(); ++plane) {
      double state = start;
      for (int64_t i = 0; i < pixels; ++i) state = step(state, static_cast<double>(*from++));
      to[plane] = static_cast<T>(finish(state, static_cast<double>(pixels)));
    }
  });
}

void global_average_pool(OperatorContext& context) {
  global_pool(
      context, 0.0, [](double sum, double x) { return sum + x; },
      [](double sum, double count) { return sum / count; });
}

void global_max_pool(OperatorContext& context) {
  global_pool(
      context, -std::numeric_limits<double>::infinity(),
      [](double best, double x) { return std::max(best, x); },
      [](double best, double) { return best; });
}

constexpr OperatorEntry kEntries[] = {
    {"AveragePool", widened<average_pool>},
    {"GlobalAveragePool", widened<global_average_pool>},
    {"GlobalLpPool", widened<global_lp_pool>},
    {"GlobalMaxPool", widened<global_max_pool>},
    {"LpPool", widened<lp_pool>},
    {"MaxPool", widened<max_pool>},
};

}  // namespace

std::span<const OperatorEntry> pooling_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
