#include "tests/support/tensors.h"

#include <algorithm>
#include <cmath>

namespace ounce::testing {

std::vector<float> random_values(int64_t count, uint32_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  uint32_t state = seed * 2654435761U + 12345U;
  for (float& value : values) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<float>(state >> 8) / 8388608.0F - 1.0F;
  }
  return values;
}

Tensor random_tensor(Shape shape, uint32_t seed, float scale) {
  std::vector<float> values = random_values(element_count(shape), seed);
  for (float& value : values) value *= scale;
  return Tensor::of(values, std::move(shape));
}

::testing::AssertionResult close(const Tensor& actual, const Tensor& expected, double tolerance) {
  if (actual.dtype() != expected.dtype() || actual.shape() != expected.shape()) {
    return ::testing::AssertionFailure()
           << "got " << name_of(actual.dtype()) << to_string(actual.shape()) << ", expected "
           << name_of(expected.dtype()) << to_string(expected.shape());
  }
  const std::vector<float> a = actual.to_f32();
  const std::vector<float> b = expected.to_f32();
  float largest = 0.0F;
  for (const float value : b) largest = std::max(largest, std::abs(value));
  double worst = 0.0;
  size_t where = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
    const double floor = std::max(1e-3 * static_cast<double>(largest), 1e-30);
    const double error = same ? 0.0
                              : std::abs(static_cast<double>(a[i]) - b[i]) /
                                    std::max(static_cast<double>(std::abs(b[i])), floor);
    if (!(error <= worst)) {
      worst = error;
      where = i;
    }
  }
  if (worst <= tolerance) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "worst element " << where << " of " << to_string(actual.shape()) << ": got " << a[where]
         << ", expected " << b[where] << " (relative error " << worst << " > " << tolerance
         << ", largest value " << largest << ")";
}

::testing::AssertionResult codes_close(const Tensor& actual, const Tensor& expected, int steps,
                                       double fraction) {
  if (actual.dtype() != expected.dtype() || actual.shape() != expected.shape()) {
    return ::testing::AssertionFailure() << "dtype or shape differ: " << to_string(actual.shape())
                                         << " against " << to_string(expected.shape());
  }
  const std::vector<int64_t> a = actual.to_i64();
  const std::vector<int64_t> b = expected.to_i64();
  size_t different = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const int64_t distance = std::abs(a[i] - b[i]);
    if (distance > steps) {
      return ::testing::AssertionFailure()
             << "element " << i << ": code " << a[i] << ", expected " << b[i];
    }
    if (distance != 0) ++different;
  }
  if (static_cast<double>(different) <= std::max(1.0, fraction * static_cast<double>(a.size()))) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << different << " of " << a.size() << " codes differ";
}

}  // namespace ounce::testing
