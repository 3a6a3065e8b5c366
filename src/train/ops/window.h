#pragma once

#include "graph/ops/window.h"
#include "train/ops/common.h"

namespace ounce::train::ops {

/// The window of a convolution or pooling over the spatial dimensions of x [batch, channels, ...],
/// padding resolved, and the extents that come out.
struct ForwardWindow {
  std::vector<ounce::ops::WindowAxis> axes;
  std::vector<int64_t> output;

  /// `kernel`: spatial dimensions of the weights, empty where the attribute tells.
  ForwardWindow(const OpCall& call, const std::vector<int64_t>& kernel = {}) {
    const at::Tensor& x = call.input(0);
    require(x.dim() >= 3, "an input of rank >= 3, [batch, channels, ...], wanted");
    const auto rank = static_cast<size_t>(x.dim() - 2);
    ounce::ops::Window window = ounce::ops::read_window(call.node, rank, kernel);
    for (size_t i = 0; i < rank; ++i) {
      output.push_back(
          ounce::ops::resolve_forward(window, window.axes[i], x.size(static_cast<int64_t>(i) + 2)));
    }
    axes = std::move(window.axes);
  }

  std::vector<int64_t> numbers(int64_t ounce::ops::WindowAxis::*member) const {
    std::vector<int64_t> result;
    for (const ounce::ops::WindowAxis& axis : axes) result.push_back(axis.*member);
    return result;
  }
  std::vector<int64_t> kernel() const { return numbers(&ounce::ops::WindowAxis::kernel); }
  std::vector<int64_t> stride() const { return numbers(&ounce::ops::WindowAxis::stride); }
  std::vector<int64_t> dilation() const { return numbers(&ounce::ops::WindowAxis::dilation); }
  std::vector<int64_t> pad_begin() const { return numbers(&ounce::ops::WindowAxis::pad_begin); }
};

/// Pads (or, by negative numbers, crops) the last dimensions of `x` by `begin` and `end`.
inline at::Tensor pad_last(const at::Tensor& x, const std::vector<int64_t>& begin,
                           const std::vector<int64_t>& end, double value = 0.0) {
  std::vector<int64_t> pads;  // libtorch counts from the last dimension
  bool nothing = true;
  for (size_t i = begin.size(); i-- > 0;) {
    pads.insert(pads.end(), {begin[i], end[i]});
    nothing = nothing && begin[i] == 0 && end[i] == 0;
  }
  return nothing ? x : at::constant_pad_nd(x, pads, value);
}

}  // namespace ounce::train::ops
