#include "quantize/range.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "graph/error.h"
#include "tests/quantize/fixtures.h"

namespace ounce::quantize {
namespace {

using testing::histogram_mse;
using testing::observe;
using testing::silu_of_gaussian;
using testing::value_mse;

constexpr LowerBound kSilu{kSiluLowerBound, true};

RangeRequest request(RangeRule rule, int bits) {
  RangeRequest result;
  result.rule = rule;
  result.bits = bits;
  if (rule == RangeRule::kUnilateral) result.lower_bound = kSilu;
  return result;
}

QuantParams chosen(const ObservedData& data, RangeRule rule, int bits) {
  return choose_range(data, request(rule, bits)).params;
}

QuantParams ternary_choice(const ObservedData& data, RangeRule rule = RangeRule::kMse) {
  RangeRequest wanted = request(rule, 2);
  wanted.ternary = true;
  return choose_range(data, wanted).params;
}

const ObservedData& silu_data() {
  static const ObservedData data = observe(silu_of_gaussian());
  return data;
}

/// A row of the sheet's table: count-weighted squared errors and the chosen upper end.
struct FixtureRow {
  int bits;
  double min_max, percentile, symmetric, unilateral, upper_end;
};

class QYoloFixture : public ::testing::TestWithParam<FixtureRow> {};

// The table was made with continuous grids (lower end exactly the bound, zero point not rounded).
double continuous_mse(const ObservedData& data, const Range& ends, int bits) {
  const BinPoints points(data);
  return points.squared_error(levels_over(ends, bits)) / points.total();
}

Range continuous_ends(const ObservedData& data, RangeRule rule, int bits) {
  RangeRequest wanted = request(rule, bits);
  wanted.integer_zero_point = false;
  return choose_ends(data, wanted);
}

TEST_P(QYoloFixture, errors_come_out_within_three_percent) {
  const FixtureRow& row = GetParam();
  const auto expect = [&](RangeRule rule, double wanted) {
    const double got =
        continuous_mse(silu_data(), continuous_ends(silu_data(), rule, row.bits), row.bits);
    EXPECT_NEAR(got / wanted, 1.0, 0.03) << name_of(rule) << " at " << row.bits << " bits: " << got;
  };
  expect(RangeRule::kMinMax, row.min_max);
  expect(RangeRule::kPercentile, row.percentile);
  expect(RangeRule::kSymmetricMse, row.symmetric);
  expect(RangeRule::kUnilateral, row.unilateral);
}

TEST_P(QYoloFixture, upper_end_comes_out_within_three_percent) {
  const FixtureRow& row = GetParam();
  const Range ends = continuous_ends(silu_data(), RangeRule::kUnilateral, row.bits);
  EXPECT_EQ(ends.low, kSiluLowerBound);
  EXPECT_NEAR(ends.high / row.upper_end, 1.0, 0.03);
}

TEST_P(QYoloFixture, order_of_the_rules_survives_the_integer_zero_point) {
  const int bits = GetParam().bits;
  const auto mse = [&](RangeRule rule) {
    return histogram_mse(silu_data(), chosen(silu_data(), rule, bits));
  };
  const double unilateral = mse(RangeRule::kUnilateral);
  EXPECT_LT(unilateral, mse(RangeRule::kPercentile));
  EXPECT_LT(unilateral, mse(RangeRule::kMinMax));
  EXPECT_LT(unilateral, mse(RangeRule::kSymmetricMse));
}

INSTANTIATE_TEST_SUITE_P(sheet, QYoloFixture,
                         ::testing::Values(FixtureRow{8, 2.42e-5, 2.66e-5, 7.33e-5, 2.31e-5, 3.93},
                                           FixtureRow{4, 6.11e-3, 4.90e-3, 9.32e-3, 3.23e-3, 2.61},
                                           FixtureRow{3, 2.59e-2, 2.08e-2, 4.12e-2, 1.05e-2,
                                                      2.16}));

TEST(Unilateral, outliers_widen_the_gap_to_min_max) {
  std::vector<float> z = testing::gaussian_quantiles(40000);
  for (size_t i = 0; i < z.size(); i += 100) z[i] *= 6.0F;
  for (float& x : z) x = testing::silu(x);
  const ObservedData data = observe(z);
  const auto mse = [&](RangeRule rule) {
    return continuous_mse(data, continuous_ends(data, rule, 4), 4);
  };
  EXPECT_NEAR(mse(RangeRule::kMinMax) / mse(RangeRule::kUnilateral), 2.5, 0.5);
}

// Sheet, unit test 1.
TEST(Unilateral, no_silu_value_lies_below_the_bound) {
  double least = 0.0;
  for (int i = -400000; i <= 0; ++i) {
    const double x = i * 1e-4;
    least = std::min(least, x / (1.0 + std::exp(-x)));
  }
  EXPECT_NEAR(least, -0.2784645, 1e-7);
  EXPECT_GT(least, kSiluLowerBound);
}

// Sheet, unit test 2.
TEST(Unilateral, no_candidate_is_better_than_the_chosen_one) {
  const BinPoints points(silu_data());
  for (const int bits : {8, 6, 4, 3, 2}) {
    const double least =
        points.squared_error(levels_of(chosen(silu_data(), RangeRule::kUnilateral, bits)));
    const Histogram& bins = silu_data().histogram;
    for (int i = kFirstCandidateBin; i < Histogram::kBins; ++i) {
      const auto high = static_cast<float>(bins.centre(i));
      if (high <= 0.0F) continue;
      EXPECT_LE(least,
                points.squared_error(levels_of(affine_params({kSiluLowerBound, high}, bits))))
          << i;
    }
    const Range whole{kSiluLowerBound, bins.interval().high};
    EXPECT_LE(least, points.squared_error(levels_of(affine_params(whole, bits))));
  }
}

// Sheet, unit test 5.
TEST(Unilateral, fewer_bits_never_widen_the_range) {
  float previous = 0.0F;
  for (const int bits : {2, 3, 4, 5, 6, 7, 8}) {
    const float high = continuous_ends(silu_data(), RangeRule::kUnilateral, bits).high;
    EXPECT_GE(high, previous) << bits;
    previous = high;
  }
}

TEST(Unilateral, believes_data_below_the_bound) {
  std::vector<float> values = silu_of_gaussian(4000);
  for (float& value : values) value *= 2.0F;  // a sum of two SiLU outputs
  const ObservedData data = observe(values);
  EXPECT_LT(chosen(data, RangeRule::kUnilateral, 8).range().low, -0.5F);
}

TEST(Unilateral, a_loose_bound_leaves_the_measured_minimum) {
  const ObservedData data = observe(std::vector<float>{-0.1F, 0.0F, 0.5F, 1.0F});
  RangeRequest wanted = request(RangeRule::kUnilateral, 8);
  wanted.lower_bound = LowerBound{-0.557F, false};
  EXPECT_NEAR(choose_range(data, wanted).params.range().low, -0.1F, 0.01F);
}

TEST(Unilateral, an_extreme_outlier_asks_for_finer_bins_and_uses_them) {
  std::vector<float> values = silu_of_gaussian(80000);
  values.back() = 120.0F;
  ObservedData data = observe(values);
  const RangeRequest wanted = request(RangeRule::kUnilateral, 4);
  ASSERT_TRUE(choose_range(data, wanted).starved);
  data.refined = Histogram(refinement_window(data.histogram, wanted));
  data.refined->add(values);
  EXPECT_EQ(data.refined->total() + data.refined->above(), values.size());
  const RangeChoice again = choose_range(data, wanted);
  EXPECT_FALSE(again.starved);
  // The bulk decides, although the outlier pulls.
  EXPECT_GT(again.params.range().high, 2.0F);
  EXPECT_LT(again.params.range().high, 4.0F);
}

TEST(Ranges, data_without_outliers_never_ask_for_finer_bins) {
  for (const RangeRule rule : {RangeRule::kMinMax, RangeRule::kPercentile, RangeRule::kMse,
                               RangeRule::kSymmetricMse, RangeRule::kKl, RangeRule::kUnilateral}) {
    EXPECT_FALSE(choose_range(silu_data(), request(rule, 4)).starved) << name_of(rule);
  }
}

TEST(Ranges, bilateral_search_is_the_upper_bound_of_the_others) {
  for (const int bits : {8, 6, 4, 3, 2}) {
    const double bilateral = histogram_mse(silu_data(), chosen(silu_data(), RangeRule::kMse, bits));
    for (const RangeRule rule : {RangeRule::kMinMax, RangeRule::kPercentile,
                                 RangeRule::kSymmetricMse, RangeRule::kUnilateral}) {
      const double other = histogram_mse(silu_data(), chosen(silu_data(), rule, bits));
      EXPECT_LE(bilateral, 1.01 * other) << name_of(rule) << " at " << bits << " bits";
    }
  }
}

TEST(Ranges, mse_is_never_worse_than_min_max_on_its_own_data) {
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    std::student_t_distribution<float> heavy(2.0F + static_cast<float>(round % 5));
    std::vector<float> values(3000);
    for (float& value : values) value = heavy(random) + 0.3F * static_cast<float>(round);
    const ObservedData data = observe(values);
    for (const int bits : {8, 4, 2}) {
      EXPECT_LE(histogram_mse(data, chosen(data, RangeRule::kMse, bits)),
                histogram_mse(data, chosen(data, RangeRule::kMinMax, bits)));
    }
  }
}

TEST(Ranges, kl_keeps_all_of_a_uniform_distribution) {
  const std::vector<uint64_t> flat(Histogram::kBins, 1000);
  ObservedData data;
  data.histogram = Histogram({0.0F, 1.0F}, flat);
  EXPECT_NEAR(chosen(data, RangeRule::kKl, 8).range().high, 1.0F, 0.01F);
  data.histogram = Histogram({-1.0F, 1.0F}, flat);
  EXPECT_NEAR(chosen(data, RangeRule::kKl, 8).range().low, -1.0F, 0.01F);
}

TEST(Ranges, kl_cuts_a_long_thin_tail) {
  std::vector<float> values = testing::gaussian_quantiles(40000);
  values.back() = 20.0F;
  EXPECT_LT(chosen(observe(values), RangeRule::kKl, 8).range().high, 10.0F);
}

TEST(Ranges, the_lower_quantile_of_relu_outputs_stays_zero) {
  std::vector<float> values = testing::gaussian_quantiles(20000);
  for (float& value : values) value = std::max(value, 0.0F);
  const QuantParams params = chosen(observe(values), RangeRule::kPercentile, 8);
  EXPECT_EQ(params.zero_point, 0);
}

TEST(Ranges, a_constant_tensor_gets_a_usable_grid) {
  for (const float constant : {0.0F, 3.5F, -2.0F}) {
    const ObservedData data = observe(std::vector<float>(100, constant));
    for (const RangeRule rule :
         {RangeRule::kMinMax, RangeRule::kPercentile, RangeRule::kMse, RangeRule::kSymmetricMse,
          RangeRule::kKl, RangeRule::kUnilateral}) {
      const QuantParams params = chosen(data, rule, 8);
      EXPECT_GT(params.scale, 0.0F);
      EXPECT_NEAR(params.fake_quantize(constant), constant, 0.02F) << name_of(rule);
    }
    EXPECT_NEAR(ternary_choice(data).fake_quantize(constant), constant, 0.02F);
  }
}

TEST(Ranges, the_scale_of_a_ternary_grid_is_that_of_least_squares_whatever_the_rule) {
  std::mt19937 random(8);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 12; ++round) {
    std::vector<float> values(60);
    for (float& value : values) {
      value = normal(random) + 0.4F * static_cast<float>(round % 3);
      if (round % 4 == 1) value = std::max(value, 0.0F);
      if (round % 4 == 2) value = value * value * value;
    }
    const ObservedData data = observe(values);
    const BinPoints points(data);
    double least = std::numeric_limits<double>::infinity();
    const double largest =
        std::max(std::abs(data.histogram.interval().low), std::abs(data.histogram.interval().high));
    for (int i = 1; i <= 20000; ++i) {
      const double s = largest * i / 20000.0;
      least = std::min(least, points.squared_error({-s, s, 3}));
    }
    for (const RangeRule rule : {RangeRule::kMinMax, RangeRule::kPercentile, RangeRule::kMse,
                                 RangeRule::kKl, RangeRule::kUnilateral}) {
      const QuantParams params = ternary_choice(data, rule);
      EXPECT_TRUE(params.ternary);
      EXPECT_EQ(params.zero_point, 1);
      EXPECT_EQ(params.range().low, -params.range().high);
      const double error = points.squared_error(levels_of(params));
      EXPECT_LE(error, least * (1 + 1e-6)) << name_of(rule) << " in round " << round;
      EXPECT_GE(error, least * (1 - 1e-4)) << name_of(rule) << " in round " << round;
    }
  }
}

