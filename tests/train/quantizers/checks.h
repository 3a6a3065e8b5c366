#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <string_view>

#include "train/quantizer.h"

namespace ounce::train::testing {

/// N(0, 1), f64, the same for equal seeds.
at::Tensor normal(at::IntArrayRef shape, uint64_t seed);

/// The same rounded to f32.
at::Tensor normal_f32(at::IntArrayRef shape, uint64_t seed);

/// Writes into a parameter.
void assign(const at::Tensor& parameter, const at::Tensor& value);
/// The quantizer's parameter or buffer of this name.
at::Tensor named(Quantizer& quantizer, std::string_view name);

/// df/dx by central differences, f64.
at::Tensor numeric_gradient(const std::function<at::Tensor(const at::Tensor&)>& f,
                            const at::Tensor& x);

/// Gradient of sum(weights * f(x)) by autograd.
at::Tensor autograd_gradient(const std::function<at::Tensor(const at::Tensor&)>& f,
                             const at::Tensor& x, const at::Tensor& weights);

/// Every element equal to the bit (0 and -0 are); names the worst one.
::testing::AssertionResult same(const at::Tensor& actual, const at::Tensor& expected);
/// Largest |actual - expected| <= tolerance; names the worst element.
::testing::AssertionResult near(const at::Tensor& actual, const at::Tensor& expected,
                                double tolerance);

/// What the deployed graph makes of f32 activations `x`: clipped to the codes, then the reference
/// executor's QuantizeLinear (u8, codes counted from the lowest) and DequantizeLinear, or Binarize.
at::Tensor deployed(const Grid& grid, const at::Tensor& x);

/// f32: random values of about 3 steps either side of the grid, every value half-way between two
/// codes, and zeros, all in every slice along `axis`.
at::Tensor awkward_values(const Grid& grid, uint64_t seed);

}  // namespace ounce::train::testing
