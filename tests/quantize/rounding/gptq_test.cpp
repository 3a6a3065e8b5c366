#include "quantize/rounding/gptq.h"

#include <gtest/gtest.h>

#include <random>

#include "graph/error.h"

namespace ounce::quantize {
namespace {

std::vector<float> normal(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> result(static_cast<size_t>(count));
  for (float& value : result) value = distribution(random);
  return result;
}

/// Sums over rows of `inputs` numbers of which neighbours are alike.
Gram correlated(int64_t inputs, unsigned seed) {
  constexpr int64_t kRows = 400;
  Gram gram{inputs, std::vector<double>(static_cast<size_t>(inputs * inputs), 0.0)};
  const std::vector<float> noise = normal(kRows * inputs, seed);
  std::vector<double> row(static_cast<size_t>(inputs));
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t i = 0; i < inputs; ++i) {
      const double fresh = noise[static_cast<size_t>(r * inputs + i)];
      row[static_cast<size_t>(i)] = i == 0 ? fresh : 0.9 * row[static_cast<size_t>(i - 1)] + fresh;
    }
    for (int64_t i = 0; i < inputs; ++i) {
      for (int64_t j = 0; j < inputs; ++j) {
        gram.sums[static_cast<size_t>(i * inputs + j)] +=
            row[static_cast<size_t>(i)] * row[static_cast<size_t>(j)];
      }
    }
  }
  return gram;
}

/// sum over outputs of d' H d; weights [outputs, inputs].
double error_of(const Tensor& weights, const QuantizedWeights& quantized, const Gram& gram) {
  const Tensor rounded = quantized.dequantize();
  const auto w = weights.data<float>();
  const auto q = rounded.data<float>();
  double sum = 0.0;
  for (size_t first = 0; first < w.size(); first += static_cast<size_t>(gram.size)) {
    for (size_t i = 0; i < static_cast<size_t>(gram.size); ++i) {
      for (size_t j = 0; j < static_cast<size_t>(gram.size); ++j) {
        sum += (w[first + i] - q[first + i]) * (w[first + j] - q[first + j]) *
               gram.sums[i * static_cast<size_t>(gram.size) + j];
      }
    }
  }
  return sum;
}

WeightOptions with_bits(int bits, Granularity granularity = Granularity::kChannel) {
  WeightOptions options;
  options.bits = bits;
  options.granularity = granularity;
  options.group_size = 8;
  return options;
}

TEST(Gptq, with_uncorrelated_inputs_is_rounding_to_nearest) {
  const Tensor weights = Tensor::of(normal(6 * 24, 1), {6, 24});
  Gram identity{24, std::vector<double>(24 * 24, 0.0)};
  for (size_t i = 0; i < 24; ++i) identity.sums[i * 25] = 3.0;
  for (const int bits : {2, 4, 8}) {
    QuantizedWeights quantized = quantize_weights(weights, {0, 1}, with_bits(bits), "w");
    const std::vector<int64_t> nearest = quantized.codes.to_i64();
    EXPECT_TRUE(gptq_round(weights, {0, 1}, with_bits(bits), identity, quantized));
    EXPECT_EQ(quantized.codes.to_i64(), nearest) << bits;
  }
}

TEST(Gptq, comes_closer_to_the_results_of_correlated_inputs) {
  const Tensor weights = Tensor::of(normal(10 * 32, 2), {10, 32});
  const Gram gram = correlated(32, 3);
  for (const auto granularity :
       {Granularity::kTensor, Granularity::kChannel, Granularity::kGroup}) {
    for (const int bits : {1, 2, 3, 4, 8}) {
      const WeightOptions options = with_bits(bits, granularity);
      QuantizedWeights quantized = quantize_weights(weights, {0, 1}, options, "w");
      const double nearest = error_of(weights, quantized, gram);
      const std::vector<float> scales = quantized.scales.to_f32();
      ASSERT_TRUE(gptq_round(weights, {0, 1}, options, gram, quantized)) << bits;
      EXPECT_LT(error_of(weights, quantized, gram), 0.7 * nearest) << bits;
      EXPECT_EQ(quantized.scales.to_f32(), scales);
      QuantParams params;
      params.bits = bits;
      params.is_signed = true;
      for (const int64_t code : quantized.codes.to_i64()) {
        EXPECT_GE(code, bits == 1 ? -1 : params.lowest());
        EXPECT_LE(code, bits == 1 ? 1 : params.highest());
      }
    }
  }
}

