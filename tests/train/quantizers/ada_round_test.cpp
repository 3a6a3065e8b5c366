#include "train/quantizers/ada_round.h"

#include "graph/error.h"
#include "tests/train/quantizers/checks.h"

namespace ounce::train {
namespace {

using testing::assign;
using testing::deployed;
using testing::named;
using testing::near;
using testing::normal_f32;
using testing::same;

FixedScale four_bits(const at::Tensor& scale) {
  return {.scale = scale, .codes = signed_codes(4)};
}

at::Tensor scale_of(const at::Tensor& w) {
  return w.abs().amax(1, true) / 7;
}

TEST(AdaRound, starts_from_the_weights_as_they_are) {
  const at::Tensor w = normal_f32({6, 40}, 1);
  AdaRoundWeight quantizer(w, four_bits(scale_of(w)));
  EXPECT_TRUE(near(quantizer.fake_quant(w, true), w, 1e-5));
  // Decided at once, it is rounding to nearest.
  const at::Tensor nearest = at::round(w / scale_of(w)) * scale_of(w);
  EXPECT_TRUE(near(quantizer.fake_quant(w, false), nearest, 1e-6));
}

TEST(AdaRound, decided_weights_are_less_than_a_step_off) {
  const at::Tensor w = normal_f32({6, 40}, 2);
  AdaRoundWeight quantizer(w, four_bits(scale_of(w)));
  assign(named(quantizer, "rounding"), normal_f32({6, 40}, 3));
  const at::Tensor off = (quantizer.fake_quant(w, false) - w).abs() / scale_of(w);
  EXPECT_LT(off.max().item<float>(), 1.0F + 1e-5F);
  EXPECT_GT(off.max().item<float>(), 0.9F);
  EXPECT_TRUE(same(quantizer.codes().to(at::kFloat) * scale_of(w), quantizer.fake_quant(w, false)));
}

TEST(AdaRound, gradients_are_those_of_finite_differences) {
  const at::Tensor w = testing::normal({3, 5}, 4);
  // No weight lies on the grid: h has a kink there.
  AdaRoundWeight quantizer(w, four_bits(w.abs().amax(1, true) / 4.7));
  const at::Tensor slopes = testing::normal({3, 5}, 5);
  quantizer.set_beta(3.0);
  const auto loss = [&] {
    return (quantizer.fake_quant(w, true) * slopes).sum() + 0.1 * quantizer.penalty();
  };
  at::Tensor v = named(quantizer, "rounding");
  loss().backward();
  const at::Tensor gradient = v.grad().clone();
  constexpr double kStep = 1e-6;
  for (int64_t i = 0; i < v.numel(); ++i) {
    at::NoGradGuard no_gradient;
    at::Tensor flat = v.view({-1});
    const double kept = flat[i].item<double>();
    flat[i] = kept + kStep;
    const double above = loss().item<double>();
    flat[i] = kept - kStep;
    const double below = loss().item<double>();
    flat[i] = kept;
    EXPECT_NEAR(gradient.view({-1})[i].item<double>(), (above - below) / (2 * kStep), 1e-5) << i;
  }
}

TEST(AdaRound, the_penalty_is_none_where_all_is_decided) {
  const at::Tensor w = normal_f32({2, 8}, 6);
  AdaRoundWeight quantizer(w, four_bits(scale_of(w)));
  EXPECT_FALSE(quantizer.penalty().defined());
  quantizer.set_beta(20.0);
  const double early = quantizer.penalty().item<double>();
  quantizer.set_beta(2.0);
  EXPECT_LT(quantizer.penalty().item<double>(), early) << "flat at first, sharp at the end";
  assign(named(quantizer, "rounding"), at::full({2, 8}, 20.0F));
  EXPECT_NEAR(quantizer.penalty().item<double>(), 0.0, 1e-6);
}

TEST(AdaRound, freezes_to_the_grid_of_its_codes) {
  const at::Tensor w = normal_f32({6, 40}, 7);
  AdaRoundWeight quantizer(w, four_bits(scale_of(w)));
  assign(named(quantizer, "rounding"), normal_f32({6, 40}, 8));
  const at::Tensor decided = quantizer.fake_quant(w, false);
  EXPECT_TRUE(near(deployed(quantizer.freeze(w), decided), decided, 1e-6));
  AdaRoundWeight groups(w, four_bits(at::ones({6, 40})));
  EXPECT_THROW(groups.freeze(w), Error);
}

}  // namespace
}  // namespace ounce::train
