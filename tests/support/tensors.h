#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "graph/tensor.h"

namespace ounce::testing {

/// Values in [-1, 1), the same for equal seeds on every machine.
std::vector<float> random_values(int64_t count, uint32_t seed);
Tensor random_tensor(Shape shape, uint32_t seed, float scale = 1.0F);

/// Largest |a - b| over max(|b|, floor) with floor = 1e-3 * max |b|, for the failure message with
/// the worst element.
::testing::AssertionResult close(const Tensor& actual, const Tensor& expected, double tolerance);

/// u8 codes: at most one element or `fraction` of them differ, and none by more than `steps`.
::testing::AssertionResult codes_close(const Tensor& actual, const Tensor& expected, int steps,
                                       double fraction);

}  // namespace ounce::testing
