// How far outputs are from the exact ones, on numbers worked out by hand.
#include "quantize/analysis/divergence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace ounce::quantize {
namespace {

Tensor scores(std::vector<float> values, Shape shape) {
  return Tensor::of(values, std::move(shape));
}

TEST(Divergence, OfAClassifierIsThatOfItsSoftmax) {
  const float two = std::log(2.0F);
  const std::vector<Tensor> exact = {scores({0, 0}, {1, 2})};    // 1/2, 1/2
  const std::vector<Tensor> other = {scores({two, 0}, {1, 2})};  // 2/3, 1/3
  EXPECT_TRUE(are_class_scores(exact));
  EXPECT_NEAR(divergence(exact, other), 0.5 * std::log(0.75) + 0.5 * std::log(1.5), 1e-6);
  EXPECT_EQ(divergence(exact, exact), 0.0);
  const std::vector<Tensor> shifted = {scores({7, 7}, {1, 2})};
  EXPECT_NEAR(divergence(exact, shifted), 0.0, 1e-12);
}

TEST(Divergence, OfAnythingElseIsTheErrorOverTheEnergy) {
  const std::vector<Tensor> exact = {scores({3, 4, 0}, {1, 1, 3}), scores({1}, {1})};
  const std::vector<Tensor> other = {scores({3, 4, 5}, {1, 1, 3}), scores({1}, {1})};
  EXPECT_FALSE(are_class_scores(exact));
  EXPECT_DOUBLE_EQ(divergence(exact, other), 0.5);  // 25 / 25 and 0
  EXPECT_DOUBLE_EQ(agreement(exact, other), 0.5);
  EXPECT_DOUBLE_EQ(agreement(exact, exact), 1.0);
}

TEST(Divergence, OfNansIsInfinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isinf(
      divergence(std::vector{scores({0, 1}, {1, 2})}, std::vector{scores({nan, 1}, {1, 2})})));
  EXPECT_TRUE(
      std::isinf(divergence(std::vector{scores({1, 1}, {2})}, std::vector{scores({nan, 1}, {2})})));
}

TEST(Agreement, OfAClassifierCountsBestClasses) {
  const std::vector<Tensor> exact = {scores({0, 1, 1, 0}, {2, 2})};
  const std::vector<Tensor> other = {scores({0, 9, 0, 1}, {2, 2})};
  EXPECT_DOUBLE_EQ(agreement(exact, other), 0.5);
}

}  // namespace
}  // namespace ounce::quantize
