#include "train/quantizers/lsq.h"

#include <cmath>
#include <string>

#include "graph/error.h"
#include "tests/train/quantizers/checks.h"

namespace ounce::train {
namespace {

using testing::assign;
using testing::awkward_values;
using testing::deployed;
using testing::named;
using testing::near;
using testing::normal;
using testing::normal_f32;
using testing::same;

TEST(LsqWeight, steps_start_from_the_mean_magnitude_of_the_whole_tensor) {
  LsqWeight quantizer({.bits = 4, .slices = {0, 8}});
  const at::Tensor step = named(quantizer, "step");
  EXPECT_EQ(step.sizes(), at::IntArrayRef({8}));
  EXPECT_TRUE(step.is_leaf() && step.requires_grad());
  const at::Tensor w = normal_f32({8, 30}, 1) * at::linspace(0.1, 3, 8).unsqueeze(1);
  quantizer.fake_quant(w, true);
  const double expected = 2 * w.abs().mean().item<double>() / std::sqrt(7.0);
  EXPECT_TRUE(near(step, at::full({8}, expected), 1e-6));
}

TEST(LsqWeight, gradient_scale_counts_all_elements_whatever_the_channels) {
  const at::Tensor w = normal_f32({8, 30}, 2);
  const at::Tensor slopes = normal_f32({8, 30}, 3);
  LsqWeight by_channel({.bits = 3, .slices = {0, 8}});
  LsqWeight by_tensor({.bits = 3});
  for (LsqWeight* quantizer : {&by_channel, &by_tensor}) {
    (quantizer->fake_quant(w, true) * slopes).sum().backward();
  }
  at::Tensor step = named(by_tensor, "step").detach().clone().requires_grad_(true);
  (round_to_grid(w, step, {.codes = {-4, 3}}) * slopes).sum().backward();
  const at::Tensor expected = step.grad() / std::sqrt(240.0 * 3.0);
  EXPECT_TRUE(near(named(by_tensor, "step").grad(), expected, 1e-6));
  EXPECT_TRUE(near(named(by_channel, "step").grad().sum().reshape({1}), expected, 1e-6));
}

TEST(LsqWeight, frozen_codes_give_the_trained_values) {
  for (int bits = 2; bits <= 8; ++bits) {
    LsqWeight quantizer({.bits = bits, .slices = {0, 5}});
    quantizer.fake_quant(normal_f32({5, 40}, 4), true);
    assign(named(quantizer, "step"), at::linspace(0.01, 0.7, 5));
    const at::Tensor w = awkward_values(quantizer.freeze({}), 5);
    EXPECT_TRUE(same(deployed(quantizer.freeze(w), w), quantizer.fake_quant(w, false))) << bits;
  }
}

TEST(LsqWeight, freezes_untrained_weights_at_their_first_step) {
  const at::Tensor w = normal_f32({4, 9}, 6);
  LsqWeight quantizer({.bits = 2});
  const auto grid = std::get<AffineGrid>(quantizer.freeze(w));
  quantizer.fake_quant(w, false);
  EXPECT_TRUE(same(grid.scale, named(quantizer, "step")));
}

TEST(LsqWeight, has_no_zero_point_and_keeps_its_step_positive) {
  EXPECT_THROW(LsqWeight({.bits = 4, .learn_zero_point = true}), Error);
  LsqWeight quantizer({.bits = 4, .slices = {0, 2}});
  assign(named(quantizer, "step"), at::tensor({-0.5F, 0.5F}));
  quantizer.after_step();
  EXPECT_TRUE(same(named(quantizer, "step"), at::tensor({1e-8F, 0.5F})));
}

TEST(LsqWeight, weights_of_zeros_have_a_step) {
  LsqWeight quantizer({.bits = 4});
  EXPECT_TRUE(same(quantizer.fake_quant(at::zeros({3, 3}), true), at::zeros({3, 3})));
  EXPECT_GT(named(quantizer, "step").item<float>(), 0.01F);
}

TEST(LsqActivation, the_first_batch_decides_whether_codes_are_signed) {
  LsqActivation quantizer({.bits = 2});
  quantizer.fake_quant(normal_f32({100}, 7).abs(), true);
  const auto positive = std::get<AffineGrid>(quantizer.freeze({}));
  EXPECT_EQ(positive.lowest, 0);
  EXPECT_EQ(positive.highest, 3);
  EXPECT_TRUE(same(quantizer.fake_quant(at::tensor({-4.0F, -1.0F}), true), at::zeros({2})));
  LsqActivation other({.bits = 2});
  other.fake_quant(normal_f32({100}, 7), true);
  EXPECT_EQ(std::get<AffineGrid>(other.freeze({})).lowest, -2);
}

TEST(LsqActivation, starts_head_by_head_as_its_first_batch_is) {
  LsqActivation quantizer({.bits = 3, .slices = {1, 2}, .learn_zero_point = true});
  const at::Tensor x = at::stack({normal_f32({50}, 8), normal_f32({50}, 9) * 4}, 1);  // [50, heads]
  quantizer.fake_quant(x, true);
  const at::Tensor step = x.abs().mean(0) * (2 / std::sqrt(3.0));
  EXPECT_TRUE(near(named(quantizer, "step"), step, 1e-6));
  EXPECT_TRUE(near(named(quantizer, "zero_point"), (x.amin(0) + step * 4) * 0.1, 1e-6));
}

TEST(LsqActivation, zero_points_stay_among_the_codes) {
  LsqActivation quantizer({.bits = 2, .learn_zero_point = true});
  quantizer.fake_quant(at::full({10}, 1000.0F), true);
  EXPECT_EQ(named(quantizer, "zero_point").item<float>(), 3.0F);
  assign(named(quantizer, "zero_point"), at::tensor({-7.0F}));
  quantizer.after_step();
  EXPECT_EQ(named(quantizer, "zero_point").item<float>(), 0.0F);
}

TEST(LsqActivation, frozen_codes_give_the_trained_values) {
  for (int bits = 2; bits <= 8; ++bits) {
    for (const bool is_signed : {false, true}) {
      LsqActivation quantizer({.bits = bits, .slices = {1, 3}, .learn_zero_point = true});
      const at::Tensor x = normal_f32({20, 3}, 10);
      quantizer.fake_quant(is_signed ? x : x.abs(), true);
      assign(named(quantizer, "step"), at::tensor({0.3F, 0.017F, 1.0F}));
      assign(named(quantizer, "zero_point"), at::tensor({0.4F, 0.51F, is_signed ? -1.6F : 2.6F}));
      const at::Tensor values = awkward_values(quantizer.freeze({}), 11);
      EXPECT_TRUE(same(deployed(quantizer.freeze({}), values), quantizer.fake_quant(values, false)))
          << bits << " bits, signed " << is_signed;
    }
  }
}

TEST(LsqActivation, batches_in_two_halves_give_the_gradients_of_the_whole) {
  const LsqOptions whole = {.bits = 4, .slices = {1, 2}, .learn_zero_point = true};
  const at::Tensor x = normal_f32({16, 2, 10}, 12) * 2;
  const at::Tensor slopes = normal_f32({16, 2, 10}, 13);
  LsqActivation one(whole);
  LsqActivation two(whole);
  two.set_batches_per_step(2);
  one.fake_quant(x, true);
  two.fake_quant(x, true);
  (one.fake_quant(x, true) * slopes).sum().backward();
  for (int64_t part = 0; part < 2; ++part) {
    (two.fake_quant(x.narrow(0, part * 8, 8), true) * slopes.narrow(0, part * 8, 8))
        .sum()
        .backward();
  }
  for (const char* name : {"step", "zero_point"}) {
    const at::Tensor expected = named(one, name).grad();
    EXPECT_TRUE(near(named(two, name).grad(), expected, 1e-5)) << name;
  }
}

TEST(LsqActivation, needs_a_batch_in_training_before_anything_else) {
  LsqActivation quantizer({.bits = 4});
  EXPECT_THROW(quantizer.fake_quant(at::ones({3}), false), Error);
  EXPECT_THROW(quantizer.freeze({}), Error);
}

TEST(LsqActivation, goes_on_from_saved_state) {
  const LsqOptions options = {.bits = 4, .learn_zero_point = true};
  LsqActivation trained(options);
  const at::Tensor x = normal_f32({64}, 14);
  trained.fake_quant(x, true);
  LsqActivation restored(options);
  for (auto pairs : {std::pair(trained.parameters(), restored.parameters()),
                     std::pair(trained.buffers(), restored.buffers())}) {
    for (size_t i = 0; i < pairs.first.size(); ++i) {
      assign(pairs.second[i].tensor, pairs.first[i].tensor);
    }
  }
  const at::Tensor next = normal_f32({64}, 15) * 10;
  EXPECT_TRUE(same(restored.fake_quant(next, true), trained.fake_quant(next, true)));
}

/// Entropy in bits of the signed codes of N(0, 1) at a step.
double entropy_of_codes(int bits, double step) {
  const at::Tensor x = normal({1 << 20}, 16);
  const CodeRange codes = signed_codes(bits);
  const at::Tensor code =
      (round_to_grid(x, at::full({1}, step, at::kDouble), {.codes = codes}) / step -
       static_cast<double>(codes.lowest))
          .round();
  const at::Tensor share = at::bincount(code.to(at::kLong)).to(at::kDouble) / x.numel();
  return -(share * share.clamp_min(1e-300).log2()).sum().item<double>();
}

TEST(LsqActivation, entropy_of_gaussian_codes_is_that_of_theory) {
  const struct {
    int bits;
    double first_entropy, best_step, best_entropy;
  } cases[] = {{2, 1.459, 0.615, 1.934}, {3, 2.211, 0.365, 2.962}, {4, 2.798, 0.200, 3.941}};
  for (const auto& known : cases) {
    const auto highest = static_cast<double>(signed_codes(known.bits).highest);
    // mean|x| = sqrt(2 / pi). 2^20 samples: a standard error of about 1e-3 bits.
    const double first_step = 2 * std::sqrt(2 / M_PI) / std::sqrt(highest);
    EXPECT_NEAR(entropy_of_codes(known.bits, first_step), known.first_entropy, 4e-3);
    EXPECT_NEAR(entropy_of_codes(known.bits, known.best_step), known.best_entropy, 4e-3);
    EXPECT_LE(entropy_of_codes(known.bits, known.best_step), known.bits);
  }
}

}  // namespace
}  // namespace ounce::train
