#include "train/quantizers/sign_weight.h"

#include <functional>
#include <vector>

#include "graph/error.h"
#include "tests/train/quantizers/checks.h"
#include "train/quantizers/straight_through.h"

namespace ounce::train {
namespace {

using testing::assign;
using testing::deployed;
using testing::named;
using testing::near;
using testing::normal;
using testing::numeric_gradient;
using testing::same;

/// Weights within +-0.9, no channel alike.
at::Tensor small_weights(int64_t channels, int64_t each, uint64_t seed) {
  return (normal({channels, each}, seed) * 0.3).clamp(-0.9, 0.9);
}

/// Keeps what the hooks said.
class Watched : public LearnedSignWeight {
 public:
  explicit Watched(const Slices& channels)
      : LearnedSignWeight({.channels = channels, .adaptive = true}) {}
  std::vector<SignStep> steps;

 protected:
  void on_step(const SignStep& step) override {
    steps.push_back(step);
    set_gamma(flips_of_channels(step, channels()) * largest_gradients(step, channels()));
  }
};

/// Binarizes w - u * direction, as RBONN does with the last gradient.
class LookAhead : public LearnedSignWeight {
 public:
  LookAhead(const Slices& channels, at::Tensor u, at::Tensor direction)
      : LearnedSignWeight({.channels = channels, .gamma = 0.3}),
        u_(std::move(u)),
        direction_(std::move(direction)) {}

  at::Tensor fake_quant(const at::Tensor& x, bool training) override {
    if (!training) return binarize(x, training);
    follow(x);
    return binarize(x - along(u_, channels(), x) * direction_, training);
  }

