#include "graph/ops/resample.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "graph/error.h"
#include "graph/tensor.h"

namespace ounce::ops {
namespace {

void require(bool condition, const char* message) {
  if (!condition) throw Error(message);
}

/// The position in the input (in f32, as runtimes compute it) that output position `at` shows.
float source_position(const Resampling& settings, const ResampledAxis& axis, int64_t at) {
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
  throw Error("unknown coordinate_transformation_mode '" + mode + "'");
}

int64_t nearest_index(const std::string& rounding, float x) {
  if (rounding == "round_prefer_floor") return static_cast<int64_t>(std::ceil(x - 0.5F));
  if (rounding == "round_prefer_ceil") return static_cast<int64_t>(std::floor(x + 0.5F));
  if (rounding == "floor") return static_cast<int64_t>(std::floor(x));
  if (rounding == "ceil") return static_cast<int64_t>(std::ceil(x));
  throw Error("unknown nearest_mode '" + rounding + "'");
}

double filter(const Resampling& settings, double distance) {
  const double x = std::abs(distance);
  if (settings.mode == Interpolation::linear) return std::max(0.0, 1.0 - x);
  const double a = settings.cubic_a;
  if (x <= 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  return x < 2.0 ? ((x - 5.0) * x + 8.0) * x * a - 4.0 * a : 0.0;
}

std::vector<Tap> taps_at(const Resampling& settings, const ResampledAxis& axis, float x) {
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

}  // namespace

Resampling::Resampling(const AttributeMap& attributes)
    : coordinates(attributes.get_string("coordinate_transformation_mode", "half_pixel")),
      rounding(attributes.get_string("nearest_mode", "round_prefer_floor")),
      cubic_a(attributes.get_float("cubic_coeff_a", -0.75F)),
      exclude_outside(attributes.get_int("exclude_outside", 0) != 0),
      antialias(attributes.get_int("antialias", 0) != 0),
      extrapolation(attributes.get_float("extrapolation_value", 0.0F)),
      aspect_ratio(attributes.get_string("keep_aspect_ratio_policy", "stretch")) {
  const std::string name = attributes.get_string("mode", "nearest");
  if (name == "linear") {
    mode = Interpolation::linear;
  } else if (name == "cubic") {
    mode = Interpolation::cubic;
  } else if (name != "nearest") {
    throw Error("mode is '" + name + "'; nearest, linear or cubic wanted");
  }
}

std::vector<ResampledAxis> resampled_axes(const Resampling& settings,
                                          const AttributeMap& attributes,
                                          const ResizeOperands& operands,
                                          std::span<const int64_t> in,
                                          std::span<const int64_t> out) {
  std::vector<int64_t> chosen(in.size());
  std::iota(chosen.begin(), chosen.end(), 0);
  chosen = attributes.get_ints("axes", chosen);
  for (int64_t& axis : chosen) axis = normalize_axis(axis, static_cast<int64_t>(in.size()));
  std::vector<ResampledAxis> axes(in.size());
  for (size_t i = 0; i < in.size(); ++i) axes[i] = {in[i], out[i]};
  const auto& [roi, scales, sizes] = operands;
  const bool by_size = !sizes.empty();
  require(by_size ? sizes.size() == chosen.size() : scales.size() == chosen.size(),
          "not one scale or size an axis");
  require(!settings.crops() || roi.size() == 2 * chosen.size(),
          "roi must hold two numbers an axis");
  const bool not_larger = settings.aspect_ratio == "not_larger";
  std::optional<float> common;  // the scale that keeps the aspect ratio
  for (size_t n = 0; n < chosen.size(); ++n) {
    ResampledAxis& axis = axes[static_cast<size_t>(chosen[n])];
    axis.scale = by_size ? static_cast<float>(sizes[n]) / static_cast<float>(axis.in) : scales[n];
    if (settings.crops()) axis.roi_begin = roi[n], axis.roi_end = roi[n + chosen.size()];
    if (!common) common = axis.scale;
    common = not_larger ? std::min(*common, axis.scale) : std::max(*common, axis.scale);
  }
  if (by_size && settings.aspect_ratio != "stretch" && common) {
    for (const int64_t axis : chosen) axes[static_cast<size_t>(axis)].scale = *common;
  }
  return axes;
}

bool ResampledLine::is_identity(int64_t in) const {
  bool same = static_cast<int64_t>(taps.size()) == in;
  for (size_t p = 0; p < taps.size() && same; ++p) {
    for (const Tap& tap : taps[p]) {
      same = same &&
             (tap.weight == 0.0 || (tap.weight == 1.0 && tap.index == static_cast<int64_t>(p)));
    }
  }
  return same;
}

ResampledLine resample_line(const Resampling& settings, const ResampledAxis& axis) {
  require(axis.in > 0, "cannot resize an empty axis");
  require(axis.scale > 0, "a scale that is not positive");
  ResampledLine line;
  for (int64_t p = 0; p < axis.out; ++p) {
    const float position = source_position(settings, axis, p);
    require(std::abs(position) < 1e9F, "a source position out of range");
    line.taps.push_back(taps_at(settings, axis, position));
    line.outside.push_back(position < 0.0F || position > static_cast<float>(axis.in - 1));
  }
  return line;
}

}  // namespace ounce::ops
