#include "train/quantizers/sign_activation.h"

#include <cmath>

#include "graph/error.h"
#include "tests/train/quantizers/checks.h"

namespace ounce::train {
namespace {

using testing::awkward_values;
using testing::deployed;
using testing::named;
using testing::near;
using testing::normal;
using testing::same;

at::Tensor softmax_map(int64_t heads, int64_t tokens, uint64_t seed) {
  return normal({2, heads, tokens, tokens}, seed).softmax(-1);
}

TEST(SignActivation, of_zero_is_plus_one) {
  SignActivation quantizer;
  const at::Tensor x = at::tensor({-2.0F, -0.0F, 0.0F, 1e-30F, -1e-30F});
  EXPECT_TRUE(same(quantizer.fake_quant(x, true), at::tensor({-1.0F, 1.0F, 1.0F, 1.0F, -1.0F})));
  EXPECT_TRUE(same(deployed(quantizer.freeze({}), x), quantizer.fake_quant(x, false)));
}

TEST(SignActivation, of_sums_that_only_rounding_keeps_from_zero_is_plus_one) {
  // As many of one sign as of the other, in f32: what is left is not 0, and has either sign.
  const float unit = 0.0517F * 1.313F;
  float left = 0.0F;
  for (int i = 0; i < 99; ++i) left -= unit;
  for (int i = 0; i < 99; ++i) left += unit;
  ASSERT_NE(left, 0.0F);
  const at::Tensor x = at::tensor({-std::abs(left), std::abs(left), unit, -unit, 197 * unit});
  SignActivation quantizer(Slope::kPolynomial, SignActivation::Input::kSumsOfSigns);
  EXPECT_TRUE(same(quantizer.fake_quant(x, true), at::tensor({1.0F, 1.0F, 1.0F, -1.0F, 1.0F})));
  EXPECT_EQ(quantizer.fake_quant(at::empty({0}), true).numel(), 0);
}

TEST(SignActivation, polynomial_slope_rises_to_two_at_zero) {
  const at::Tensor x = at::tensor({-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5}, at::kDouble);
  SignActivation quantizer(Slope::kPolynomial);
  const at::Tensor gradient = testing::autograd_gradient(
      [&](const at::Tensor& t) { return quantizer.fake_quant(t, true); }, x, at::ones_like(x));
  EXPECT_TRUE(same(gradient, at::tensor({0.0, 0.0, 1.0, 2.0, 1.0, 0.0, 0.0}, at::kDouble)));
}

TEST(SignActivation, polynomial_slope_is_that_of_its_surrogate) {
  // 2x + x^2 below zero, 2x - x^2 above it, -1 and 1 beyond (Bi-Real Net, eq. 7).
  const auto surrogate = [](const at::Tensor& x) {
    const at::Tensor inside = x.clamp(-1, 1);
    return (inside * 2 - inside * inside.abs()).sum();
  };
  const at::Tensor x = normal({200}, 1);
  SignActivation quantizer(Slope::kPolynomial);
  const at::Tensor gradient = testing::autograd_gradient(
      [&](const at::Tensor& t) { return quantizer.fake_quant(t, true); }, x, at::ones_like(x));
  EXPECT_TRUE(near(gradient, testing::numeric_gradient(surrogate, x), 1e-7));
}

TEST(SignActivation, clip_slope_is_one_up_to_one) {
  const at::Tensor x = at::tensor({-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5}, at::kDouble);
  SignActivation quantizer(Slope::kClip);
  const at::Tensor gradient = testing::autograd_gradient(
      [&](const at::Tensor& t) { return quantizer.fake_quant(t, true); }, x, at::ones_like(x));
  EXPECT_TRUE(same(gradient, at::tensor({0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0}, at::kDouble)));
}

TEST(LearnedBinarizer, maps_start_at_twice_the_uniform_level) {
  LearnedBinarizer quantizer({.heads = {1, 3}, .is_map = true});
  const at::Tensor map = softmax_map(3, 20, 2);
  const at::Tensor on = quantizer.fake_quant(map, true);
  const at::Tensor scale = named(quantizer, "scale");
  EXPECT_TRUE(near(scale, at::full({3}, 2.0 / 20), 1e-7));
  const at::Tensor r = scale.detach().reshape({1, 3, 1, 1}).to(at::kDouble);
  EXPECT_TRUE(same(on, at::where(map.gt(r / 2), r.expand_as(map), at::zeros_like(map))));
  // The unsigned form of Bi-ViT's binarizer with zero point -1, a = r / 2.
  const at::Tensor a = r / 2;
  EXPECT_TRUE(near(on, a * ((map / a - 1).clamp(-1, 1).sign() + 1), 1e-12));
}

TEST(LearnedBinarizer, map_scale_gradient_is_the_formula_of_the_sheet) {
  LearnedBinarizer quantizer({.heads = {1, 3}, .is_map = true});
  const at::Tensor map = softmax_map(3, 12, 3);
  const at::Tensor slopes = normal(map.sizes(), 4);
  (quantizer.fake_quant(map, true) * slopes).sum().backward();
  const at::Tensor r = named(quantizer, "scale").detach().to(at::kDouble).reshape({1, 3, 1, 1});
  const at::Tensor above = map.gt(r);
  const at::Tensor inner = map.gt(r / 2).to(at::kDouble) - map / r;
  const at::Tensor sum = (slopes * at::where(above, at::ones_like(map), inner)).sum({0, 2, 3});
  EXPECT_TRUE(near(named(quantizer, "scale").grad(),
                   sum / std::sqrt(static_cast<double>(map.numel())), 1e-6));
}

TEST(LearnedBinarizer, the_map_of_flat_rows_depends_on_its_input) {
  // With a scale of 1 nothing of a softmax over 30 tokens is above one half.
  LearnedBinarizer quantizer({.is_map = true});
  const at::Tensor on = quantizer.fake_quant(softmax_map(2, 30, 5), true);
  const double share = on.gt(0).to(at::kDouble).mean().item<double>();
  EXPECT_GT(share, 0.2);
  EXPECT_LT(share, 0.8);
}

TEST(LearnedBinarizer, operands_become_plus_and_minus_their_amplitude) {
  LearnedBinarizer quantizer({.heads = {1, 2}});
  const at::Tensor q = normal({3, 2, 5, 4}, 6);
  const at::Tensor on = quantizer.fake_quant(q, true);
  const at::Tensor amplitude = q.abs().mean(at::IntArrayRef({0, 2, 3})) * 2;
  EXPECT_TRUE(near(named(quantizer, "scale"), amplitude, 1e-6));
  EXPECT_TRUE(near(on, amplitude.reshape({1, 2, 1, 1}) * q.sign(), 1e-6));
}

TEST(LearnedBinarizer, frozen_scales_give_the_trained_values) {
  for (const bool is_map : {false, true}) {
    LearnedBinarizer quantizer({.heads = {1, 3}, .is_map = is_map});
    quantizer.fake_quant(normal({10, 3}, 7).abs() * at::tensor({0.07, 1.0, 3.0}), true);
    // Half-way values of a map lie exactly on its threshold.
    const at::Tensor x = awkward_values(quantizer.freeze({}), 8);
    EXPECT_TRUE(same(deployed(quantizer.freeze({}), x), quantizer.fake_quant(x, false)));
  }
}

TEST(LearnedBinarizer, keeps_its_scale_positive_and_wants_data_first) {
  LearnedBinarizer quantizer({});
  EXPECT_THROW(quantizer.fake_quant(at::ones({2}), false), Error);
  {
    const at::NoGradGuard no_grad;
    named(quantizer, "scale").fill_(-1);
  }
  quantizer.after_step();
  EXPECT_GT(named(quantizer, "scale").item<float>(), 0.0F);
}

}  // namespace
}  // namespace ounce::train
