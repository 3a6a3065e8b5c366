#include <algorithm>
#include <numeric>

#include "engine/reference/elementwise.h"
#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

/// Mean and 1 / sqrt(variance + epsilon) of `count` elements.
struct Moments {
  double mean = 0.0;
  double inverse_deviation = 0.0;
};

template <class T>
Moments moments_of(const T* x, int64_t count, double epsilon) {
  Moments moments;
  for (int64_t i = 0; i < count; ++i) moments.mean += static_cast<double>(x[i]);
  moments.mean /= static_cast<double>(count);
  double variance = 0.0;
  for (int64_t i = 0; i < count; ++i) {
    const double difference = static_cast<double>(x[i]) - moments.mean;
    variance += difference * difference;
  }
  variance /= static_cast<double>(count);
  moments.inverse_deviation = 1.0 / std::sqrt(variance + epsilon);
  return moments;
}

/// Per-channel parameters as doubles, checked to be `channels` many.
std::vector<double> channel_parameters(const OperatorContext& context, size_t i, int64_t channels) {
  const Tensor& tensor = input(context, i);
  if (tensor.size() != channels) {
    fail("input " + std::to_string(i) + " has shape " + to_string(tensor.shape()) + ", " +
         std::to_string(channels) + " values wanted");
  }
  std::vector<double> values(static_cast<size_t>(channels));
  with_float_type(tensor.dtype(), [&]<class T>(Type<T>) {
    std::copy_n(elements<T>(tensor), channels, values.begin());
  });
  return values;
}

int64_t channels_of(const Tensor& x) {
  require(x.rank() >= 2, "an input of rank >= 2, [batch, channels, ...], wanted");
  return x.shape()[1];
}

/// y = (x - mean) / sqrt(variance + epsilon) * scale + bias over the axes from `axis` on.
void layer_normalization(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& scale = input(context, 1);
  const int64_t axis = normalize_axis(context.attributes().get_int("axis", -1), x.rank());
  const double epsilon = context.attributes().get_float("epsilon", 1e-5F);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  Shape statistics = x.shape();
  std::fill(statistics.begin() + axis, statistics.end(), 1);
  const int64_t rows = element_count(statistics);
  const int64_t columns = rows == 0 ? 0 : x.size() / rows;
  std::vector<Moments> moments(static_cast<size_t>(rows));
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    require_same_dtype(x, scale);
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for (int64_t row = 0; row < rows; ++row) {
      moments[static_cast<size_t>(row)] = moments_of(from + row * columns, columns, epsilon);
    }
    const bool has_bias = context.has_input(2);
    const Tensor& bias = has_bias ? context.inputs[2] : scale;
    require_same_dtype(x, bias);
    const T* factors = elements<T>(scale);
    const T* offsets = elements<T>(bias);
    for_each_broadcast<2>(
        x.shape(), {&scale.shape(), &bias.shape()},
        [&](int64_t i, const std::array<int64_t, 2>& at) {
          const Moments& row = moments[static_cast<size_t>(i / columns)];
          const double centred = static_cast<double>(from[i]) - row.mean;
          const double offset = has_bias ? offsets[at[1]] : 0.0;
          to[i] = static_cast<T>(centred * row.inverse_deviation * factors[at[0]] + offset);
        });
  });
  const auto store_statistic = [&](size_t i, double Moments::*member) {
    if (!wants_output(context, i)) return;
    Tensor& target = output(context, i, DType::f32, statistics);
    std::transform(moments.begin(), moments.end(), mutable_elements<float>(target),
                   [=](const Moments& row) { return static_cast<float>(row.*member); });
  };
  store_statistic(1, &Moments::mean);
  store_statistic(2, &Moments::inverse_deviation);
}

/// y = x / sqrt(mean(x^2) + epsilon) * scale over the axes from `axis` on.
void rms_normalization(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& scale = input(context, 1);
  require_same_dtype(x, scale);
  const int64_t axis = normalize_axis(context.attributes().get_int("axis", -1), x.rank());
  const double epsilon = context.attributes().get_float("epsilon", 1e-5F);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  const int64_t columns =
      element_count(std::span<const int64_t>(x.shape()).subspan(static_cast<size_t>(axis)));
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    const T* factors = elements<T>(scale);
    T* to = mutable_elements<T>(y);
    double inverse = 0.0;
    for_each_broadcast<1>(
        x.shape(), {&scale.shape()}, [&](int64_t i, const std::array<int64_t, 1>& at) {
          if (i % columns == 0) {
            const double squares = std::inner_product(from + i, from + i + columns, from + i, 0.0);
            inverse = 1.0 / std::sqrt(squares / static_cast<double>(columns) + epsilon);
          }
          to[i] = static_cast<T>(static_cast<double>(from[i]) * inverse * factors[at[0]]);
        });
  });
}

