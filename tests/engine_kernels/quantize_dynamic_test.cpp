#include "engine/kernels/int8/quantize_dynamic.h"

#include <limits>

#include "engine/kernels/reference/reference_codes.h"
#include "tests/engine_kernels/kernel_test.h"

namespace ounce::engine {
namespace {

// Codes with everything that comes with them, for comparison.
struct Result {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> zero_points, sums;

  Result(int64_t rows, int64_t stride)
      : codes(static_cast<size_t>(rows * stride), 77),
        scales(static_cast<size_t>(rows), -1.0F),
        zero_points(static_cast<size_t>(rows), -1),
        sums(static_cast<size_t>(rows), -1),
        stride_(stride) {}
  DynamicCodes out() {
    return {codes.data(), stride_, scales.data(), zero_points.data(), sums.data()};
  }

 private:
  int64_t stride_;
};

void expect_same(const Result& expected, const Result& actual, const std::string& what) {
  expect_equal(expected.codes, actual.codes, what + ", codes");
  expect_equal(expected.scales, actual.scales, what + ", scales");
  expect_equal(expected.zero_points, actual.zero_points, what + ", zero points");
  expect_equal(expected.sums, actual.sums, what + ", sums");
}

TEST(QuantizeDynamic, EqualsReferenceToTheBitForRowsAndTensors) {
  Random random(31);
  for (const auto grid : {DynamicGrid::kSymmetric, DynamicGrid::kAsymmetric}) {
    for (const int bits : {2, 4, 7, 8}) {
      for (const int64_t columns : {1, 15, 16, 33, 384, 20000}) {
        const int64_t rows = columns > 1000 ? 3 : 7;
        auto x = random.floats(rows * (columns + 1), -3.0F, 4.0F);
        x[0] = std::numeric_limits<float>::quiet_NaN();
        // A row of zeros, one of a single sign, one with an infinity.
        std::fill(x.begin() + (columns + 1), x.begin() + 2 * (columns + 1), 0.0F);
        for (int64_t i = 0; i < columns; ++i) x[static_cast<size_t>(2 * (columns + 1) + i)] += 5.0F;
        if (rows > 5) x[static_cast<size_t>(5 * (columns + 1))] = -INFINITY;
        const std::string what =
            std::to_string(bits) + " bits, " + std::to_string(columns) + " columns, seed 31";
        Result by_rows(rows, columns + 2);
        reference::quantize_rows(x.data(), columns + 1, rows, columns, grid, bits, by_rows.out());
        Result whole(rows, columns + 2);
        const int64_t finite = std::min<int64_t>(rows, 5);
        reference::quantize_tensor(x.data(), columns + 1, finite, columns, grid, bits, whole.out());
        on_every_isa([&](ThreadPool& pool) {
          Result actual(rows, columns + 2);
          quantize_rows({pool, {}}, x.data(), columns + 1, rows, columns, grid, bits, actual.out());
          expect_same(by_rows, actual, "rows, " + what);
          Result tensor(rows, columns + 2);
          quantize_tensor({pool, {}}, x.data(), columns + 1, finite, columns, grid, bits,
                          tensor.out());
          expect_same(whole, tensor, "tensor, " + what);
        });
        if (HasFailure()) return;
      }
    }
  }
}

TEST(QuantizeDynamic, CodesAreWithinHalfAStep) {
  Random random(32);
  const int64_t columns = 1000;
  const auto x = random.floats(columns, -2.0F, 5.0F);
  ThreadPool pool(1);
  for (const auto grid : {DynamicGrid::kSymmetric, DynamicGrid::kAsymmetric}) {
    for (const int bits : {4, 8}) {
      Result r(1, columns);
      quantize_rows({pool, {}}, x.data(), columns, 1, columns, grid, bits, r.out());
      for (size_t i = 0; i < x.size(); ++i) {
        const float value = static_cast<float>(r.codes[i] - r.zero_points[0]) * r.scales[0];
        // Half a step each for the rounding of the code and of the zero point.
        EXPECT_NEAR(x[i], value, 1.001F * r.scales[0]) << "seed 32, element " << i;
      }
    }
  }
}

TEST(QuantizeLog, IsTheRoundedLogarithmBesideEveryBorder) {
  std::vector<float> x = {0.0F, -0.0F, -1.0F, 1.0F, 2.0F, INFINITY, -INFINITY, NAN, -NAN, 1e-40F};
  for (int k = 0; k < 130; ++k) {
    // Both neighbours of the borders between codes, and what lies between.
    for (const double half : {0.0, 0.25, 0.5, 0.75}) {
      float at = static_cast<float>(std::exp2(-k - half));
      for (const float towards : {0.0F, 2.0F}) {
        float near = at;
        for (int i = 0; i < 3; ++i, near = std::nextafter(near, towards)) x.push_back(near);
      }
    }
  }
  Random random(33);
  const auto more = random.floats(40000, 0.0F, 1.0F);
  x.insert(x.end(), more.begin(), more.end());
  for (const auto base : {LogBase::k2, LogBase::kSqrt2}) {
    for (const int bits : {1, 3, 4, 6}) {
      std::vector<uint8_t> expected(x.size());
      reference::quantize_log(x.data(), expected.data(), static_cast<int64_t>(x.size()), base,
                              bits);
      on_every_isa([&](ThreadPool& pool) {
        std::vector<uint8_t> actual(x.size());
        quantize_log({pool, {}}, x.data(), actual.data(), static_cast<int64_t>(x.size()), base,
                     bits);
        expect_equal(expected, actual, std::to_string(bits) + " bits, seed 33");
      });
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace ounce::engine