TEST(Ranges, a_ternary_grid_looks_twice_at_what_an_outlier_hides) {
  std::vector<float> values = testing::gaussian_quantiles(80000);
  values.back() = 60.0F;  // at 300 it alone would outweigh the others
  const ObservedData data = observe(values);
  for (const RangeRule rule : {RangeRule::kMinMax, RangeRule::kUnilateral}) {
    RangeRequest wanted = request(rule, 2);
    wanted.ternary = true;
    ASSERT_TRUE(choose_range(data, wanted).starved);
    EXPECT_LT(refinement_window(data.histogram, wanted).low, 0.0F);
    EXPECT_GT(refinement_window(data.histogram, wanted).low, -5.0F) << "both tails are cut";
    ObservedData finer = data;
    finer.refined = Histogram(refinement_window(data.histogram, wanted));
    finer.refined->add(values);
    EXPECT_FALSE(choose_range(finer, wanted).starved);
    // The best ternary quantizer of a Gaussian has levels +-1.224; the outlier pulls a little.
    EXPECT_NEAR(choose_range(finer, wanted).params.scale, 1.23F, 0.03F);
  }
}

TEST(Ranges, nothing_observed_is_an_error) {
  EXPECT_THROW(choose_range(ObservedData{}, RangeRequest{}), Error);
  EXPECT_THROW(choose_range(silu_data(), request(RangeRule::kMinMax, 9)), Error);
}

TEST(BinPoints, running_sums_give_the_error_of_the_plain_sum) {
  for (const int bits : {8, 4, 2}) {
    const QuantParams params = chosen(silu_data(), RangeRule::kUnilateral, bits);
    const BinPoints points(silu_data());
    double plain = 0.0;
    for (size_t i = 0; i < points.centres().size(); ++i) {
      const double c = points.centres()[i];
      const double code = std::clamp(std::nearbyint(c / params.scale) + params.zero_point, 0.0,
                                     static_cast<double>(params.highest()));
      const double error = params.scale * (code - params.zero_point) - c;
      plain += points.count(i) * error * error;
    }
    EXPECT_NEAR(points.squared_error(levels_of(params)) / plain, 1.0, 1e-6) << bits;
  }
}

TEST(BinPoints, histogram_error_stands_for_the_error_of_the_values) {
  const std::vector<float> values = silu_of_gaussian();
  for (const int bits : {8, 4}) {
    const QuantParams params = chosen(silu_data(), RangeRule::kUnilateral, bits);
    EXPECT_NEAR(histogram_mse(silu_data(), params) / value_mse(values, params), 1.0, 0.03);
  }
}

}  // namespace
}  // namespace ounce::quantize
