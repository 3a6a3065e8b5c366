#include "quantize/least_squares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "graph/error.h"
#include "quantize/weights.h"
#include "tests/quantize/fixtures.h"

namespace ounce::quantize {
namespace {

std::vector<float> random_values(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

/// The least squared error over codes out of `levels` for every value, each combination with the
/// scale that fits it best: sum w^2 - (w.q)^2 / (q.q).
double least_error(const std::vector<float>& values, const std::vector<int>& levels) {
  std::vector<size_t> choice(values.size(), 0);
  double squares = 0.0;
  for (const float value : values) squares += static_cast<double>(value) * value;
  double least = squares;
  while (true) {
    double wq = 0.0;
    double qq = 0.0;
    for (size_t i = 0; i < values.size(); ++i) {
      const int q = levels[choice[i]];
      wq += static_cast<double>(values[i]) * q;
      qq += q * q;
    }
    if (qq > 0.0) least = std::min(least, squares - wq * wq / qq);
    size_t digit = 0;
    while (digit < choice.size() && ++choice[digit] == levels.size()) choice[digit++] = 0;
    if (digit == choice.size()) return least;
  }
}

double error_of(const std::vector<float>& values, const QuantizedWeights& quantized) {
  const Tensor back = quantized.dequantize();
  double error = 0.0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double difference = static_cast<double>(values[i]) - back.data<float>()[i];
    error += difference * difference;
  }
  return error;
}

QuantizedWeights quantized(const std::vector<float>& values, std::string_view bits,
                           Granularity granularity = Granularity::kTensor) {
  WeightOptions options;
  EXPECT_TRUE(set_weight_bits(options, bits));
  options.granularity = granularity;
  options.group_size = 4;
  return quantize_weights(Tensor::of(values, {1, static_cast<int64_t>(values.size())}), {0, 1},
                          options, "w");
}

/// What rounding sums of f32 squares can add.
constexpr double kTolerance = 1e-6;

TEST(LeastSquares, one_bit_is_the_best_of_all_signs_and_scales) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    const std::vector<float> values = random_values(10, seed);
    EXPECT_NEAR(error_of(values, quantized(values, "1")), least_error(values, {-1, 1}), kTolerance)
        << "seed " << seed;
  }
}

TEST(LeastSquares, ternary_is_the_best_of_all_codes_and_scales) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::vector<float> values = random_values(9, seed);
    if (seed % 4 == 0) values[2] *= 30.0F;  // one that is worth all others
    EXPECT_NEAR(error_of(values, quantized(values, "ternary")), least_error(values, {-1, 0, 1}),
                kTolerance)
        << "seed " << seed;
  }
}

TEST(LeastSquares, ternary_codes_are_the_nearest_ones) {
  const std::vector<float> values = random_values(1000, 3);
  const QuantizedWeights result = quantized(values, "ternary");
  const float scale = result.scales.data<float>()[0];
  EXPECT_FLOAT_EQ(scale, ternary_scale(values));
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(result.codes.data<int8_t>()[i],
              static_cast<int>(round_code(values[i] / scale, -1.0F, 1.0F)));
  }
}

TEST(LeastSquares, zero_is_positive_in_one_bit) {
  const QuantizedWeights result = quantized({-0.0F, 0.0F, 2.0F, -2.0F}, "1");
  EXPECT_EQ(result.codes.to_i64(), (std::vector<int64_t>{1, 1, 1, -1}));
  EXPECT_EQ(result.scales.data<float>()[0], 1.0F);
}

TEST(LeastSquares, nothing_but_zeros_stays_nothing) {
  EXPECT_EQ(sign_scale({}), 0.0F);
  EXPECT_EQ(ternary_scale(std::vector<float>(5, 0.0F)), 0.0F);
  EXPECT_EQ(zero_one_scale(Histogram({0.0F, 0.0F})), 0.0F);
  for (const char* bits : {"1", "ternary"}) {
    const QuantizedWeights result = quantized(std::vector<float>(7, 0.0F), bits);
    EXPECT_GT(result.scales.data<float>()[0], 0.0F) << bits;  // biases are divided by it
    const Tensor back = result.dequantize();
    for (const float value : back.data<float>()) EXPECT_NEAR(value, 0.0F, 1e-29F);
  }
}

TEST(LeastSquares, scales_lie_along_channels_and_groups) {
  const std::vector<float> values = {1, -1, 1, 1, 10, -30, 20, 20, 5};
  const QuantizedWeights groups = quantized(values, "1", Granularity::kGroup);
  EXPECT_EQ(groups.scales.shape(), (Shape{1, 3}));
  EXPECT_EQ(groups.scales.to_f32(), (std::vector<float>{1, 20, 5}));
  const QuantizedWeights ternary = quantized(values, "ternary", Granularity::kGroup);
  EXPECT_EQ(ternary.scales.to_f32(), (std::vector<float>{1, 70.0F / 3.0F, 5}));
  EXPECT_EQ(ternary.codes.to_i64(), (std::vector<int64_t>{1, -1, 1, 1, 0, -1, 1, 1, 1}));
}

