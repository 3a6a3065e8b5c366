#include "tests/conformance/compare.h"

#include <cmath>
#include <limits>

namespace ounce::testing {
namespace {

constexpr double kRelative = 1e-3;
/// A unit in the last place of bf16: the suite's recordings truncate where a cast rounds.
constexpr double kRelativeBf16 = 1.0 / 128.0;
constexpr double kAbsolute = 1e-7;

/// How far outside the tolerance a float is; at most 0: inside.
double excess(double actual, double expected, double relative) {
  if (std::isnan(actual) && std::isnan(expected)) return 0.0;
  if (actual == expected) return 0.0;
  const double difference = std::abs(actual - expected);
  if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
  return difference - kAbsolute - relative * std::abs(expected);
}

std::string describe(const Tensor& tensor) {
  return std::string(name_of(tensor.dtype())) + " " + to_string(tensor.shape());
}

}  // namespace

::testing::AssertionResult conforms(const Tensor& actual, const Tensor& expected) {
  if (actual.dtype() != expected.dtype() || actual.shape() != expected.shape()) {
    return ::testing::AssertionFailure()
           << "expected " << describe(expected) << ", got " << describe(actual);
  }
  if (!is_float(expected.dtype())) {
    const std::vector<int64_t> got = actual.to_i64();
    const std::vector<int64_t> wanted = expected.to_i64();
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (got[i] == wanted[i]) continue;
      return ::testing::AssertionFailure() << describe(expected) << " element " << i
                                           << ": expected " << wanted[i] << ", got " << got[i];
    }
    return ::testing::AssertionSuccess();
  }
  const Tensor got = cast(actual, DType::f64);
  const Tensor wanted = cast(expected, DType::f64);
  const double relative = expected.dtype() == DType::bf16 ? kRelativeBf16 : kRelative;
  double worst = 0.0;
  size_t at = 0;
  for (size_t i = 0; i < static_cast<size_t>(wanted.size()); ++i) {
    const double over = excess(got.data<double>()[i], wanted.data<double>()[i], relative);
    if (over > worst) worst = over, at = i;
  }
  if (worst <= 0.0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << describe(expected) << " element " << at << ": expected " << wanted.data<double>()[at]
         << ", got " << got.data<double>()[at];
}

}  // namespace ounce::testing
