#include "engine/reference/convolution.h"

#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

/// The bias of each of `filters` filters; zeros when omitted.
template <class T>
std::vector<T> bias_values(const OperatorContext& context, size_t i, int64_t filters) {
  std::vector<T> bias(static_cast<size_t>(filters), T{0});
  if (!context.has_input(i)) return bias;
  require(context.inputs[i].size() == filters, "not one bias a filter");
  const std::span<const T> values = context.inputs[i].data<T>();
  bias.assign(values.begin(), values.end());
  return bias;
}

void conv(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& w = input(context, 1);
  require(x.dtype() == w.dtype(), "input and weights differ in dtype");
  const Convolution shape(context.node, x, w);
  Tensor& y = output(context, 0, x.dtype(), shape.output_shape());
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const std::vector<T> bias = bias_values<T>(context, 2, shape.filters);
    T* to = mutable_elements<T>(y);
    convolve<T, double>(shape, elements<T>(x), elements<T>(w),
                        [&](int64_t i, int64_t filter, double sum) {
                          to[i] = static_cast<T>(sum + bias[static_cast<size_t>(filter)]);
                        });
  });
}

/// x [batch, channels, ...], w [channels, filters / group, kernel...]: each input element spreads
/// its kernel over the output.
struct TransposedConvolution {
  int64_t batch, channels, filters, group;
  Sliding sliding;

  TransposedConvolution(const Node& node, const Tensor& x, const Tensor& w) {
    const std::span<const int64_t> spatial = spatial_of(x.shape());
    require(w.rank() == x.rank(), "input and weights differ in rank");
    group = node.attributes.get_int("group", 1);
    batch = x.shape()[0], channels = x.shape()[1];
    require(channels == w.shape()[0], "input channels are not the weights' first dimension");
    require(group > 0 && channels % group == 0, "group does not divide the channels");
    filters = checked_product(w.shape()[1], group);
    const std::span<const int64_t> kernel = spatial_of(w.shape());
    ops::Window window =
        ops::read_window(node, spatial.size(), Shape(kernel.begin(), kernel.end()));
    const std::vector<int64_t> wanted = ops::wanted_output_shape(node, spatial.size());
    sliding.dense.assign(spatial.begin(), spatial.end());
    for (size_t i = 0; i < spatial.size(); ++i) {
      sliding.strided.push_back(
          ops::resolve_transposed(window, window.axes[i], spatial[i], wanted[i]));
    }
    sliding.axes = std::move(window.axes);
  }
};

/// Sums of one output plane (sample n, filter m).
template <class T>
void spread_plane(const TransposedConvolution& shape, const T* x, const T* w, int64_t n, int64_t m,
                  std::vector<double>& sums) {
  const int64_t in_pixels = element_count(shape.sliding.dense);
  const Shape kernel = shape.sliding.kernel();
  const int64_t taps = element_count(kernel);
  const int64_t group_channels = shape.channels / shape.group;
  const int64_t group_filters = shape.filters / shape.group;
  for (int64_t c = 0; c < group_channels; ++c) {
    const int64_t channel = m / group_filters * group_channels + c;
    const T* plane = x + (n * shape.channels + channel) * in_pixels;
    const T* weights = w + (channel * group_filters + m % group_filters) * taps;
    for (Walker<0> tap(kernel, {}); !tap.done(); tap.next()) {
      const double weight = static_cast<double>(*weights++);
      for_each_run(shape.sliding, tap.index(),
                   [&](int64_t in, int64_t out, int64_t count, int64_t stride) {
                     for (int64_t i = 0; i < count; ++i) {
                       sums[static_cast<size_t>(out + i * stride)] +=
                           weight * static_cast<double>(plane[in + i]);
                     }
                   });
    }
  }
}

void conv_transpose(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Tensor& w = input(context, 1);
  require(x.dtype() == w.dtype(), "input and weights differ in dtype");
  const TransposedConvolution shape(context.node, x, w);
  Shape out = {shape.batch, shape.filters};
  out.insert(out.end(), shape.sliding.strided.begin(), shape.sliding.strided.end());
  Tensor& y = output(context, 0, x.dtype(), out);
  const int64_t pixels = element_count(shape.sliding.strided);
  with_float_type(x.dtype(), [&]<class T>(Type<T>) {
    const std::vector<T> bias = bias_values<T>(context, 2, shape.filters);
    T* to = mutable_elements<T>(y);
    std::vector<double> sums(static_cast<size_t>(pixels));
    for (int64_t n = 0; n < shape.batch; ++n) {
      for (int64_t m = 0; m < shape.filters; ++m) {
        std::fill(sums.begin(), sums.end(), static_cast<double>(bias[static_cast<size_t>(m)]));
        spread_plane(shape, elements<T>(x), elements<T>(w), n, m, sums);
        for (const double sum : sums) *to++ = static_cast<T>(sum);
      }
    }
  });
}

constexpr OperatorEntry kEntries[] = {
    {"Conv", widened<conv>},
    {"ConvTranspose", widened<conv_transpose>},
};

}  // namespace

std::span<const OperatorEntry> convolution_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
