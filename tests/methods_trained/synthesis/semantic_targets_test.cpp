#include "methods/trained/synthesis/semantic_targets.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/train/quantizers/checks.h"
#include "train/losses.h"

namespace ounce::methods {
namespace {

TEST(SemanticTargets, soft_targets_sum_to_one_and_peak_at_a_relevant_class) {
  std::mt19937_64 random(1);
  for (const int64_t classes : {10, 100, 1000}) {
    double least = 1.0;
    double most = 0.0;
    int peaks = 0;
    constexpr int kDraws = 200;
    for (int i = 0; i < kDraws; ++i) {
      const at::Tensor target = soft_target(classes, {3}, random);
      EXPECT_NEAR(target.sum().item<double>(), 1.0, 1e-5);
      peaks += target.argmax().item<int64_t>() == 3 ? 1 : 0;
      least = std::min(least, target[3].item<double>());
      most = std::max(most, target[3].item<double>());
    }
    EXPECT_GT(peaks, kDraws * 9 / 10) << classes;
    EXPECT_GT(most, 0.85) << classes;
    EXPECT_LT(least, 0.5) << classes << ": targets of varying confidence";
  }
}

TEST(SemanticTargets, logits_of_few_classes_are_those_of_the_wanted_probabilities) {
  const LogitInterval ten = relevant_logits(10);
  EXPECT_NEAR(ten.low, 1.85, 0.05);
  EXPECT_NEAR(ten.high, 5.64, 0.05);
  EXPECT_EQ(relevant_logits(1000).low, 5.0);
  EXPECT_EQ(relevant_logits(1000).high, 10.0);
}

TEST(SemanticTargets, soft_cross_entropy_has_the_known_gradient_and_minimum) {
  const at::Tensor target = at::softmax(train::testing::normal({2, 5}, 1), -1);
  const at::Tensor logits = train::testing::normal({2, 5}, 2);
  const auto loss = [&](const at::Tensor& z) {
    return train::target_cross_entropy(z, target).mean();
  };
  const at::Tensor expected = (at::softmax(logits, -1) - target) / 2;
  EXPECT_TRUE(train::testing::near(train::testing::numeric_gradient(loss, logits), expected, 1e-6));
  const double entropy = -(target * at::log(target)).sum(-1).mean().item<double>();
  EXPECT_NEAR(loss(at::log(target)).item<double>(), entropy, 1e-9);
  EXPECT_GT(loss(logits).item<double>(), entropy);
}

TEST(SemanticTargets, regions_keep_apart_and_inside) {
  std::mt19937_64 random(2);
  size_t most = 0;
  for (int i = 0; i < 50; ++i) {
    const auto regions = random_regions(32, 40, 10, random);
    ASSERT_FALSE(regions.empty());
    most = std::max(most, regions.size());
    at::Tensor covered = at::zeros({32, 40});
    for (const PictureRegion& region : regions) {
      covered.narrow(0, region.top, region.height).narrow(1, region.left, region.width) += 1;
      EXPECT_GE(region.height, 9);
      EXPECT_LE(region.width, 20);
    }
    EXPECT_LE(covered.max().item<float>(), 1.0F);
  }
  EXPECT_GT(most, 2U);
}

TEST(SemanticTargets, gradient_of_a_region_stays_in_it) {
  const PictureRegion region = {2, 3, 4, 5, 0};
  const at::Tensor slopes = train::testing::normal({3, 12, 12}, 3);
  const at::Tensor picture = train::testing::normal({3, 12, 12}, 4);
  const auto shown = [&](const at::Tensor& x) { return (enlarged(x, region) * slopes).sum(); };
  at::Tensor x = picture.clone().set_requires_grad(true);
  shown(x).backward();
  EXPECT_TRUE(
      train::testing::near(x.grad(), train::testing::numeric_gradient(shown, picture), 1e-5));
  at::Tensor outside = x.grad().clone();
  outside.narrow(1, 2, 4).narrow(2, 3, 5).zero_();
  EXPECT_EQ(outside.abs().max().item<double>(), 0.0);
}

}  // namespace
}  // namespace ounce::methods
