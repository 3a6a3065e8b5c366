#pragma once

#include <span>

#include "quantize/histogram.h"
#include "quantize/range.h"

namespace ounce::quantize {

/// The scale s with the least sum of (w - s sign(w))^2: the mean of |w|. 0 for no values.
float sign_scale(std::span<const float> values);

/// The scale s with the least sum of (w - s q)^2 over s and codes q in {-1, 0, 1}, exactly.
/// Whatever k values get codes other than 0, they had best be the k largest, and s their mean
/// magnitude, which takes (sum |w|)^2 / k off the sum of squares: so every k is tried. The codes
/// are then those that are nearest. 0 when all values are.
float ternary_scale(std::span<const float> values);
/// The same of the bins of observed data, each bin being as many values at its centre.
float ternary_scale(const BinPoints& bins);

/// The scale r with the least sum of (x - r [x > r / 2])^2 over the bins of values that are not
/// negative; the search is that of `ternary_scale`. 0 when all values are.
float zero_one_scale(const Histogram& histogram);

}  // namespace ounce::quantize
