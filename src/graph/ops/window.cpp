#include "graph/ops/window.h"

#include <algorithm>

#include "graph/error.h"
#include "graph/ops/shape_rules.h"

namespace ounce::ops {
namespace {

/// An attribute with one positive number an axis.
std::vector<int64_t> read_axes(const Node& node, const char* name, size_t rank, int64_t fallback,
                               int64_t least) {
  std::vector<int64_t> numbers = node.attributes.get_ints(name);
  if (numbers.empty()) numbers.assign(rank, fallback);
  if (numbers.size() != rank) {
    throw Error("attribute '" + std::string(name) + "' has " + std::to_string(numbers.size()) +
                " entries for " + std::to_string(rank) + " spatial axes");
  }
  for (const int64_t number : numbers) {
    if (number < least || number > kMaxDim) {
      throw Error("attribute '" + std::string(name) + "' holds " + std::to_string(number));
    }
  }
  return numbers;
}

void split_padding(const Window& window, WindowAxis& axis, int64_t total) {
  total = std::max<int64_t>(total, 0);
  const bool more_at_end = window.auto_pad != "SAME_LOWER";
  axis.pad_begin = more_at_end ? total / 2 : total - total / 2;
  axis.pad_end = total - axis.pad_begin;
}

bool is_same(const Window& window) {
  return window.auto_pad == "SAME_UPPER" || window.auto_pad == "SAME_LOWER";
}

}  // namespace

Window read_window(const Node& node, size_t spatial_rank, const Shape& kernel) {
  Window window;
  window.auto_pad = node.attributes.get_string("auto_pad", "NOTSET");
  if (window.auto_pad.empty()) window.auto_pad = "NOTSET";
  if (window.auto_pad != "NOTSET" && window.auto_pad != "VALID" && !is_same(window)) {
    throw Error("unknown auto_pad '" + window.auto_pad + "'");
  }
  window.ceil_mode = node.attributes.get_int("ceil_mode", 0) != 0;
  const auto sizes = read_axes(node, "kernel_shape", spatial_rank, 0, kernel.empty() ? 1 : 0);
  const auto strides = read_axes(node, "strides", spatial_rank, 1, 1);
  const auto dilations = read_axes(node, "dilations", spatial_rank, 1, 1);
  const auto output_padding = read_axes(node, "output_padding", spatial_rank, 0, 0);
  const auto pads = read_axes(node, "pads", 2 * spatial_rank, 0, 0);
  window.axes.resize(spatial_rank);
  for (size_t i = 0; i < spatial_rank; ++i) {
    WindowAxis& axis = window.axes[i];
    axis.kernel = kernel.empty() ? sizes[i] : kernel[i];
    if (axis.kernel < 1) throw Error("kernel of size " + std::to_string(axis.kernel));
    if (!kernel.empty() && node.attributes.has("kernel_shape") && sizes[i] != kernel[i]) {
      throw Error("kernel_shape " + to_string(sizes) + " contradicts the weights' " +
                  to_string(kernel));
    }
    axis.stride = strides[i];
    axis.dilation = dilations[i];
    checked_product(axis.kernel, axis.dilation);
    axis.output_padding = output_padding[i];
    if (window.auto_pad == "NOTSET") {
      axis.pad_begin = pads[i];
      axis.pad_end = pads[i + spatial_rank];
    }
  }
  return window;
}

bool keeps_extent(const Window& window, const WindowAxis& axis) {
  if (axis.stride != 1) return false;
  return is_same(window) || (window.auto_pad == "NOTSET" &&
                             checked_sum(axis.pad_begin, axis.pad_end) == axis.extent() - 1);
}

int64_t resolve_forward(const Window& window, WindowAxis& axis, int64_t input) {
  const int64_t extent = axis.extent();
  if (is_same(window)) {
    const int64_t output = input == 0 ? 0 : (input - 1) / axis.stride + 1;
    split_padding(
        window, axis,
        checked_sum(checked_product(std::max<int64_t>(output - 1, 0), axis.stride), extent) -
            input);
    return output;
  }
  const int64_t padded = checked_sum(checked_sum(input, axis.pad_begin), axis.pad_end);
  if (padded < extent) {
    throw Error("a window of " + std::to_string(extent) + " does not fit into " +
                std::to_string(padded) + " padded elements");
  }
  int64_t output = (padded - extent) / axis.stride + 1;
  if (window.ceil_mode) {
    if ((padded - extent) % axis.stride != 0) ++output;
    // A last window counts only when it begins inside the input or the padding before it.
    if ((output - 1) * axis.stride >= input + axis.pad_begin) --output;
  }
  return output;
}

int64_t resolve_transposed(const Window& window, WindowAxis& axis, int64_t input, int64_t wanted) {
  if (input == 0) throw Error("transposed convolution of an empty axis");
  const int64_t full = checked_sum(
      checked_sum(checked_product(input - 1, axis.stride), axis.extent()), axis.output_padding);
  if (wanted >= 0) {
    split_padding(window, axis, full - wanted);
    // Beyond the natural size the output is padded with zeros at its end.
    axis.output_padding += std::max<int64_t>(wanted - full, 0);
    return wanted;
  }
  if (is_same(window)) {
    const int64_t output = checked_product(input, axis.stride);
    split_padding(window, axis, full - output);
    axis.output_padding += std::max<int64_t>(output - full, 0);
    return output;
  }
  const int64_t output = full - axis.pad_begin - axis.pad_end;
  if (output < 1) throw Error("padding removes the whole output");
  return output;
}

std::vector<int64_t> wanted_output_shape(const Node& node, size_t spatial_rank) {
  std::vector<int64_t> wanted = node.attributes.get_ints("output_shape");
  if (wanted.empty()) return std::vector<int64_t>(spatial_rank, -1);
  if (wanted.size() == spatial_rank + 2) wanted.erase(wanted.begin(), wanted.begin() + 2);
  if (wanted.size() != spatial_rank) {
    throw Error("output_shape " + to_string(wanted) + " does not fit " +
                std::to_string(spatial_rank) + " spatial axes");
  }
  for (const int64_t extent : wanted) {
    if (extent < 1 || extent > kMaxDim) throw Error("output_shape holds " + std::to_string(extent));
  }
  return wanted;
}

}  // namespace ounce::ops
