#pragma once

#include "engine/reference/sliding_window.h"

namespace ounce::engine::reference {

/// Shapes of a convolution: x [batch, channels, ...], w [filters, channels / group, kernel...].
struct Convolution {
  int64_t batch = 0;
  int64_t channels = 0;
  int64_t filters = 0;
  int64_t group = 1;
  Sliding sliding;

  Convolution(const Node& node, const Tensor& x, const Tensor& w) {
    const std::span<const int64_t> spatial = spatial_of(x.shape());
    require(w.rank() == x.rank(), "input and weights differ in rank");
    group = node.attributes.get_int("group", 1);
    batch = x.shape()[0], channels = x.shape()[1], filters = w.shape()[0];
    require(group > 0 && filters % group == 0, "group does not divide the filters");
    require(channels % group == 0 && channels / group == w.shape()[1],
            "input channels are not weight channels x group");
    const std::span<const int64_t> kernel = spatial_of(w.shape());
    sliding = forward_sliding(node, spatial, Shape(kernel.begin(), kernel.end()));
  }

  Shape output_shape() const {
    Shape shape = {batch, filters};
    shape.insert(shape.end(), sliding.dense.begin(), sliding.dense.end());
    return shape;
  }
};

/// Calls `emit(index of the output element, filter, sum)` with A-typed sums of products; padding
/// contributes 0.
template <class T, class A, class Emit>
void convolve(const Convolution& shape, const T* x, const T* w, Emit&& emit) {
  const int64_t in_pixels = element_count(shape.sliding.strided);
  const int64_t out_pixels = element_count(shape.sliding.dense);
  const Shape kernel = shape.sliding.kernel();
  const int64_t taps = element_count(kernel);
  const int64_t group_channels = shape.channels / shape.group;
  const int64_t group_filters = shape.filters / shape.group;
  std::vector<A> sums(static_cast<size_t>(out_pixels));
  for (int64_t n = 0; n < shape.batch; ++n) {
    for (int64_t m = 0; m < shape.filters; ++m) {
      std::fill(sums.begin(), sums.end(), A{0});
      for (int64_t c = 0; c < group_channels; ++c) {
        const int64_t channel = n * shape.channels + m / group_filters * group_channels + c;
        const T* plane = x + channel * in_pixels;
        const T* weights = w + (m * group_channels + c) * taps;
        for (Walker<0> tap(kernel, {}); !tap.done(); tap.next()) {
          const A weight = static_cast<A>(*weights++);
          for_each_run(shape.sliding, tap.index(),
                       [&](int64_t out, int64_t in, int64_t count, int64_t stride) {
                         for (int64_t i = 0; i < count; ++i) {
                           sums[static_cast<size_t>(out + i)] +=
                               weight * static_cast<A>(plane[in + i * stride]);
                         }
                       });
        }
      }
      for (int64_t i = 0; i < out_pixels; ++i) {
        emit((n * shape.filters + m) * out_pixels + i, m, sums[static_cast<size_t>(i)]);
      }
    }
  }
}

}  // namespace ounce::engine::reference