 private:
  at::Tensor u_;
  at::Tensor direction_;
};

TEST(MeanSignWeight, the_scale_is_the_least_squares_one) {
  MeanSignWeight quantizer({.channels = {0, 6}});
  const at::Tensor w = normal({6, 4, 3, 3}, 1);
  const at::Tensor on = quantizer.fake_quant(w, true);
  EXPECT_TRUE(near(((w - on) * w.sign()).sum({1, 2, 3}), at::zeros({6}), 1e-12));
  EXPECT_TRUE(same(on.sign(), w.sign()));
}

TEST(MeanSignWeight, gradient_is_that_of_the_clamped_weight_with_or_without_the_scale) {
  const at::Tensor w = normal({4, 60}, 2);
  const at::Tensor slopes = normal({4, 60}, 3);
  const auto gradient = [&](SignGradient rule) {
    MeanSignWeight quantizer({.channels = {0, 4}, .gradient = rule});
    return testing::autograd_gradient(
        [&](const at::Tensor& t) { return quantizer.fake_quant(t, true); }, w, slopes);
  };
  const at::Tensor clamped =
      numeric_gradient([&](const at::Tensor& t) { return (t.clamp(-1, 1) * slopes).sum(); }, w);
  EXPECT_TRUE(near(gradient(SignGradient::kPlain), clamped, 1e-7));
  EXPECT_TRUE(near(gradient(SignGradient::kScaled), clamped * w.abs().mean(1, true), 1e-7));
}

TEST(MeanSignWeight, frozen_signs_give_the_trained_values) {
  MeanSignWeight quantizer({.channels = {1, 3}});
  at::Tensor w = normal({50, 3}, 4).to(at::kFloat);
  w[0].fill_(0.0F);
  w[1].fill_(-0.0F);
  w.select(1, 2).fill_(0.0F);  // a dead channel
  EXPECT_TRUE(same(deployed(quantizer.freeze(w), w), quantizer.fake_quant(w, false)));
  EXPECT_GT(std::get<SignGrid>(quantizer.freeze(w)).scale.min().item<float>(), 0.0F);
}

TEST(LearnedSignWeight, gradients_are_those_of_task_and_reconstruction_with_signs_held) {
  constexpr double kGamma = 0.7;
  const Slices channels = {0, 5};
  const at::Tensor w = small_weights(5, 12, 5);
  const at::Tensor raw = at::tensor({0.4, -0.3, 0.8, 0.05, -1.2}, at::kDouble);
  const at::Tensor task = normal({5, 12}, 6);
  const at::Tensor signs = signs_of(w);
  // The sign's surrogate is the identity: alpha s + alpha (w - w0), scale apart from it.
  const auto loss = [&](const at::Tensor& latent, const at::Tensor& alpha) {
    const at::Tensor a = along(alpha.abs(), channels, w);
    const at::Tensor binary = a * signs + along(raw.abs(), channels, w) * (latent - w);
    return (binary * task).sum() + kGamma / 2 * (latent - a * signs).square().sum();
  };
  LearnedSignWeight quantizer({.channels = channels, .gamma = kGamma});
  at::Tensor leaf = w.clone().requires_grad_(true);
  quantizer.fake_quant(leaf, false);
  assign(named(quantizer, "alpha"), raw);
  const at::Tensor on = quantizer.fake_quant(leaf, true);
  EXPECT_TRUE(near(on, along(raw.abs(), channels, w) * signs, 1e-7));
  ((on * task).sum() + quantizer.penalty()).backward();
  // alpha is f32: 2^-24 of sums of some tens.
  EXPECT_TRUE(near(leaf.grad(),
                   numeric_gradient([&](const at::Tensor& t) { return loss(t, raw); }, w), 1e-6));
  EXPECT_TRUE(near(named(quantizer, "alpha").grad(),
                   numeric_gradient([&](const at::Tensor& t) { return loss(w, t); }, raw), 1e-5));
}

TEST(LearnedSignWeight, released_gradients_have_no_window_and_take_the_latent_weight) {
  LearnedSignWeight exact({.channels = {}});
  LearnedSignWeight released({.channels = {}, .window = false, .latent_scale_gradient = true});
  const at::Tensor w = at::tensor({-1.5, -0.5, 0.25, 2.0}, at::kDouble);
  const at::Tensor task = at::tensor({1.0, 2.0, 3.0, 4.0}, at::kDouble);
  const auto gradients = [&](LearnedSignWeight& quantizer) {
    const at::Tensor of_w = testing::autograd_gradient(
        [&](const at::Tensor& t) { return quantizer.fake_quant(t, true); }, w, task);
    return at::cat({of_w, named(quantizer, "alpha").grad().to(at::kDouble)});
  };
  const double a = 4.25 / 4;
  EXPECT_TRUE(near(gradients(exact),
                   at::tensor({0.0, 2 * a, 3 * a, 0.0, -1.0 - 2 + 3 + 4}, at::kDouble), 1e-6));
  EXPECT_TRUE(near(gradients(released),
                   at::tensor({a, 2 * a, 3 * a, 4 * a, -1.5 - 1 + 0.75 + 8}, at::kDouble), 1e-6));
}

TEST(LearnedSignWeight, starts_at_the_fixed_point_of_its_penalty) {
  LearnedSignWeight quantizer({.channels = {0, 4}, .gamma = 2e-4});
  const at::Tensor w = small_weights(4, 50, 7).to(at::kFloat);
  quantizer.fake_quant(w, true);
  EXPECT_TRUE(near(named(quantizer, "alpha"), w.abs().mean(1), 1e-7));
  quantizer.penalty().backward();
  // sum (w - alpha s) s of 50 elements below 1, times gamma.
  EXPECT_TRUE(near(named(quantizer, "alpha").grad(), at::zeros({4}), 2e-4 * 50 * 6e-8));
}

TEST(LearnedSignWeight, no_weight_flips_against_gradients_below_gamma) {
  at::manual_seed(8);
  int64_t flips = 0;
  for (int i = 0; i < 200; ++i) {
    const double gamma = at::rand({1}).item<double>() + 0.01;
    const double rate = at::rand({1}).item<double>() * 0.99 / gamma;
    const at::Tensor w = at::randn({4, 250}, at::kDouble);
    LearnedSignWeight quantizer({.channels = {0, 4}, .gamma = gamma});
    at::Tensor leaf = w.clone().requires_grad_(true);
    quantizer.fake_quant(leaf, true);
    assign(named(quantizer, "alpha"), at::rand({4}) + 0.01);
    // |G| <= gamma on all but the last row, which is pushed across harder.
    at::Tensor gradient = (at::rand_like(w) * 2 - 1) * gamma;
    gradient[3] = w[3].sign() * gamma * 5;
    const at::Tensor loss = (quantizer.fake_quant(leaf, true) * gradient).sum();
    (loss + quantizer.penalty()).backward();
    const at::Tensor flipped = (w - leaf.grad() * rate).lt(0).logical_xor(w.lt(0));
    EXPECT_EQ(flipped.narrow(0, 0, 3).sum().item<int64_t>(), 0) << gamma << ' ' << rate;
    flips += flipped[3].sum().item<int64_t>();
  }
  EXPECT_GT(flips, 0);
}

TEST(LearnedSignWeight, tells_flips_and_gradients_of_a_step) {
  Watched quantizer({0, 2});
  at::Tensor w = at::tensor({0.5, -0.5, 0.25, -0.25, 0.1, 0.2}, at::kFloat)
                     .reshape({2, 3})
                     .requires_grad_(true);
  const at::Tensor task = at::tensor({1.0F, -2.0F, 3.0F, 4.0F, 5.0F, -6.0F}).reshape({2, 3});
  // Two batches make the step.
  for (int i = 0; i < 2; ++i) (quantizer.fake_quant(w, true) * task).sum().backward();
  assign(w, at::tensor({0.5F, 0.5F, -0.25F, -0.25F, 0.1F, 0.2F}).reshape({2, 3}));
  quantizer.after_step();
  ASSERT_EQ(quantizer.steps.size(), 1U);
  EXPECT_TRUE(same(quantizer.steps[0].gradient, task * 2));
  EXPECT_TRUE(same(quantizer.steps[0].flipped.to(at::kFloat),
                   at::tensor({0.0F, 1.0F, 1.0F, 0.0F, 0.0F, 0.0F}).reshape({2, 3})));
  const FlipTally flips = quantizer.take_flips();
  EXPECT_NEAR(flips.rate(), 2.0 / 6, 1e-6);
  EXPECT_NEAR(flips.stuck(), 0.5, 1e-6);
  EXPECT_EQ(quantizer.take_flips().steps, 0);
  // Two of three flipped, max|G| = 6; none of the second channel.
  EXPECT_TRUE(near(quantizer.gamma(), at::tensor({4.0F, 0.0F}), 1e-6));
  // Nothing was run since: no step to tell of.
  quantizer.after_step();
  EXPECT_EQ(quantizer.steps.size(), 1U);
}

TEST(LearnedSignWeight, gamma_grows_with_flips_and_with_the_gradient) {
  const auto gamma = [](double gradient_factor, bool flip) {
    Watched quantizer({});
    at::Tensor w = small_weights(1, 40, 9).to(at::kFloat).requires_grad_(true);
    const at::Tensor task = normal({1, 40}, 10).to(at::kFloat) * gradient_factor;
    (quantizer.fake_quant(w, true) * task).sum().backward();
    if (flip) assign(w, -w.detach());
    quantizer.after_step();
    return quantizer.gamma().item<double>() / normal({1, 40}, 10).abs().max().item<double>();
  };
  EXPECT_EQ(gamma(1, false), 0.0);
  EXPECT_NEAR(gamma(1, true), 1.0, 1e-6);
  EXPECT_NEAR(gamma(8, true), 8.0, 1e-5);
}

TEST(LearnedSignWeight, what_is_binarized_instead_of_the_weight_hands_gradients_through) {
  const Slices channels = {0, 3};
  const at::Tensor w = small_weights(3, 8, 11);
  const at::Tensor direction = normal({3, 8}, 12) * 0.1;
  at::Tensor u = at::full({3}, 0.2, at::kDouble).requires_grad_(true);
  LookAhead quantizer(channels, u, direction);
  at::Tensor leaf = w.clone().requires_grad_(true);
  const at::Tensor task = normal({3, 8}, 13);
  const at::Tensor loss = (quantizer.fake_quant(leaf, true) * task).sum();
  (loss + quantizer.penalty()).backward();
  EXPECT_TRUE(near(u.grad(), -(leaf.grad() * direction).sum(1), 1e-12));
  const at::Tensor alpha = named(quantizer, "alpha").detach().unsqueeze(1);
  const at::Tensor ahead = w - direction * 0.2;
  const at::Tensor expected =
      alpha * task * ahead.abs().le(1) + 0.3 * (ahead - alpha * signs_of(ahead));
  EXPECT_TRUE(near(leaf.grad(), expected, 1e-6));
  // Deployed are the signs of the weights themselves.
  const at::Tensor floats = w.to(at::kFloat);
  EXPECT_TRUE(
      same(deployed(quantizer.freeze(floats), floats), quantizer.fake_quant(floats, false)));
}

TEST(LearnedSignWeight, a_batch_norm_behind_takes_the_task_gradient_of_the_scale) {
  LearnedSignWeight quantizer({.channels = {0, 4}});
  const at::Tensor w = small_weights(4, 2 * 3 * 3, 14).reshape({4, 2, 3, 3});
  const at::Tensor x = normal({8, 2, 10, 10}, 15).sign();
  const at::Tensor y = at::conv2d(x, quantizer.fake_quant(w, true));
  const at::Tensor normed =
      at::batch_norm(y, {}, {}, {}, {}, /*training=*/true, 0.1, 1e-12, /*cudnn_enabled=*/false);
  (normed * normal(y.sizes(), 16)).sum().backward();
  // Exact sums of 288 terms of order 1 / alpha, rounded to f32 at the end.
  EXPECT_TRUE(near(named(quantizer, "alpha").grad(), at::zeros({4}), 1e-6));
}

TEST(LearnedSignWeight, keeps_the_sign_of_alpha_and_its_distance_from_zero) {
  LearnedSignWeight quantizer({.channels = {0, 3}});
  const at::Tensor alpha = named(quantizer, "alpha");
  quantizer.fake_quant(at::ones({3, 4}), true);
  assign(alpha, at::tensor({0.5F, -0.5F, 0.0F}));
  quantizer.after_step();
  EXPECT_TRUE(same(alpha, at::tensor({0.5F, -0.5F, 1e-8F})));
  const at::Tensor w = normal({3, 30}, 17).to(at::kFloat);
  EXPECT_TRUE(same(deployed(quantizer.freeze(w), w), quantizer.fake_quant(w, false)));
}

TEST(LearnedSignWeight, has_no_penalty_without_gamma_nor_before_a_forward) {
  LearnedSignWeight without({});
  without.fake_quant(at::ones({3}), true);
  EXPECT_FALSE(without.penalty().defined());
  LearnedSignWeight with({.gamma = 1.0});
  EXPECT_FALSE(with.penalty().defined());
  with.fake_quant(at::ones({3}), false);
  EXPECT_FALSE(with.penalty().defined());
}

}  // namespace
}  // namespace ounce::train