/// Normalises each of `groups` groups of channels of [batch, channels, ...]; scale and bias per
/// channel.
void normalize_groups(OperatorContext& context, int64_t groups) {
  const Tensor& x = input(context, 0);
  const int64_t channels = channels_of(x);
  require(groups > 0 && channels % groups == 0, "num_groups does not divide the channels");
  const double epsilon = context.attributes().get_float("epsilon", 1e-5F);
  const std::vector<double> scale = channel_parameters(context, 1, channels);
  const std::vector<double> bias = channel_parameters(context, 2, channels);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  if (x.size() == 0) return;
  const int64_t pixels = x.size() / x.shape()[0] / channels;
  const int64_t group_channels = channels / groups;
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for (int64_t group = 0; group < x.shape()[0] * groups; ++group) {
      const int64_t first = group * group_channels;  // channel, batches counted through
      const Moments moments = moments_of(from + first * pixels, group_channels * pixels, epsilon);
      for (int64_t c = first; c < first + group_channels; ++c) {
        const auto channel = static_cast<size_t>(c % channels);
        for (int64_t i = c * pixels; i < (c + 1) * pixels; ++i) {
          const double centred = static_cast<double>(from[i]) - moments.mean;
          to[i] =
              static_cast<T>(centred * moments.inverse_deviation * scale[channel] + bias[channel]);
        }
      }
    }
  });
}

void group_normalization(OperatorContext& context) {
  normalize_groups(context, context.attributes().get_int("num_groups", 0));
}

void instance_normalization(OperatorContext& context) {
  const int64_t channels = channels_of(input(context, 0));
  if (channels == 0) return store(context, 0, input(context, 0));
  normalize_groups(context, channels);
}

/// y = (x - mean) / sqrt(variance + epsilon) * scale + bias with the stored statistics.
void batch_normalization(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  require(context.attributes().get_int("training_mode", 0) == 0, "training_mode is not supported");
  const double epsilon = context.attributes().get_float("epsilon", 1e-5F);
  const int64_t channels = x.rank() == 1 ? 1 : channels_of(x);
  const std::vector<double> scale = channel_parameters(context, 1, channels);
  const std::vector<double> bias = channel_parameters(context, 2, channels);
  const std::vector<double> mean = channel_parameters(context, 3, channels);
  const std::vector<double> variance = channel_parameters(context, 4, channels);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  if (x.size() == 0) return;
  const int64_t pixels = x.size() / x.shape()[0] / channels;
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for (int64_t c = 0; c < x.shape()[0] * channels; ++c) {
      const auto channel = static_cast<size_t>(c % channels);
      const double factor = scale[channel] / std::sqrt(variance[channel] + epsilon);
      for (int64_t i = c * pixels; i < (c + 1) * pixels; ++i) {
        to[i] =
            static_cast<T>((static_cast<double>(from[i]) - mean[channel]) * factor + bias[channel]);
      }
    }
  });
}

/// y = x / (bias + alpha / size * sum of x^2 over `size` neighbouring channels)^beta.
void local_response_normalization(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const int64_t channels = channels_of(x);
  const AttributeMap& attributes = context.attributes();
  const int64_t size = attributes.get_int("size", 0);
  require(size >= 1 && size < (int64_t{1} << 40), "size out of range");
  const double alpha = attributes.get_float("alpha", 1e-4F);
  const double beta = attributes.get_float("beta", 0.75F);
  const double bias = attributes.get_float("bias", 1.0F);
  const AxisView view = view_along(x.shape(), 1);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    for (int64_t i = 0; i < x.size(); ++i) {
      const int64_t c = i / view.inner % channels;
      const T* at = elements<T>(x) + i;
      double sum = 0.0;
      const int64_t first = std::max(-c, -((size - 1) / 2));
      const int64_t last = std::min(channels - 1 - c, size / 2);
      for (int64_t d = first; d <= last; ++d) {
        const double value = static_cast<double>(at[d * view.inner]);
        sum += value * value;
      }
      const double divisor = std::pow(bias + alpha / static_cast<double>(size) * sum, beta);
      mutable_elements<T>(y)[i] = static_cast<T>(static_cast<double>(*at) / divisor);
    }
  });
}

