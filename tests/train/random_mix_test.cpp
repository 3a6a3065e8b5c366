#include "train/random_mix.h"

#include <gtest/gtest.h>

namespace ounce::train {
namespace {

TEST(RandomMix, replaces_about_the_share_and_gives_each_its_gradient) {
  at::Tensor x = at::zeros({7, 1001});
  at::Tensor other = at::ones({7, 1001});
  x.set_requires_grad(true);
  other.set_requires_grad(true);
  for (const double share : {0.0, 0.25, 0.5}) {
    uint64_t state = 1;
    const at::Tensor mixed = mixed_at_random(x, other, share, state);
    EXPECT_NEAR(mixed.mean().item<double>(), share, 0.02);
    const at::Tensor chosen = mixed.detach();
    EXPECT_TRUE(((chosen == 0) | (chosen == 1)).all().item<bool>());
    x.mutable_grad() = at::Tensor();
    other.mutable_grad() = at::Tensor();
    mixed.sum().backward();
    EXPECT_TRUE(at::equal(other.grad(), chosen));
    EXPECT_TRUE(at::equal(x.grad(), 1 - chosen));
  }
}

TEST(RandomMix, goes_on_with_other_numbers_and_repeats_them_from_the_same_state) {
  const at::Tensor x = at::zeros({257});
  const at::Tensor other = at::ones({257});
  uint64_t state = 7;
  const at::Tensor first = mixed_at_random(x, other, 0.5, state);
  const at::Tensor second = mixed_at_random(x, other, 0.5, state);
  EXPECT_FALSE(at::equal(first, second));
  uint64_t again = 7;
  EXPECT_TRUE(at::equal(first, mixed_at_random(x, other, 0.5, again)));
}

}  // namespace
}  // namespace ounce::train
