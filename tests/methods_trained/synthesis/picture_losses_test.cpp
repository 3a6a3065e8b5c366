#include "methods/trained/synthesis/picture_losses.h"

#include <gtest/gtest.h>

#include "tests/quantize/graphs.h"
#include "tests/train/quantizers/checks.h"

namespace ounce::methods {
namespace {

TEST(PictureLosses, constant_pictures_have_no_variation_others_that_of_their_differences) {
  EXPECT_EQ(total_variation(at::full({2, 3, 8, 8}, 0.7)).item<double>(), 0.0);
  // One row up, one row down: each step down is one, along both diagonals too, none to the right.
  at::Tensor ramp = at::arange(3, at::kDouble).reshape({1, 1, 3, 1}).expand({1, 1, 3, 2});
  const double down = std::sqrt(4.0);      // 2 steps in 2 columns
  const double diagonal = std::sqrt(2.0);  // 2 steps in 1 place
  EXPECT_NEAR(total_variation(ramp).item<double>(), down + 2 * diagonal, 1e-9);
}

TEST(PictureLosses, wanted_variation_follows_the_number_of_pixels) {
  std::mt19937_64 random(1);
  const double large = wanted_variation(at::zeros({32, 3, 224, 224}), random);
  EXPECT_GE(large, 2500.0);
  EXPECT_LE(large, 3000.0);
  const double small = wanted_variation(at::zeros({8, 3, 112, 112}), random);
  EXPECT_GE(small, 2500.0 / 4);
  EXPECT_LE(small, 3000.0 / 4);
}

TEST(PictureLosses, patches_that_differ_have_more_entropy) {
  std::mt19937_64 random(1);
  const at::Tensor alike =
      at::ones({1, 49, 16}) + 0.01 * train::testing::normal_f32({1, 49, 16}, 1);
  const at::Tensor different = train::testing::normal_f32({1, 49, 4}, 2);
  EXPECT_GT(patch_similarity_entropy(different, random).item<double>(),
            patch_similarity_entropy(alike, random).item<double>() + 1.0);
  // Similarities of random directions in 4 dimensions: the density is (2 / pi) sqrt(1 - x^2).
  EXPECT_NEAR(
      patch_similarity_entropy(train::testing::normal_f32({4, 400, 4}, 3), random).item<double>(),
      std::log(3.14159265) - 0.5, 0.06);
}

TEST(PictureLosses, statistics_match_where_the_data_are_those_of_training) {
  const NormStatistics norm = {"x", at::tensor({1.0F, -2.0F}), at::tensor({4.0F, 0.25F})};
  at::Tensor x = train::testing::normal_f32({8, 2, 5, 5}, 1).transpose(0, 1).flatten(1);
  x = (x - x.mean(1, true)) / at::sqrt(at::var(x, {1}, false, true));
  x = x * at::tensor({2.0F, 0.5F}).unsqueeze(1) + at::tensor({1.0F, -2.0F}).unsqueeze(1);
  x = x.reshape({2, 8, 5, 5}).transpose(0, 1);
  EXPECT_NEAR(statistics_mismatch({{"x", x}}, {norm}).item<double>(), 0.0, 1e-5);
  EXPECT_NEAR(statistics_mismatch({{"x", x + 3}}, {norm}).item<double>(), 18.0, 1e-3);
}

}  // namespace
}  // namespace ounce::methods
