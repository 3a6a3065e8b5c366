#include <algorithm>
#include <numeric>
#include <optional>

#include "engine/reference/elementwise.h"
#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

enum class Interpolation { nearest, linear, cubic };

/// How one axis is resampled.
struct ResizedAxis {
  int64_t in = 0;
  int64_t out = 0;
  float scale = 1.0F;
  float roi_begin = 0.0F;
  float roi_end = 1.0F;
};

struct Settings {
  Interpolation mode = Interpolation::nearest;
  std::string coordinates;
  std::string rounding;
  float cubic_a = -0.75F;
  bool exclude_outside = false;
  bool antialias = false;
  float extrapolation = 0.0F;

  explicit Settings(const AttributeMap& attributes)
      : coordinates(attributes.get_string("coordinate_transformation_mode", "half_pixel")),
        rounding(attributes.get_string("nearest_mode", "round_prefer_floor")),
        cubic_a(attributes.get_float("cubic_coeff_a", -0.75F)),
        exclude_outside(attributes.get_int("exclude_outside", 0) != 0),
        antialias(attributes.get_int("antialias", 0) != 0),
        extrapolation(attributes.get_float("extrapolation_value", 0.0F)) {
    const std::string name = attributes.get_string("mode", "nearest");
    if (name == "linear") {
      mode = Interpolation::linear;
    } else if (name == "cubic") {
      mode = Interpolation::cubic;
    } else if (name != "nearest") {
      fail("mode is '" + name + "'; nearest, linear or cubic wanted");
    }
  }

  bool crops() const { return coordinates == "tf_crop_and_resize"; }
};

/// The position in the input (in f32, as runtimes compute it) that output position `at` shows.
float source_position(const Settings& settings, const ResizedAxis& axis, int64_t at) {
  const auto x = static_cast<float>(at);
  const auto in = static_cast<float>(axis.in);
  // The specification's tests take the extent before it is rounded down.
  const float out = axis.scale * in;
  const std::string& mode = settings.coordinates;
  if (mode == "half_pixel") return (x + 0.5F) / axis.scale - 0.5F;
  if (mode == "asymmetric") return x / axis.scale;
  if (mode == "pytorch_half_pixel") {
    return axis.out > 1 ? (x + 0.5F) / axis.scale - 0.5F : 0.0F;
  }
  if (mode == "align_corners") {
    return axis.out > 1 ? x * (in - 1.0F) / (out - 1.0F) : 0.0F;
  }
  if (mode == "half_pixel_symmetric") {
    const float offset = in / 2.0F * (1.0F - static_cast<float>(axis.out) / out);
    return offset + (x + 0.5F) / axis.scale - 0.5F;
  }
  if (mode == "tf_half_pixel_for_nn") return (x + 0.5F) / axis.scale;
  if (mode == "tf_crop_and_resize") {
    if (axis.out <= 1) return 0.5F * (axis.roi_begin + axis.roi_end) * (in - 1.0F);
    return axis.roi_begin * (in - 1.0F) +
           x * (axis.roi_end - axis.roi_begin) * (in - 1.0F) / static_cast<float>(axis.out - 1);
  }
  fail("unknown coordinate_transformation_mode '" + mode + "'");
}

int64_t nearest_index(const std::string& rounding, float x) {
  if (rounding == "round_prefer_floor") return static_cast<int64_t>(std::ceil(x - 0.5F));
  if (rounding == "round_prefer_ceil") return static_cast<int64_t>(std::floor(x + 0.5F));
  if (rounding == "floor") return static_cast<int64_t>(std::floor(x));
  if (rounding == "ceil") return static_cast<int64_t>(std::ceil(x));
  fail("unknown nearest_mode '" + rounding + "'");
}

