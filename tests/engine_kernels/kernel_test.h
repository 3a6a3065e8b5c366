#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "engine/isa.h"
#include "engine/kernels/common.h"

// What the kernel tests share: seeded data, and runs over every instruction set and thread count.
namespace ounce::engine {

class Random {
 public:
  explicit Random(uint32_t seed) : generator_(seed) {}
  std::vector<float> floats(int64_t count, float lo = -1.0F, float hi = 1.0F) {
    return fill<float>(count, std::uniform_real_distribution<float>(lo, hi));
  }
  std::vector<uint8_t> codes(int64_t count) {
    return fill<uint8_t>(count, std::uniform_int_distribution<int>(0, 255));
  }
  std::vector<int8_t> weights(int64_t count) {
    return fill<int8_t>(count, std::uniform_int_distribution<int>(-128, 127));
  }
  std::vector<int32_t> integers(int64_t count, int32_t lo, int32_t hi) {
    return fill<int32_t>(count, std::uniform_int_distribution<int32_t>(lo, hi));
  }
  int64_t between(int64_t lo, int64_t hi) {
    return std::uniform_int_distribution<int64_t>(lo, hi)(generator_);
  }

 private:
  template <class T, class Distribution>
  std::vector<T> fill(int64_t count, Distribution distribution) {
    std::vector<T> values(static_cast<size_t>(count));
    for (T& value : values) value = static_cast<T>(distribution(generator_));
    return values;
  }
  std::mt19937 generator_;
};

/// Restores the instruction set that was chosen before.
class IsaGuard {
 public:
  IsaGuard() : before_(current_isa()) {}
  ~IsaGuard() { select_isa(before_); }
  IsaGuard(const IsaGuard&) = delete;
  IsaGuard& operator=(const IsaGuard&) = delete;

 private:
  Isa before_;
};

/// Scratch of exactly the size a kernel asked for, with a guard behind it.
class Scratch {
 public:
  explicit Scratch(size_t bytes) : bytes_(bytes), storage_(bytes + kGuard, std::byte{0xA5}) {}
  ~Scratch() {
    for (size_t i = bytes_; i < storage_.size(); ++i) {
      if (storage_[i] != std::byte{0xA5}) {
        ADD_FAILURE() << "a kernel wrote behind its scratch of " << bytes_ << " bytes";
        return;
      }
    }
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::span<std::byte> span() { return {storage_.data(), bytes_}; }

 private:
  static constexpr size_t kGuard = 256;
  size_t bytes_;
  std::vector<std::byte> storage_;
};

/// Calls run(pool) at every level of this machine, with one, two and three threads.
template <class Run>
void on_every_isa(const Run& run) {
  const IsaGuard guard;
  for (const Isa isa : available_isas()) {
    select_isa(isa);
    for (int threads = 1; threads <= 3; ++threads) {
      ThreadPool pool(threads);
      SCOPED_TRACE(std::string(isa_name(isa)) + ", threads " + std::to_string(threads));
      run(pool);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

template <class T>
void expect_equal(const std::vector<T>& expected, const std::vector<T>& actual,
                  const std::string& what) {
  ASSERT_EQ(expected.size(), actual.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(+expected[i], +actual[i]) << what << ", element " << i;
  }
}

/// |actual - expected| <= absolute[i] + relative * |expected|; reports the worst element. Equal
/// infinities and NaN beside NaN pass.
inline void expect_close(const std::vector<float>& expected, const std::vector<float>& actual,
                         const std::vector<float>& absolute, float relative,
                         const std::string& what) {
  ASSERT_EQ(expected.size(), actual.size());
  double worst = 0.0;
  size_t at = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double e = expected[i];
    const double a = actual[i];
    if (e == a || (std::isnan(e) && std::isnan(a))) continue;
    const double allowed = absolute[absolute.size() == 1 ? 0 : i] + relative * std::fabs(e);
    double ratio = std::fabs(a - e) / allowed;
    if (std::isnan(ratio)) ratio = std::numeric_limits<double>::infinity();
    if (ratio <= worst) continue;
    worst = ratio;
    at = i;
  }
  ASSERT_LE(worst, 1.0) << what << ", worst element " << at << ": expected " << expected[at]
                        << ", actual " << actual[at] << ", " << worst << " times the tolerance";
}

inline std::vector<float> absolute_values(std::vector<float> values) {
  for (float& value : values) value = std::fabs(value);
  return values;
}

/// Bound on the rounding error of a sum of `terms` products whose absolute values sum to
/// `magnitude`: each of the `terms` additions and products is off by at most half an ulp.
inline std::vector<float> sum_tolerance(std::vector<float> magnitude, int64_t terms) {
  const float epsilon = std::numeric_limits<float>::epsilon();
  for (float& value : magnitude) {
    value = epsilon * static_cast<float>(terms + 4) * (value + 1e-6F);
  }
  return magnitude;
}

}  // namespace ounce::engine
