#include "quantize/analysis/input_check.h"

#include <gtest/gtest.h>

#include <random>

namespace ounce::quantize {
namespace {

Tensor picture(float mean, float deviation, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(mean, deviation);
  Tensor tensor(DType::f32, {1, 3, 16, 16});
  for (float& value : tensor.mutable_data<float>()) value = normal(random);
  return tensor;
}

std::vector<std::string> doubts(std::vector<Tensor> pictures) {
  std::vector<std::vector<Tensor>> runs;
  for (Tensor& one : pictures) runs.push_back({std::move(one)});
  TensorSource source(std::move(runs));
  return doubts_about(input_variety(source));
}

TEST(InputCheck, ordinary_pictures_raise_no_doubt) {
  EXPECT_TRUE(
      doubts({picture(0.2F, 1.0F, 1), picture(-0.3F, 0.8F, 2), picture(0, 1.2F, 3)}).empty());
  EXPECT_TRUE(doubts({picture(120.0F, 60.0F, 1), picture(90.0F, 40.0F, 2)}).empty());
  EXPECT_TRUE(doubts({picture(0.0F, 1.0F, 1)}).empty()) << "one picture is like itself";
}

TEST(InputCheck, black_pictures_are_told_with_the_figure) {
  for (const float black : {0.0F, -2.1F, -1.0F}) {
    const auto lines = doubts({picture(black, 0.0F, 1), picture(black, 0.0F, 2)});
    ASSERT_EQ(lines.size(), 1U) << black;
    EXPECT_NE(lines[0].find("no content"), std::string::npos) << lines[0];
    EXPECT_NE(lines[0].find("2 inputs"), std::string::npos) << lines[0];
  }
  // A channel mean each: one colour is no content either.
  Tensor colour(DType::f32, {1, 3, 16, 16});
  for (size_t i = 0; i < 768; ++i)
    colour.mutable_data<float>()[i] = static_cast<float>(i / 256) - 1;
  EXPECT_EQ(doubts({colour, colour}).size(), 1U);
}

TEST(InputCheck, copies_of_one_picture_are_told) {
  const auto lines =
      doubts({picture(0.0F, 1.0F, 1), picture(0.0F, 1.0F, 1), picture(0.0F, 1.0F, 1)});
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_NE(lines[0].find("all alike"), std::string::npos) << lines[0];
}

TEST(InputCheck, pictures_of_different_sizes_are_not_called_alike) {
  Tensor larger(DType::f32, {1, 3, 20, 16});
  for (size_t i = 0; i < 960; ++i) larger.mutable_data<float>()[i] = static_cast<float>(i % 7);
  EXPECT_TRUE(doubts({picture(0.0F, 1.0F, 1), larger}).empty());
}

TEST(InputCheck, no_input_raises_no_doubt) {
  EXPECT_TRUE(doubts({}).empty());
}

}  // namespace
}  // namespace ounce::quantize