double filter(const Settings& settings, double distance) {
  const double x = std::abs(distance);
  if (settings.mode == Interpolation::linear) return std::max(0.0, 1.0 - x);
  const double a = settings.cubic_a;
  if (x <= 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  return x < 2.0 ? ((x - 5.0) * x + 8.0) * x * a - 4.0 * a : 0.0;
}

/// An input index and its share in an output element.
struct Tap {
  int64_t index;
  double weight;
};

std::vector<Tap> taps_at(const Settings& settings, const ResizedAxis& axis, float x) {
  const auto clamped = [&](int64_t index) { return std::clamp<int64_t>(index, 0, axis.in - 1); };
  if (settings.mode == Interpolation::nearest) {
    return {{clamped(nearest_index(settings.rounding, x)), 1.0}};
  }
  const double radius = settings.mode == Interpolation::linear ? 1.0 : 2.0;
  // Antialiasing widens the filter when shrinking.
  const double squeeze = settings.antialias ? std::min(1.0, static_cast<double>(axis.scale)) : 1.0;
  const auto base = static_cast<int64_t>(std::floor(x));
  const auto first = static_cast<int64_t>(std::floor(-radius / squeeze)) + 1;
  std::vector<Tap> taps;
  double sum = 0.0;
  for (int64_t i = base + first; i <= base + 1 - first; ++i) {
    if (settings.exclude_outside && (i < 0 || i >= axis.in)) continue;
    taps.push_back({clamped(i), filter(settings, (static_cast<double>(i) - x) * squeeze)});
    sum += taps.back().weight;
  }
  if (settings.antialias || settings.exclude_outside) {
    for (Tap& tap : taps) tap.weight /= sum;
  }
  return taps;
}

/// One axis of [outer, in, inner] doubles resampled to [outer, out, inner].
std::vector<double> resample(const std::vector<double>& x, const AxisView& view,
                             const std::vector<std::vector<Tap>>& taps) {
  const auto out = static_cast<int64_t>(taps.size());
  std::vector<double> y(static_cast<size_t>(view.outer * out * view.inner), 0.0);
  for (int64_t o = 0; o < view.outer; ++o) {
    for (int64_t p = 0; p < out; ++p) {
      double* to = y.data() + (o * out + p) * view.inner;
      for (const Tap& tap : taps[static_cast<size_t>(p)]) {
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

/// Extents, scales and regions of all axes.
std::vector<ResizedAxis> resized_axes(const OperatorContext& context, const Settings& settings) {
  const Shape& in = context.inputs[0].shape();
  const Shape& out = context.outputs[0].shape();
  std::vector<int64_t> all(in.size());
  std::iota(all.begin(), all.end(), 0);
  const std::vector<int64_t> chosen =
      normalized_axes(context.attributes().get_ints("axes", all), static_cast<int64_t>(in.size()));
  std::vector<ResizedAxis> axes(in.size());
  for (size_t i = 0; i < in.size(); ++i) axes[i] = {in[i], out[i]};
  const bool by_size = is_given(context, 3);
  std::vector<float> scales, roi;
  if (!by_size) scales = input(context, 2).to_f32();
  if (settings.crops()) roi = input(context, 1).to_f32();
  require(by_size || scales.size() == chosen.size(), "not one scale an axis");
  require(roi.empty() || roi.size() == 2 * chosen.size(), "roi must hold two numbers an axis");
  std::optional<float> common;  // the scale that keeps the aspect ratio
  const std::string policy = context.attributes().get_string("keep_aspect_ratio_policy", "stretch");
  const std::vector<int64_t> sizes = by_size ? integers(context, 3) : std::vector<int64_t>{};
  for (size_t n = 0; n < chosen.size(); ++n) {
    ResizedAxis& axis = axes[static_cast<size_t>(chosen[n])];
    axis.scale = by_size ? static_cast<float>(sizes[n]) / static_cast<float>(axis.in) : scales[n];
    if (!roi.empty()) axis.roi_begin = roi[n], axis.roi_end = roi[n + chosen.size()];
    if (!common) common = axis.scale;
    common = policy == "not_larger" ? std::min(*common, axis.scale) : std::max(*common, axis.scale);
  }
  if (by_size && policy != "stretch" && common) {
    for (const int64_t axis : chosen) axes[static_cast<size_t>(axis)].scale = *common;
  }
  return axes;
}

/// Copies elements: exact for every dtype.
void resize_nearest(const Tensor& x, Tensor& y,
                    const std::vector<std::vector<std::vector<Tap>>>& taps) {
  const std::vector<int64_t> strides = row_major_strides(x.shape());
  with_bits_type(x.dtype(), [&]<class T>(Type<T>) {
    const T* from = elements<T>(x);
    T* to = mutable_elements<T>(y);
    for (Walker<0> walker(y.shape(), {}); !walker.done(); walker.next()) {
      int64_t offset = 0;
      for (size_t axis = 0; axis < taps.size(); ++axis) {
        offset += taps[axis][static_cast<size_t>(walker.index()[axis])][0].index * strides[axis];
      }
      *to++ = from[offset];
    }
  });
}

void resize_filtered(const Tensor& x, Tensor& y,
                     const std::vector<std::vector<std::vector<Tap>>>& taps) {
  with_number_type(x.dtype(), [&]<class T>(Type<T>) {
    std::vector<double> values(elements<T>(x), elements<T>(x) + x.size());
    Shape shape = x.shape();
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      bool same = static_cast<int64_t>(taps[axis].size()) == shape[axis];
      for (size_t p = 0; p < taps[axis].size() && same; ++p) {
        for (const Tap& tap : taps[axis][p]) {
          same = same &&
                 (tap.weight == 0.0 || (tap.weight == 1.0 && tap.index == static_cast<int64_t>(p)));
        }
      }
      if (same) continue;
      values = resample(values, view_along(shape, static_cast<int64_t>(axis)), taps[axis]);
      shape[axis] = static_cast<int64_t>(taps[axis].size());
    }
    T* to = mutable_elements<T>(y);
    for (const double value : values) *to++ = saturated<T>(value);
  });
}

/// Fills the elements whose source lies outside the input (tf_crop_and_resize only).
void fill_outside(const Settings& settings, const std::vector<std::vector<bool>>& outside,
                  Tensor& y) {
  with_float_type(y.dtype(), [&]<class T>(Type<T>) {
    T* to = mutable_elements<T>(y);
    for (Walker<0> walker(y.shape(), {}); !walker.done(); walker.next(), ++to) {
      for (size_t axis = 0; axis < outside.size(); ++axis) {
        if (outside[axis][static_cast<size_t>(walker.index()[axis])]) {
          *to = static_cast<T>(settings.extrapolation);
        }
      }
    }
  });
}

void resize(OperatorContext& context) {
  const Tensor& x = input(context, 0);
  const Settings settings(context.attributes());
  Tensor& y = planned_output(context, 0);
  if (y.size() == 0) return;
  const std::vector<ResizedAxis> axes = resized_axes(context, settings);
  std::vector<std::vector<std::vector<Tap>>> taps(axes.size());
  std::vector<std::vector<bool>> outside(axes.size());
  for (size_t n = 0; n < axes.size(); ++n) {
    require(axes[n].in > 0, "cannot resize an empty axis");
    require(axes[n].scale > 0, "a scale that is not positive");
    for (int64_t p = 0; p < axes[n].out; ++p) {
      const float position = source_position(settings, axes[n], p);
      require(std::abs(position) < 1e9F, "a source position out of range");
      taps[n].push_back(taps_at(settings, axes[n], position));
      outside[n].push_back(position < 0.0F || position > static_cast<float>(axes[n].in - 1));
    }
  }
  settings.mode == Interpolation::nearest ? resize_nearest(x, y, taps)
                                          : resize_filtered(x, y, taps);
  if (settings.crops()) fill_outside(settings, outside, y);
}

constexpr OperatorEntry kEntries[] = {{"Resize", widened<resize>}};

}  // namespace

std::span<const OperatorEntry> resize_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
