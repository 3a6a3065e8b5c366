#include "quantize/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "graph/error.h"

namespace ounce::quantize {
namespace {

Tensor random_weights(Shape shape, unsigned seed) {
  Tensor tensor(DType::f32, std::move(shape));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (float& value : tensor.mutable_data<float>()) value = normal(random);
  return tensor;
}

double squared_error(const Tensor& a, const Tensor& b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.data<float>().size(); ++i) {
    const double difference = static_cast<double>(a.data<float>()[i]) - b.data<float>()[i];
    sum += difference * difference;
  }
  return sum;
}

WeightOptions options(int bits, Granularity granularity, WeightRule rule = WeightRule::kMinMax) {
  WeightOptions result;
  result.bits = bits;
  result.granularity = granularity;
  result.group_size = 5;
  result.rule = rule;
  return result;
}

class WeightBits : public ::testing::TestWithParam<int> {};

TEST_P(WeightBits, min_max_errs_by_at_most_half_a_step) {
  const int bits = GetParam();
  const Tensor weights = random_weights({6, 13, 3, 3}, 5);
  for (const Granularity granularity :
       {Granularity::kTensor, Granularity::kChannel, Granularity::kGroup}) {
    const QuantizedWeights q = quantize_weights(weights, {0, 1}, options(bits, granularity), "w");
    const Tensor back = q.dequantize();
    float largest_scale = 0.0F;
    for (const float s : q.scales.data<float>()) largest_scale = std::max(largest_scale, s);
    for (size_t i = 0; i < back.data<float>().size(); ++i) {
      EXPECT_NEAR(back.data<float>()[i], weights.data<float>()[i], 0.5001F * largest_scale);
    }
  }
}

TEST_P(WeightBits, codes_stay_in_their_range) {
  const int bits = GetParam();
  const int32_t high = (1 << (bits - 1)) - 1;
  const int32_t low = bits == 8 ? -127 : -(1 << (bits - 1));
  const Tensor weights = random_weights({32, 64}, 6);
  for (const WeightRule rule : {WeightRule::kMinMax, WeightRule::kMse}) {
    const QuantizedWeights q =
        quantize_weights(weights, {1, 0}, options(bits, Granularity::kChannel, rule), "w");
    for (const int8_t code : q.codes.data<int8_t>()) {
      EXPECT_GE(code, low);
      EXPECT_LE(code, high);
    }
    EXPECT_EQ(q.scales.shape(), Shape{64});
    EXPECT_EQ(pack_codes(q.codes, bits).to_i64(), q.codes.to_i64());
  }
}

TEST_P(WeightBits, mse_is_never_worse_than_min_max) {
  const Tensor weights = random_weights({16, 40}, 8);
  for (const Granularity granularity :
       {Granularity::kTensor, Granularity::kChannel, Granularity::kGroup}) {
    const auto error = [&](WeightRule rule) {
      return squared_error(
          weights, quantize_weights(weights, {0, 1}, options(GetParam(), granularity, rule), "w")
                       .dequantize());
    };
    EXPECT_LE(error(WeightRule::kMse), error(WeightRule::kMinMax));
  }
}

TEST_P(WeightBits, finer_scales_never_hurt_much) {
  const Tensor weights = random_weights({16, 40}, 9);
  const auto error = [&](Granularity granularity) {
    return squared_error(
        weights,
        quantize_weights(weights, {0, 1}, options(GetParam(), granularity), "w").dequantize());
  };
  EXPECT_LT(error(Granularity::kChannel), error(Granularity::kTensor));
  EXPECT_LT(error(Granularity::kGroup), error(Granularity::kChannel));
}

INSTANTIATE_TEST_SUITE_P(bits, WeightBits, ::testing::Values(8, 6, 4, 3, 2));

TEST(Weights, blocks_have_the_shape_that_dequantize_linear_takes) {
  const Tensor weights = random_weights({12, 7}, 1);  // [K, N]
  const QuantizedWeights q =
      quantize_weights(weights, {1, 0}, options(4, Granularity::kGroup), "w");
  EXPECT_EQ(q.scales.shape(), (Shape{3, 7}));
  EXPECT_EQ(q.axis, 0);
  EXPECT_EQ(q.block_size, 5);
}

TEST(Weights, a_channel_of_zeros_gets_codes_of_zero_and_a_positive_scale) {
  Tensor weights(DType::f32, {2, 4});
  weights.mutable_data<float>()[5] = 1.0F;
  const QuantizedWeights q =
      quantize_weights(weights, {0, 1}, options(8, Granularity::kChannel), "w");
  EXPECT_GT(q.scales.data<float>()[0], 0.0F);
  EXPECT_EQ(q.codes.data<int8_t>()[0], 0);
  EXPECT_EQ(q.codes.data<int8_t>()[5], 127);
}

TEST(Weights, not_finite_weights_are_named) {
  Tensor weights(DType::f32, {2, 2});
  weights.mutable_data<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  try {
    quantize_weights(weights, {0, 1}, {}, "head.conv.weight");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.where().find("head.conv.weight"), std::string::npos);
  }
}

TEST(Weights, a_large_bias_on_tiny_weights_still_fits) {
  const Tensor weights = Tensor::of(std::vector<float>{1e-12F, -1e-12F}, {1, 2});
  const float input_scale = 0.01F;
  const std::vector<float> bias{3.0F};
  const std::vector<float> least{least_weight_scale(bias[0], input_scale)};
  const QuantizedWeights q =
      quantize_weights(weights, {0, 1}, options(8, Granularity::kChannel), "w", least);
  const Tensor codes = quantize_bias(bias, input_scale, q.scales.data<float>());
  const double back = static_cast<double>(codes.data<int32_t>()[0]) *
                      static_cast<double>(input_scale * q.scales.data<float>()[0]);
  EXPECT_NEAR(back, 3.0, 1e-5);
}

}  // namespace
}  // namespace ounce::quantize