TEST(Gptq, ternary_codes_stay_ternary) {
  WeightOptions options = with_bits(2);
  options.ternary = true;
  const Tensor weights = Tensor::of(normal(10 * 32, 2), {10, 32});
  const Gram gram = correlated(32, 3);
  QuantizedWeights quantized = quantize_weights(weights, {0, 1}, options, "w");
  const double nearest = error_of(weights, quantized, gram);
  ASSERT_TRUE(gptq_round(weights, {0, 1}, options, gram, quantized));
  EXPECT_LT(error_of(weights, quantized, gram), nearest);
  for (const int64_t code : quantized.codes.to_i64()) EXPECT_LE(std::abs(code), 1);
}

TEST(Gptq, knows_weights_of_either_layout_and_of_single_pixels) {
  const std::vector<float> values = normal(6 * 16, 4);
  std::vector<float> turned(values.size());
  for (size_t o = 0; o < 6; ++o) {
    for (size_t i = 0; i < 16; ++i) turned[i * 6 + o] = values[o * 16 + i];
  }
  const Gram gram = correlated(16, 5);
  for (const auto granularity : {Granularity::kChannel, Granularity::kGroup}) {
    const WeightOptions options = with_bits(3, granularity);
    const auto codes = [&](const Tensor& weights, WeightAxes axes) {
      QuantizedWeights quantized = quantize_weights(weights, axes, options, "w");
      EXPECT_TRUE(gptq_round(weights, axes, options, gram, quantized));
      return quantized.codes;
    };
    const Tensor rows = codes(Tensor::of(values, {6, 16}), {0, 1});
    const Tensor columns = codes(Tensor::of(turned, {16, 6}), {1, 0});
    const Tensor pixels = codes(Tensor::of(values, {6, 16, 1, 1}), {0, 1});
    EXPECT_EQ(rows.to_i64(), pixels.to_i64());
    // Groups of four channels of four pixels are other groups than those of sixteen inputs.
    if (granularity == Granularity::kChannel) {
      EXPECT_EQ(rows.to_i64(), codes(Tensor::of(values, {6, 4, 2, 2}), {0, 1}).to_i64());
    }
    for (size_t o = 0; o < 6; ++o) {
      for (size_t i = 0; i < 16; ++i) {
        EXPECT_EQ(rows.to_i64()[o * 16 + i], columns.to_i64()[i * 6 + o]);
      }
    }
  }
}

TEST(Gptq, inputs_that_are_always_zero_get_zero) {
  const Tensor weights = Tensor::of(normal(4 * 16, 6), {4, 16});
  Gram gram = correlated(16, 7);
  for (size_t i = 0; i < 16; ++i) gram.sums[5 * 16 + i] = gram.sums[i * 16 + 5] = 0.0;
  QuantizedWeights quantized = quantize_weights(weights, {0, 1}, with_bits(4), "w");
  ASSERT_TRUE(gptq_round(weights, {0, 1}, with_bits(4), gram, quantized));
  for (size_t o = 0; o < 4; ++o) EXPECT_EQ(quantized.codes.to_i64()[o * 16 + 5], 0);
}

TEST(Gptq, refuses_sums_of_another_layer) {
  const Tensor weights = Tensor::of(normal(4 * 16, 6), {4, 16});
  QuantizedWeights quantized = quantize_weights(weights, {0, 1}, with_bits(4), "w");
  EXPECT_THROW(gptq_round(weights, {0, 1}, with_bits(4), correlated(8, 1), quantized), Error);
}

}  // namespace
}  // namespace ounce::quantize
