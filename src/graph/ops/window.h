#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace ounce::ops {

/// The sliding window of a convolution or pooling along one spatial axis.
struct WindowAxis {
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t dilation = 1;
  int64_t pad_begin = 0;
  int64_t pad_end = 0;
  int64_t output_padding = 0;  // ConvTranspose

  /// Input elements that the dilated kernel spans.
  int64_t extent() const { return (kernel - 1) * dilation + 1; }
};

/// The sliding window over all spatial axes.
struct Window {
  std::vector<WindowAxis> axes;
  std::string auto_pad = "NOTSET";
  bool ceil_mode = false;
};

/// Reads and checks kernel_shape, strides, dilations, pads, output_padding, auto_pad and ceil_mode.
/// `kernel` are the spatial dimensions of the weights; empty where the attribute alone tells.
/// Throws `Error` for zero or negative strides, contradicting lengths and absurd sizes.
Window read_window(const Node& node, size_t spatial_rank, const Shape& kernel = {});

/// Whether the output is as long as the input, however long that is.
bool keeps_extent(const Window& window, const WindowAxis& axis);

/// Output extent of a convolution or pooling over `input` elements; fills the padding that auto_pad
/// stands for. Throws `Error` when the window does not fit.
int64_t resolve_forward(const Window& window, WindowAxis& axis, int64_t input);

/// The same for ConvTranspose; `wanted` is the entry of its output_shape attribute, -1 without.
int64_t resolve_transposed(const Window& window, WindowAxis& axis, int64_t input, int64_t wanted);

/// The explicit output_shape of a ConvTranspose for each axis, -1 where it has none.
std::vector<int64_t> wanted_output_shape(const Node& node, size_t spatial_rank);

}  // namespace ounce::ops
