#include "train/quantizers/straight_through_weight.h"

#include "tests/train/quantizers/checks.h"

namespace ounce::train {
namespace {

using testing::deployed;
using testing::named;
using testing::near;
using testing::normal_f32;
using testing::same;

FixedScale four_bits(const at::Tensor& scale) {
  return {.scale = scale, .codes = signed_codes(4)};
}

TEST(StraightThroughWeight, starts_at_the_nearest_codes_and_deploys_them) {
  const at::Tensor w = normal_f32({6, 40}, 1);
  const at::Tensor scale = w.abs().amax(1, true) / 7;
  StraightThroughWeight quantizer(w, four_bits(scale));
  const at::Tensor rounded = quantizer.fake_quant(w, true);
  EXPECT_TRUE(near(rounded, at::round(w / scale) * scale, 1e-6));
  EXPECT_TRUE(same(quantizer.codes().to(at::kFloat) * scale, rounded.detach()));
  EXPECT_TRUE(near(deployed(quantizer.freeze(w), rounded.detach()), rounded.detach(), 1e-6));
}

TEST(StraightThroughWeight, gradients_pass_inside_of_the_grid_alone) {
  const at::Tensor w = at::tensor({0.3F, -0.6F, 9.0F, -9.0F}).reshape({1, 4});
  StraightThroughWeight quantizer(w, four_bits(at::full({1, 1}, 0.5F)));
  const at::Tensor slopes = at::tensor({1.0F, -2.0F, 3.0F, 4.0F}).reshape({1, 4});
  (quantizer.fake_quant(w, true) * slopes).sum().backward();
  EXPECT_TRUE(near(named(quantizer, "steps").grad(),
                   at::tensor({0.5F, -1.0F, 0.0F, 0.0F}).reshape({1, 4}), 1e-6));
}

TEST(StraightThroughWeight, codes_follow_the_learned_weights) {
  const at::Tensor w = normal_f32({2, 8}, 2);
  StraightThroughWeight quantizer(w, four_bits(at::full({1, 1}, 0.25F)));
  testing::assign(named(quantizer, "steps"), at::full({2, 8}, -2.1F));
  EXPECT_TRUE(same(quantizer.codes(), at::full({2, 8}, -2, at::kChar)));
}

}  // namespace
}  // namespace ounce::train