/// y = (x - mean) / sqrt(variance) over `axes`.
void mean_variance_normalization(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const std::vector<int64_t> axes =
      normalized_axes(context.attributes().get_ints("axes", {0, 2, 3}), x.rank());
  Shape kept = x.shape();
  for (const int64_t axis : axes) kept[static_cast<size_t>(axis)] = 1;
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  if (x.size() == 0) return;
  const auto count = static_cast<double>(x.size()) / static_cast<double>(element_count(kept));
  std::vector<double> sums(static_cast<size_t>(element_count(kept)), 0.0);
  std::vector<double> squares = sums;
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const auto each = [&](auto&& f) {
      for_each_broadcast<1>(x.shape(), {&kept}, [&](int64_t i, const std::array<int64_t, 1>& at) {
        f(i, static_cast<size_t>(at[0]), static_cast<double>(elements<T>(x)[i]));
      });
    };
    T* to = mutable_elements<T>(y);
    each([&](int64_t, size_t s, double value) { sums[s] += value / count; });
    each([&](int64_t, size_t s, double value) {
      squares[s] += (value - sums[s]) * (value - sums[s]) / count;
    });
    // The constant keeps a flat input from dividing by zero; it is the specification's.
    each([&](int64_t i, size_t s, double value) {
      to[i] = static_cast<T>((value - sums[s]) / (std::sqrt(squares[s]) + 1e-9));
    });
  });
}

/// Runs `f(offset, stride, count)` for each line of x along the attribute `axis`.
template <class F>
void for_each_line(const Tensor& x, int64_t axis, F&& f) {
  const AxisView view = view_along(x.shape(), normalize_axis(axis, x.rank()));
  for (int64_t o = 0; o < view.outer; ++o) {
    for (int64_t i = 0; i < view.inner; ++i) {
      f(o * view.axis * view.inner + i, view.inner, view.axis);
    }
  }
}

/// y = x / norm along the axis; a line of norm 0 stays 0.
void lp_normalization(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const int64_t p = context.attributes().get_int("p", 2);
  require(p == 1 || p == 2, "p must be 1 or 2");
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    const int64_t axis = context.attributes().get_int("axis", -1);
    for_each_line(x, axis, [&](int64_t start, int64_t stride, int64_t count) {
      double sum = 0.0;
      for (int64_t i = 0; i < count; ++i) {
        const double value = static_cast<double>(from[start + i * stride]);
        sum += p == 1 ? std::abs(value) : value * value;
      }
      const double norm = p == 1 ? sum : std::sqrt(sum);
      for (int64_t i = 0; i < count; ++i) {
        const double value = static_cast<double>(from[start + i * stride]);
        to[start + i * stride] = static_cast<T>(norm == 0.0 ? 0.0 : value / norm);
      }
    });
  });
}

/// Softmax (kLog false) or its logarithm, shifted by the maximum so that nothing overflows.
template <bool kLog>
void softmax(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  if (x.rank() == 0) fail("softmax of a scalar");
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    const int64_t axis = context.attributes().get_int("axis", -1);
    for_each_line(x, axis, [&](int64_t start, int64_t stride, int64_t count) {
      if (count == 0) return;
      double highest = static_cast<double>(from[start]);
      for (int64_t i = 1; i < count; ++i) {
        highest = std::max(highest, static_cast<double>(from[start + i * stride]));
      }
      double sum = 0.0;
      for (int64_t i = 0; i < count; ++i) {
        sum += std::exp(static_cast<double>(from[start + i * stride]) - highest);
      }
      for (int64_t i = 0; i < count; ++i) {
        const double shifted = static_cast<double>(from[start + i * stride]) - highest;
        to[start + i * stride] =
            static_cast<T>(kLog ? shifted - std::log(sum) : std::exp(shifted) / sum);
      }
    });
  });
}

/// 1 at the first maximum along the axis, 0 elsewhere.
void hardmax(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  Tensor& y = output(context, 0, x.dtype(), x.shape());
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    const int64_t axis = context.attributes().get_int("axis", -1);
    for_each_line(x, axis, [&](int64_t start, int64_t stride, int64_t count) {
      int64_t best = 0;
      for (int64_t i = 0; i < count; ++i) {
        if (from[start + i * stride] > from[start + best * stride]) best = i;
        to[start + i * stride] = T{0};
      }
      if (count > 0) to[start + best * stride] = T{1};
    });
  });
}

constexpr OperatorEntry kEntries[] = {
    {"BatchNormalization", widened<batch_normalization>},
    {"GroupNormalization", widened<group_normalization>},
    {"Hardmax", widened<hardmax>},
    {"InstanceNormalization", widened<instance_normalization>},
    {"LRN", widened<local_response_normalization>},
    {"LayerNormalization", widened<layer_normalization>},
    {"LogSoftmax", widened<softmax<true>>},
    {"LpNormalization", widened<lp_normalization>},
    {"MeanVarianceNormalization", widened<mean_variance_normalization>},
    {"RMSNorm", widened<rms_normalization>},
    {"Softmax", widened<softmax<false>>},
};

}  // namespace

std::span<const OperatorEntry> normalization_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
