#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "graph/attributes.h"

namespace ounce::ops {

enum class Interpolation { nearest, linear, cubic };

/// What the attributes of a Resize say. Throws `Error` for an unknown mode.
struct Resampling {
  Interpolation mode = Interpolation::nearest;
  std::string coordinates;
  std::string rounding;
  float cubic_a = -0.75F;
  bool exclude_outside = false;
  bool antialias = false;
  float extrapolation = 0.0F;
  std::string aspect_ratio;

  explicit Resampling(const AttributeMap& attributes);

  /// Whether elements outside of the region become `extrapolation`.
  bool crops() const { return coordinates == "tf_crop_and_resize"; }
};

/// How one axis is resampled.
struct ResampledAxis {
  int64_t in = 0;
  int64_t out = 0;
  float scale = 1.0F;
  float roi_begin = 0.0F;
  float roi_end = 1.0F;
};

/// The operands of a Resize next to its input; empty where they are omitted.
struct ResizeOperands {
  std::vector<float> roi;
  std::vector<float> scales;
  std::vector<int64_t> sizes;
};

/// Extents, scales and regions of all axes. Throws `Error` when the operands do not fit.
std::vector<ResampledAxis> resampled_axes(const Resampling& settings,
                                          const AttributeMap& attributes,
                                          const ResizeOperands& operands,
                                          std::span<const int64_t> in,
                                          std::span<const int64_t> out);

/// An input index and its share in an output element.
struct Tap {
  int64_t index;
  double weight;
};

/// The output elements along one axis.
struct ResampledLine {
  std::vector<std::vector<Tap>> taps;  // of each; one alone where the nearest is taken
  std::vector<bool> outside;           // whether its source lies outside of the input

  /// Whether every output element is the input element of its place.
  bool is_identity(int64_t in) const;
};

/// Throws `Error` for an empty axis, a scale that is not positive, and sources out of all range.
ResampledLine resample_line(const Resampling& settings, const ResampledAxis& axis);

}  // namespace ounce::ops
