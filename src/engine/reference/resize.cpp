#include "engine/reference/elementwise.h"
#include "engine/reference/families.h"
#include "graph/ops/resample.h"

namespace ounce::engine::reference {
namespace {

/// One axis of [outer, in, inner] doubles resampled to [outer, out, inner].
std::vector<double> resample(const std::vector<double>& x, const AxisView& view,
                             const std::vector<std::vector<ops::Tap>>& taps) {
  const auto out = static_cast<int64_t>(taps.size());
  std::vector<double> y(static_cast<size_t>(view.outer * out * view.inner), 0.0);
  for (int64_t o = 0; o < view.outer; ++o) {
    for (int64_t p = 0; p < out; ++p) {
      double* to = y.data() + (o * out + p) * view.inner;
      for (const ops::Tap& tap : taps[static_cast<size_t>(p)]) {
        const double* from = x.data() + (o * view.axis + tap.index) * view.inner;
        for (int64_t i = 0; i < view.inner; ++i) to[i] += tap.weight * from[i];
      }
    }
  }
  return y;
}

bool is_given(const OperatorContext& context, size_t i) {
  return context.has_input(i) && context.inputs[i].size() > 0;
}

ops::ResizeOperands operands_of(const OperatorContext& context, const ops::Resampling& settings) {
  ops::ResizeOperands operands;
  if (is_given(context, 3)) {
    operands.sizes = integers(context, 3);
  } else {
    operands.scales = input(context, 2).to_f32();
  }
  if (settings.crops()) operands.roi = input(context, 1).to_f32();
  return operands;
}

/// Copies elements: exact for every dtype.
void resize_nearest(const Tensor& x, Tensor& y, const std::vector<ops::ResampledLine>& lines) {
  const std::vector<int64_t> strides = row_major_strides(x.shape());
  with_bits_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for (Walker<0> walker(y.shape(), {}); !walker.done(); walker.next()) {
      int64_t offset = 0;
      for (size_t axis = 0; axis < lines.size(); ++axis) {
        const auto at = static_cast<size_t>(walker.index()[axis]);
        offset += lines[axis].taps[at][0].index * strides[axis];
      }
      *to++ = from[offset];
    }
  });
}

void resize_filtered(const Tensor& x, Tensor& y, const std::vector<ops::ResampledLine>& lines) {
  with_number_type(x.dtype(), [&]<class T>(Type<T>) {
    std::vector<double> values(elements<T>(x), elements<T>(x) + x.size());
    Shape shape = x.shape();
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      if (lines[axis].is_identity(shape[axis])) continue;
      const auto& taps = lines[axis].taps;
      values = resample(values, view_along(shape, static_cast<int64_t>(axis)), taps);
      shape[axis] = static_cast<int64_t>(taps.size());
    }
    T* to = mutable_elements<T>(y);
    for (const double value : values) *to++ = saturated<T>(value);
  });
}

/// Fills the elements whose source lies outside the input (tf_crop_and_resize only).
void fill_outside(const ops::Resampling& settings, const std::vector<ops::ResampledLine>& lines,
                  Tensor& y) {
  with_float_type(y.dtype(), [&]<class T>(Type<T>) {
    T* to = mutable_elements<T>(y);
    for (Walker<0> walker(y.shape(), {}); !walker.done(); walker.next(), ++to) {
      for (size_t axis = 0; axis < lines.size(); ++axis) {
        if (lines[axis].outside[static_cast<size_t>(walker.index()[axis])]) {
          *to = static_cast<T>(settings.extrapolation);
        }
      }
    }
  });
}

void resize(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const ops::Resampling settings(context.attributes());
  Tensor& y = planned_output(context, 0);
  if (y.size() == 0) return;
  std::vector<ops::ResampledLine> lines;
  for (const ops::ResampledAxis& axis : ops::resampled_axes(
           settings, context.attributes(), operands_of(context, settings), x.shape(), y.shape())) {
    lines.push_back(ops::resample_line(settings, axis));
  }
  settings.mode == ops::Interpolation::nearest ? resize_nearest(x, y, lines)
                                               : resize_filtered(x, y, lines);
  if (settings.crops()) fill_outside(settings, lines, y);
}

constexpr OperatorEntry kEntries[] = {{"Resize", widened<resize>}};

}  // namespace

std::span<const OperatorEntry> resize_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
