#include <limits>

#include "train/ops/common.h"
#include "train/ops/families.h"
#include "train/ops/window.h"

namespace ounce::train::ops {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Pads `x` so that the windows fit exactly: no more behind the last one than it reaches.
at::Tensor pad_to_windows(const at::Tensor& x, const ForwardWindow& window, double value) {
  std::vector<int64_t> end;
  for (size_t i = 0; i < window.axes.size(); ++i) {
    const ounce::ops::WindowAxis& axis = window.axes[i];
    const int64_t reach = (window.output[i] - 1) * axis.stride + axis.extent();
    end.push_back(reach - axis.pad_begin - x.size(static_cast<int64_t>(i) + 2));
  }
  return pad_last(x, window.pad_begin(), end, value);
}

/// The windows of a tensor padded by `pad_to_windows`: [batch, channels, positions..., taps].
at::Tensor windows_of(const at::Tensor& padded, const ForwardWindow& window) {
  at::Tensor view = padded;
  for (size_t i = 0; i < window.axes.size(); ++i) {
    const ounce::ops::WindowAxis& axis = window.axes[i];
    view = view.unfold(static_cast<int64_t>(i) + 2, axis.extent(), axis.stride)
               .slice(-1, 0, axis.extent(), axis.dilation);
  }
  return view.flatten(2 + static_cast<int64_t>(window.axes.size()));
}

/// The sum of each window; outside of the input stand zeros.
at::Tensor window_sums(const at::Tensor& x, const ForwardWindow& window) {
  const at::Tensor padded = pad_to_windows(x, window, 0.0);
  const std::vector<int64_t> dilation = window.dilation();
  const bool dense = std::all_of(dilation.begin(), dilation.end(), [](auto d) { return d == 1; });
  if (dense && window.axes.size() == 2) {
    return at::avg_pool2d(padded, window.kernel(), window.stride(), 0, false, true, 1);
  }
  return windows_of(padded, window).sum(-1);
}

/// How many elements of each window count: those of the input, with `pads` the padding's too.
at::Tensor window_counts(const at::Tensor& x, const ForwardWindow& window, bool pads) {
  std::vector<int64_t> shape = {1, 1};
  shape.insert(shape.end(), x.sizes().begin() + 2, x.sizes().end());
  at::Tensor ones = at::ones(shape, x.options().requires_grad(false));
  if (!pads) return window_sums(ones, window);
  // Padding counts as far as it was asked for, and not where rounding up made a window reach on.
  std::vector<int64_t> end = window.numbers(&ounce::ops::WindowAxis::pad_end);
  ones = pad_last(ones, window.pad_begin(), end, 1.0);
  ForwardWindow padded = window;
  for (ounce::ops::WindowAxis& axis : padded.axes) axis.pad_begin = 0;
  return window_sums(ones, padded);
}

Outputs average_pool(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const ForwardWindow window(call);
  const bool pads = call.attributes().get_int("count_include_pad", 0) != 0;
  return {window_sums(x, window) / window_counts(x, window, pads)};
}

/// Positions [batch, channels, ...] in a padded plane as positions in the whole tensor x.
at::Tensor whole_indices(const at::Tensor& positions, const at::Tensor& x, const at::Tensor& padded,
                         const ForwardWindow& window, bool by_columns) {
  at::Tensor rest = positions;
  at::Tensor index = at::zeros_like(positions);
  int64_t column_stride = element_count(x.sizes().slice(2));
  int64_t stride = 1;
  for (size_t i = window.axes.size(); i-- > 0;) {
    const int64_t extent = x.size(static_cast<int64_t>(i) + 2);
    const int64_t wide = padded.size(static_cast<int64_t>(i) + 2);
    column_stride /= extent;
    const at::Tensor at = rest.remainder(wide) - window.axes[i].pad_begin;
    index = index + at * (by_columns ? column_stride : stride);
    rest = rest.div(wide, "floor");
    stride *= extent;
  }
  const at::Tensor planes = at::arange(x.size(0) * x.size(1), positions.options()) * stride;
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = x.size(0);
  shape[1] = x.size(1);
  return index + planes.reshape(shape);
}

/// The maximum of each window and where in the input it stands.
Outputs max_pool(const OpCall& call) {
  const at::Tensor& given = call.input(0);
  const ForwardWindow window(call);
  // 8-bit integers are floats exactly, and libtorch pools only those.
  const at::Tensor x = given.is_floating_point() ? given : given.to(at::kFloat);
  const at::Tensor padded = pad_to_windows(x, window, -kInfinity);
  std::vector<int64_t> kernel = window.kernel();
  std::vector<int64_t> stride = window.stride();
  std::vector<int64_t> dilation = window.dilation();
  at::Tensor values, positions;
  switch (window.axes.size()) {
    case 1:
      std::tie(values, positions) =
          at::max_pool1d_with_indices(padded, kernel, stride, 0, dilation);
      break;
    case 2:
      std::tie(values, positions) =
          at::max_pool2d_with_indices(padded, kernel, stride, 0, dilation);
      break;
    case 3:
      std::tie(values, positions) =
          at::max_pool3d_with_indices(padded, kernel, stride, 0, dilation);
      break;
    default:
      throw Error("pooling over " + std::to_string(window.axes.size()) + " dimensions", {},
                  "at most 3");
  }
  Outputs outputs = {values.to(given.scalar_type())};
  if (wants_output(call, 1)) {
    const bool by_columns = call.attributes().get_int("storage_order", 0) != 0;
    outputs.push_back(whole_indices(positions, x, padded, window, by_columns));
  }
  return outputs;
}

double power_of(const OpCall& call) {
  const auto p = static_cast<double>(call.attributes().get_int("p", 2));
  require(p >= 1.0, "p must be at least 1");
  return p;
}

/// (sum |x|^p)^(1/p) of each window.
Outputs lp_pool(const OpCall& call) {
  const double p = power_of(call);
  const ForwardWindow window(call);
  const at::Tensor sums = window_sums(call.input(0).abs().pow(p), window);
  // A root is infinitely steep at 0; windows of zeros (behind a Relu) get no gradient.
  const at::Tensor empty = sums == 0;
  return {sums.masked_fill(empty, 1).pow(1.0 / p).masked_fill(empty, 0)};
}

/// The dimensions behind [batch, channels].
std::vector<int64_t> spatial_axes(const at::Tensor& x) {
  require(x.dim() >= 2, "an input of rank >= 2, [batch, channels, ...], wanted");
  std::vector<int64_t> axes;
  for (int64_t axis = 2; axis < x.dim(); ++axis) axes.push_back(axis);
  return axes;
}

Outputs global_average_pool(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const std::vector<int64_t> axes = spatial_axes(x);
  return {axes.empty() ? x : x.mean(axes, true)};
}

Outputs global_max_pool(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const std::vector<int64_t> axes = spatial_axes(x);
  return {axes.empty() ? x : x.amax(axes, true)};
}

Outputs global_lp_pool(const OpCall& call) {
  const at::Tensor& x = call.input(0);
  const std::vector<int64_t> axes = spatial_axes(x);
  return {axes.empty() ? x.abs() : at::linalg_vector_norm(x, power_of(call), axes, true)};
}

constexpr OpRow kRows[] = {
    {"AveragePool", average_pool},
    {"GlobalAveragePool", global_average_pool},
    {"GlobalLpPool", global_lp_pool},
    {"GlobalMaxPool", global_max_pool},
    {"LpPool", lp_pool},
    {"MaxPool", max_pool},
};

}  // namespace

Family pooling_ops() {
  return kRows;
}

}  // namespace ounce::train::ops