TEST(LeastSquares, a_scale_can_be_raised_for_the_bias) {
  const Tensor weights = Tensor::of(std::vector<float>{0.5F, -0.25F}, {1, 2});
  const std::vector<float> least{3.0F};
  for (const char* bits : {"1", "ternary"}) {
    WeightOptions options;
    ASSERT_TRUE(set_weight_bits(options, bits));
    const QuantizedWeights result = quantize_weights(weights, {0, 1}, options, "w", least);
    EXPECT_EQ(result.scales.data<float>()[0], 3.0F) << bits;
  }
}

/// Squared error of x against r where x > r / 2, 0 elsewhere, over the bins.
double zero_one_error(const Histogram& histogram, double r) {
  double error = 0.0;
  for (int bin = 0; bin < histogram.bins(); ++bin) {
    const double x = histogram.centre(bin);
    const double difference = x - (x > r / 2 ? r : 0.0);
    error +=
        static_cast<double>(histogram.counts()[static_cast<size_t>(bin)]) * difference * difference;
  }
  return error;
}

TEST(LeastSquares, zero_and_one_have_the_best_of_all_scales) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    // Like a softmax map: much that is small, a few that are large.
    std::vector<float> values = random_values(5000, seed);
    for (float& value : values) value = std::exp(2.0F * value);
    const Histogram histogram = testing::observe(values).histogram;
    const double found = zero_one_error(histogram, zero_one_scale(histogram));
    double least = found;
    for (int i = 1; i <= 20000; ++i) {
      least = std::min(least, zero_one_error(histogram, i * histogram.interval().high / 20000.0));
    }
    EXPECT_LE(found, least * (1.0 + kTolerance)) << "seed " << seed;
  }
}

TEST(LeastSquares, the_mean_magnitude_does_not_depend_on_the_order) {
  const std::vector<float> values = random_values(3001, 7);
  const std::span<const float> all(values);
  Extent extent;
  extent.add(all, "x");
  MeanMagnitude forwards(extent.range());
  MeanMagnitude backwards(extent.range());
  for (int i = 0; i < 3; ++i) forwards.add(all.subspan(static_cast<size_t>(i) * 1000, 1000));
  for (int i = 2; i >= 0; --i) backwards.add(all.subspan(static_cast<size_t>(i) * 1000, 1000));
  EXPECT_EQ(forwards.mean(), backwards.mean());
  EXPECT_NEAR(forwards.mean(), sign_scale(all.first(3000)), 1e-6F);
  EXPECT_EQ(MeanMagnitude({0.0F, 0.0F}).mean(), 0.0F);
}

TEST(WeightBitsText, words_are_one_to_eight_and_ternary) {
  WeightOptions options;
  for (const char* word : {"1", "2", "3", "4", "5", "6", "7", "8", "ternary"}) {
    ASSERT_TRUE(set_weight_bits(options, word));
    EXPECT_EQ(bits_text(options), word);
  }
  EXPECT_EQ(options.bits, 2);
  for (const char* word : {"", "0", "9", "12", "-1", "f32", "Ternary", "1.58", "4 "}) {
    EXPECT_FALSE(set_weight_bits(options, word)) << word;
  }
  EXPECT_EQ(bits_text(options), "ternary");
}

TEST(PackCodes, takes_the_narrowest_type_and_its_bytes) {
  const std::vector<float> values = random_values(64, 4);
  for (const auto& [word, dtype, bytes] : {std::tuple{"8", DType::i8, 64U},
                                           {"5", DType::i8, 64U},
                                           {"4", DType::i4, 32U},
                                           {"3", DType::i3, 24U},
                                           {"2", DType::i2, 16U},
                                           {"ternary", DType::i2, 16U},
                                           {"1", DType::u1, 8U}}) {
    WeightOptions options;
    ASSERT_TRUE(set_weight_bits(options, word));
    const QuantizedWeights result = quantized(values, word);
    const Tensor packed = pack_codes(result.codes, options.bits);
    EXPECT_EQ(packed.dtype(), dtype) << word;
    EXPECT_EQ(packed.bytes(), bytes) << word;
    EXPECT_EQ(packed.to_i64(), result.codes.to_i64()) << word;
  }
}

TEST(PackCodes, bits_that_there_are_not_are_refused) {
  WeightOptions options;
  for (const int bits : {0, 9, -1}) {
    options.bits = bits;
    EXPECT_THROW(quantize_weights(Tensor(DType::f32, {2, 2}), {0, 1}, options, "w"), Error) << bits;
  }
}

}  // namespace
}  // namespace ounce::quantize
