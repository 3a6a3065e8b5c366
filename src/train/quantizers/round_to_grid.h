#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "train/quantizer.h"
#include "train/quantizers/slices.h"

namespace ounce::train {

/// The integers that codes of a grid may be.
struct CodeRange {
  int64_t lowest = 0;
  int64_t highest = 0;
};

/// -2^(bits-1) .. 2^(bits-1) - 1 or 0 .. 2^bits - 1. Throws `Error` unless 2 <= bits <= 8.
CodeRange signed_codes(int bits);
CodeRange unsigned_codes(int bits);

/// What a step multiplies.
enum class Levels {
  kAffine,  // every integer of the range
  kSigns,   // -1 and +1 (of zero, too); the range is -1 .. 1
  kMap,     // 0, and 1 above half the step; the range is 0 .. 1
};

struct StepGrid {
  Levels levels = Levels::kAffine;
  Slices slices = {};  // of steps and zero points
  CodeRange codes = {};
  /// Multiplies the gradients of step and zero point: LSQ's 1 / sqrt(elements * highest code).
  double gradient_scale = 1.0;
};

/// `x` on the grid, with the gradients of LSQ and LSQ+ (arXiv 1902.08153, 2004.09576).
///
/// Forward, with v = x / scale and z = `zero_point` rounded and brought into the range:
///   scale * (clamp(round(v) + z, lowest, highest) - z)
/// as QuantizeLinear and DequantizeLinear compute it, ties to even before z is added; for signs
/// scale * sign(x), for maps scale * (x > scale / 2).
///
/// Backward, with G the gradient of the result, q = code - z, g = gradient_scale:
///   lowest <= v + z <= highest:  dx = G,  dscale = g sum G (q - v),  dzero_point = 0
///   beyond:                      dx = 0,  dscale = g sum G q,        dzero_point = -g sum G scale
/// that is, of x clamped to the range, the offset that rounding adds held fixed.
///
/// `scale` [count] > 0, `zero_point` [count] of any real numbers or undefined for none; either may
/// require gradients.
at::Tensor round_to_grid(const at::Tensor& x, const at::Tensor& scale, const StepGrid& grid,
                         const at::Tensor& zero_point = {});

/// The zero points that `round_to_grid` uses, as real numbers.
at::Tensor integer_zero_point(const at::Tensor& zero_point, const CodeRange& codes);

/// A frozen grid with zero point 0.
AffineGrid grid_around_zero(const at::Tensor& scale, const Slices& slices, const CodeRange& codes);

/// LSQ's 1 / sqrt(elements * highest).
double lsq_gradient_scale(int64_t elements, const CodeRange& codes);

}  // namespace ounce::train
