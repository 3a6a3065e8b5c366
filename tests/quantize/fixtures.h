#pragma once

#include <span>
#include <vector>

#include "quantize/range.h"

namespace ounce::quantize::testing {

/// `count` quantiles of the standard normal distribution, (i + 0.5) / count.
std::vector<float> gaussian_quantiles(int count);

/// SiLU of 40,000 Gaussian quantiles: the tensor fixture of the Q-YOLO sheet.
std::vector<float> silu_of_gaussian(int count = 40000);

float silu(float x);

/// Both passes over one tensor.
ObservedData observe(std::span<const float> values);

/// Mean squared error of a quantizer, count-weighted over the bins / over the values themselves.
double histogram_mse(const ObservedData& data, const QuantParams& params);
double value_mse(std::span<const float> values, const QuantParams& params);

}  // namespace ounce::quantize::testing
