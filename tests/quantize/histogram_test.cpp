#include "quantize/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "graph/error.h"
#include "quantize/affine.h"
#include "tests/quantize/fixtures.h"

namespace ounce::quantize {
namespace {

// Sheet, unit test 4.
TEST(Histogram, halves_merged_equal_the_whole_in_any_order) {
  std::vector<float> values = testing::silu_of_gaussian(10001);
  const ObservedData whole = testing::observe(values);
  std::shuffle(values.begin(), values.end(), std::mt19937(3));
  const std::span<const float> all(values);
  Extent first, second;
  first.add(all.first(4000), "x");
  second.add(all.subspan(4000), "x");
  second.merge(first);
  EXPECT_EQ(second.range(), whole.histogram.interval());
  EXPECT_EQ(second.count(), 10001);
  Histogram a(second.range()), b(second.range());
  a.add(all.first(4000));
  b.add(all.subspan(4000));
  b.merge(a);
  EXPECT_EQ(b, whole.histogram);
}

TEST(Histogram, different_intervals_do_not_merge) {
  Histogram a({0.0F, 1.0F}), b({0.0F, 2.0F});
  EXPECT_THROW(a.merge(b), Error);
}

TEST(Histogram, quantiles_interpolate_within_bins) {
  Histogram histogram({0.0F, 1.0F});
  std::vector<float> values;
  for (int i = 0; i < 100000; ++i) values.push_back((static_cast<float>(i) + 0.5F) / 100000.0F);
  histogram.add(values);
  for (const double p : {0.0, 0.01, 0.5, 0.9999, 1.0}) {
    EXPECT_NEAR(histogram.quantile(p), p, 1.0 / Histogram::kBins);
  }
}

TEST(Extent, names_the_tensor_that_holds_nan_or_infinity) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    for (const size_t position : {size_t{0}, size_t{17}, size_t{36}}) {
      std::vector<float> values(37, 1.0F);
      values[position] = bad;
      Extent extent;
      try {
        extent.add(values, "backbone.3");
        FAIL() << "accepted " << bad;
      } catch (const Error& error) {
        EXPECT_NE(error.where().find("backbone.3"), std::string::npos);
      }
    }
  }
}

// Sheet, unit test 3.
TEST(QuantParams, round_trip_errs_by_at_most_half_a_step_and_keeps_zero) {
  std::mt19937 random(11);
  std::uniform_real_distribution<float> uniform(0.0F, 1.0F);
  for (int round = 0; round < 200; ++round) {
    const int bits = 2 + round % 7;
    const Range wanted{-4.0F * uniform(random), 6.0F * uniform(random) + 1e-3F};
    const QuantParams params = affine_params(wanted, bits);
    EXPECT_GE(params.zero_point, 0);
    EXPECT_LE(params.zero_point, params.highest());
    EXPECT_EQ(params.fake_quantize(0.0F), 0.0F);
    const Range range = params.range();
    EXPECT_NEAR(range.low, wanted.low, 0.5001F * params.scale);
    for (int i = 0; i < 50; ++i) {
      const float x = range.low + uniform(random) * (range.high - range.low);
      EXPECT_NEAR(params.fake_quantize(x), x, 0.5001F * params.scale);
    }
  }
}

TEST(QuantParams, a_ternary_grid_has_three_codes_about_zero) {
  const QuantParams params = ternary_params(0.75F);
  EXPECT_EQ(params.bits, 2);
  EXPECT_EQ(params.lowest(), 0);
  EXPECT_EQ(params.highest(), 2);
  EXPECT_EQ(params.zero_point, 1);
  EXPECT_EQ(params.range(), (Range{-0.75F, 0.75F}));
  EXPECT_EQ(params.quantize(-9.0F), 0);
  EXPECT_EQ(params.quantize(0.3F), 1);
  EXPECT_EQ(params.quantize(9.0F), 2);
  EXPECT_FALSE(params == affine_params({-0.75F, 1.5F}, 2)) << "which has a code 3";
  EXPECT_EQ(ternary_params(0.0F).scale, 1.0F);
}

TEST(QuantParams, rounding_is_half_to_even_and_codes_clamp) {
  QuantParams params;
  params.scale = 1.0F;
  params.zero_point = 10;
  EXPECT_EQ(params.quantize(0.5F), 10);
  EXPECT_EQ(params.quantize(1.5F), 12);
  EXPECT_EQ(params.quantize(-0.5F), 10);
  EXPECT_EQ(params.quantize(1e30F), 255);
  EXPECT_EQ(params.quantize(-1e30F), 0);
}

}  // namespace
}  // namespace ounce::quantize
