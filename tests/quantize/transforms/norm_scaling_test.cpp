#include "quantize/transforms/norm_scaling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace ounce::quantize {
namespace {

/// Normal numbers about `mean`, with the two ends `mean` +- 3 `sigma` among them.
ObservedData seen(float mean, float sigma, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(mean, sigma);
  std::vector<float> values = {mean - 3 * sigma, mean + 3 * sigma};
  for (int i = 0; i < 2000; ++i) {
    values.push_back(std::clamp(normal(random), values[0], values[1]));
  }
  Extent extent;
  extent.add(values, "x");
  ObservedData data{Histogram(extent.range()), {}};
  data.histogram.add(values);
  return data;
}

RangeRequest minmax(int bits) {
  RangeRequest request;
  request.rule = RangeRule::kMinMax;
  request.bits = bits;
  return request;
}

TEST(RepqScaling, gives_all_channels_one_range) {
  const std::vector<ObservedData> channels = {seen(0.0F, 1.0F, 1), seen(2.0F, 0.1F, 2),
                                              seen(-5.0F, 8.0F, 3)};
  const NormScaling scaling = repq_scaling(channels, minmax(4), true);
  std::vector<Range> ranges;
  for (size_t c = 0; c < 3; ++c) {
    const Range range = channels[c].histogram.interval();
    ranges.push_back({range.low / scaling.scales[c] - scaling.shifts[c],
                      range.high / scaling.scales[c] - scaling.shifts[c]});
  }
  // Equal widths; the origin is one of codes, so ends are equal to half a step.
  const float step = (ranges[0].high - ranges[0].low) / 15;
  for (size_t c = 1; c < 3; ++c) {
    EXPECT_NEAR(ranges[c].high - ranges[c].low, 15 * step, 1e-3 * step);
    EXPECT_NEAR(ranges[c].low, ranges[0].low, 1.01F * step);
  }
  // Means of the channels' own scales: (6 + 0.6 + 48) / 3 / 15.
  EXPECT_NEAR(step, 54.6F / 45, 1e-3F);
}

TEST(RepqScaling, without_an_offset_extents_become_alike) {
  const std::vector<ObservedData> channels = {seen(0.0F, 1.0F, 1), seen(0.0F, 4.0F, 2)};
  const NormScaling scaling = repq_scaling(channels, minmax(4), false);
  EXPECT_TRUE(scaling.shifts.empty());
  EXPECT_NEAR(scaling.scales[1] / scaling.scales[0], 4.0F, 1e-4F);
}

TEST(RepqScaling, leaves_channels_alone_that_never_change) {
  ObservedData constant{Histogram({3.0F, 3.0F}), {}};
  constant.histogram.add(std::vector<float>(10, 3.0F));
  const std::vector<ObservedData> channels = {seen(0.0F, 1.0F, 1), constant, seen(0.0F, 3.0F, 2)};
  const NormScaling scaling = repq_scaling(channels, minmax(8), true);
  EXPECT_EQ(scaling.scales[1], 1.0F);
  EXPECT_EQ(scaling.shifts[1], 0.0F);
  EXPECT_NEAR(scaling.scales[0] + scaling.scales[2], 2.0F, 1e-4F);
}

TEST(SmoothScaling, is_the_formula_of_the_paper) {
  const std::vector<float> x = {16.0F, 1.0F, 0.0F};
  const std::vector<float> w = {1.0F, 4.0F, 1.0F};
  const NormScaling half = smooth_scaling(x, w, 0.5);
  EXPECT_FLOAT_EQ(half.scales[0], 4.0F);
  EXPECT_FLOAT_EQ(half.scales[1], 0.5F);
  EXPECT_EQ(half.scales[2], 1.0F) << "nothing to smooth";
  // All of the difference goes to the weights; none of it.
  EXPECT_FLOAT_EQ(smooth_scaling(x, w, 1.0).scales[0], 16.0F);
  EXPECT_FLOAT_EQ(smooth_scaling(x, w, 0.0).scales[1], 0.25F);
}

}  // namespace
}  // namespace ounce::quantize
