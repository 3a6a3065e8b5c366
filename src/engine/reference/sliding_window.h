#pragma once

#include <algorithm>

#include "engine/reference/common.h"
#include "graph/ops/window.h"

namespace ounce::engine::reference {

/// How a window slides: position p of the `dense` side meets, at kernel tap t, position
/// p * stride + t * dilation - pad_begin of the `strided` side. In a convolution or pooling the
/// output is dense and the input strided; in a transposed convolution the other way round.
struct Sliding {
  Shape dense;
  Shape strided;
  std::vector<ops::WindowAxis> axes;

  Shape kernel() const {
    Shape shape;
    for (const ops::WindowAxis& axis : axes) shape.push_back(axis.kernel);
    return shape;
  }
};

/// Calls `f(dense_offset, strided_offset, count, stride)` for each run of positions along the last
/// axis that meet inside the strided side at kernel tap `tap`: dense_offset + i meets
/// strided_offset + i * stride for i in [0, count). Padding is never visited.
template <class F>
void for_each_run(const Sliding& sliding, const Shape& tap, F&& f) {
  const size_t last = sliding.axes.size() - 1;
  const ops::WindowAxis& axis = sliding.axes[last];
  const int64_t shift = tap[last] * axis.dilation - axis.pad_begin;
  const int64_t begin = shift >= 0 ? 0 : (-shift + axis.stride - 1) / axis.stride;
  const int64_t room = sliding.strided[last] - 1 - shift;
  const int64_t end = room < 0 ? 0 : std::min(sliding.dense[last], room / axis.stride + 1);
  if (begin >= end) return;
  int64_t row = 0;
  for (Walker<0> walker(std::span(sliding.dense).first(last), {}); !walker.done();
       walker.next(), ++row) {
    int64_t strided_row = 0;
    bool inside = true;
    for (size_t i = 0; i < last && inside; ++i) {
      const ops::WindowAxis& outer = sliding.axes[i];
      const int64_t at =
          walker.index()[i] * outer.stride + tap[i] * outer.dilation - outer.pad_begin;
      inside = at >= 0 && at < sliding.strided[i];
      strided_row = strided_row * sliding.strided[i] + at;
    }
    if (!inside) continue;
    f(row * sliding.dense[last] + begin,
      strided_row * sliding.strided[last] + begin * axis.stride + shift, end - begin, axis.stride);
  }
}

/// The window of a convolution or pooling over `input`, with resolved padding and output extents.
/// `kernel`: spatial dimensions of the weights, empty where the attribute tells.
inline Sliding forward_sliding(const Node& node, std::span<const int64_t> input,
                               const Shape& kernel = {}) {
  ops::Window window = ops::read_window(node, input.size(), kernel);
  Sliding sliding;
  sliding.strided.assign(input.begin(), input.end());
  for (size_t i = 0; i < input.size(); ++i) {
    sliding.dense.push_back(ops::resolve_forward(window, window.axes[i], input[i]));
  }
  sliding.axes = std::move(window.axes);
  return sliding;
}

/// The spatial dimensions of [batch, channels, ...].
inline std::span<const int64_t> spatial_of(const Shape& shape) {
  require(shape.size() >= 3, "an input of rank >= 3, [batch, channels, ...], wanted");
  return std::span(shape).subspan(2);
}

}  // namespace ounce::engine::reference
