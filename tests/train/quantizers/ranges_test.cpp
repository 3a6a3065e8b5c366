#include <cmath>
#include <string>

#include "graph/error.h"
#include "tests/train/quantizers/checks.h"
#include "train/quantizers/min_mse.h"
#include "train/quantizers/running_range.h"
#include "train/quantizers/symmetric.h"

namespace ounce::train {
namespace {

using testing::awkward_values;
using testing::deployed;
using testing::named;
using testing::near;
using testing::normal;
using testing::normal_f32;
using testing::same;

TEST(SymmetricWeight, holds_the_largest_of_every_channel) {
  for (int bits = 2; bits <= 8; ++bits) {
    SymmetricWeight quantizer({.bits = bits, .channels = {0, 4}});
    const at::Tensor w = normal_f32({4, 60}, 1) * at::linspace(0.1, 3, 4).unsqueeze(1);
    const at::Tensor on = quantizer.fake_quant(w, true);
    EXPECT_TRUE(near(on.abs().amax(1), w.abs().amax(1), 1e-5));
    const at::Tensor scale = std::get<AffineGrid>(quantizer.freeze(w)).scale;
    EXPECT_LE(((on - w).abs() / scale.unsqueeze(1)).max().item<float>(), 0.5F + 1e-5F) << bits;
    EXPECT_TRUE(same(deployed(quantizer.freeze(w), w), on));
  }
}

TEST(SymmetricWeight, gradient_passes_below_the_clip_value) {
  SymmetricWeight quantizer({.bits = 8});
  const at::Tensor w = normal({500}, 2) * 2;
  const at::Tensor slopes = normal({500}, 3);
  const at::Tensor gradient = testing::autograd_gradient(
      [&](const at::Tensor& t) { return quantizer.fake_quant(t, true); }, w, slopes);
  EXPECT_TRUE(same(gradient, slopes * w.abs().lt(2.5)));
}

TEST(SymmetricWeight, a_channel_of_zeros_stays_zeros) {
  SymmetricWeight quantizer({.bits = 8, .channels = {0, 2}});
  const at::Tensor w = at::tensor({0.0F, 0.0F, 1.0F, -1.0F}).reshape({2, 2});
  EXPECT_TRUE(near(quantizer.fake_quant(w, true), w, 1e-7));
}

TEST(RunningRange, ends_move_by_the_rest_of_the_momentum) {
  RunningRange quantizer({.bits = 8, .momentum = 0.75});
  quantizer.fake_quant(at::tensor({-1.0F, 3.0F}), true);
  const auto ends = [&] { return at::cat({named(quantizer, "low"), named(quantizer, "high")}); };
  EXPECT_TRUE(same(ends(), at::tensor({-1.0F, 3.0F})));
  quantizer.fake_quant(at::tensor({-2.0F, 7.0F}), true);
  EXPECT_TRUE(same(ends(), at::tensor({-1.25F, 4.0F})));
  quantizer.hold(true);
  quantizer.fake_quant(at::tensor({-20.0F, 70.0F}), true);
  quantizer.hold(false);
  quantizer.fake_quant(at::tensor({-20.0F, 70.0F}), false);
  EXPECT_TRUE(same(ends(), at::tensor({-1.25F, 4.0F})));
}

TEST(RunningRange, contains_zero_and_gives_it_a_code) {
  RunningRange quantizer({.bits = 4});
  quantizer.fake_quant(at::tensor({2.0F, 3.0F}), true);
  EXPECT_EQ(named(quantizer, "low").item<float>(), 0.0F);
  RunningRange crossing({.bits = 4});
  crossing.fake_quant(at::tensor({-0.17F, 3.0F}), true);
  EXPECT_EQ(crossing.fake_quant(at::zeros({1}), false).item<float>(), 0.0F);
}

TEST(RunningRange, gradient_stops_at_the_ends) {
  RunningRange quantizer({.bits = 8});
  quantizer.fake_quant(at::tensor({0.0F, 2.55F}), true);
  quantizer.hold(true);
  const at::Tensor x = at::tensor({-0.1, 0.1, 2.5, 2.6}, at::kDouble);
  const at::Tensor gradient = testing::autograd_gradient(
      [&](const at::Tensor& t) { return quantizer.fake_quant(t, true); }, x, at::ones_like(x));
  EXPECT_TRUE(same(gradient, at::tensor({0.0, 1.0, 1.0, 0.0}, at::kDouble)));
}

TEST(RunningRange, frozen_codes_give_the_trained_values) {
  for (int bits = 2; bits <= 8; ++bits) {
    for (const bool symmetric : {false, true}) {
      RunningRange quantizer({.bits = bits, .slices = {1, 3}, .symmetric = symmetric});
      quantizer.fake_quant(normal_f32({40, 3}, 4) + at::tensor({-3.0F, 0.0F, 3.0F}), true);
      const at::Tensor values = awkward_values(quantizer.freeze({}), 5);
      EXPECT_TRUE(same(deployed(quantizer.freeze({}), values), quantizer.fake_quant(values, false)))
          << bits << " bits, symmetric " << symmetric;
    }
  }
}

TEST(RunningRange, needs_a_batch_in_training_before_anything_else) {
  RunningRange quantizer({});
  EXPECT_THROW(quantizer.fake_quant(at::ones({3}), false), Error);
  EXPECT_THROW(quantizer.freeze({}), Error);
}

double error_at(const at::Tensor& x, double scale, const CodeRange& codes) {
  const at::Tensor on = round_to_grid(x, at::full({1}, scale, x.options()), {.codes = codes});
  return (on - x).square().sum().item<double>();
}

TEST(MinMse, no_scale_of_a_fine_search_is_noticeably_better) {
  const at::Tensor gaussian = normal({4000}, 6);
  for (const at::Tensor& x : {gaussian, gaussian.pow(3), gaussian.abs() + 0.3}) {
    for (const CodeRange codes :
         {signed_codes(2), unsigned_codes(2), signed_codes(4), unsigned_codes(8)}) {
      const double found = error_at(x, min_mse_scale(x, {}, codes).item<double>(), codes);
      const double widest = x.abs().max().item<double>() / static_cast<double>(codes.highest);
      double least = found;
      for (int i = 1; i <= 1000; ++i)
        least = std::min(least, error_at(x, widest * i / 1000, codes));
      EXPECT_LE(found, least * 1.005) << codes.lowest << " to " << codes.highest;
    }
  }
}

TEST(MinMse, channels_are_searched_each_for_itself) {
  const at::Tensor w = normal({3, 500}, 7) * at::tensor({0.1, 1.0, 5.0}).unsqueeze(1);
  const at::Tensor together = min_mse_scale(w, {0, 3}, signed_codes(3));
  for (int64_t c = 0; c < 3; ++c) {
    const at::Tensor alone = min_mse_scale(w[c], {}, signed_codes(3));
    EXPECT_NEAR(together[c].item<double>() / alone.item<double>(), 1.0, 1e-9);
  }
}

TEST(MinMse, refitting_never_adds_error) {
  const at::Tensor x = normal({3000}, 8);
  const CodeRange codes = signed_codes(3);
  for (const double start : {0.01, 0.2, 0.5, 3.0}) {
    at::Tensor scale = at::full({1}, start, at::kDouble);
    for (int i = 0; i < 10; ++i) {
      const at::Tensor next = refit_scale(x, scale, {}, codes);
      EXPECT_LE(error_at(x, next.item<double>(), codes),
                error_at(x, scale.item<double>(), codes) * (1 + 1e-12));
      scale = next;
    }
  }
  EXPECT_EQ(refit_scale(at::zeros({4}), at::full({1}, 0.5), {}, codes).item<float>(), 0.5F);
}

TEST(MinMseWeight, the_scale_follows_the_weights_in_training_only) {
  MinMseWeight quantizer({.bits = 4, .slices = {0, 2}});
  const at::Tensor w = normal_f32({2, 300}, 9);
  quantizer.fake_quant(w, true);
  const at::Tensor before = named(quantizer, "scale").clone();
  quantizer.fake_quant(w * 2, false);
  EXPECT_TRUE(same(named(quantizer, "scale"), before));
  for (int i = 0; i < 30; ++i) quantizer.fake_quant(w * 2, true);
  for (int64_t c = 0; c < 2; ++c) {
    const double followed =
        error_at(w[c] * 2, named(quantizer, "scale")[c].item<double>(), signed_codes(4));
    const double searched = error_at(w[c] * 2, before[c].item<double>() * 2, signed_codes(4));
    EXPECT_LE(followed, searched * 1.05) << c;
  }
}

TEST(MinMseWeight, gradient_passes_on_the_grid_and_stops_beyond_it) {
  MinMseWeight quantizer({.bits = 2});
  const at::Tensor w = normal({300}, 10);
  const at::Tensor slopes = normal({300}, 11);
  const at::Tensor gradient = testing::autograd_gradient(
      [&](const at::Tensor& t) { return quantizer.fake_quant(t, false); }, w, slopes);
  const at::Tensor steps = w / named(quantizer, "scale");
  EXPECT_TRUE(same(gradient, slopes * steps.ge(-2).logical_and_(steps.le(1))));
}

TEST(MinMse, frozen_codes_give_the_trained_values) {
  for (int bits = 2; bits <= 8; ++bits) {
    MinMseWeight weight({.bits = bits, .slices = {0, 4}});
    weight.fake_quant(normal_f32({4, 100}, 12), true);
    const at::Tensor w = awkward_values(weight.freeze({}), 13);
    EXPECT_TRUE(same(deployed(weight.freeze(w), w), weight.fake_quant(w, false)));
    for (const bool is_signed : {false, true}) {
      MinMseActivation activation({.bits = bits, .momentum = 0.5});
      const at::Tensor x = normal_f32({100}, 14);
      activation.fake_quant(is_signed ? x : x.abs(), true);
      activation.fake_quant(is_signed ? x * 3 : x.abs() * 3, true);
      const Grid grid = activation.freeze({});
      EXPECT_EQ(std::get<AffineGrid>(grid).lowest < 0, is_signed);
      const at::Tensor values = awkward_values(grid, 15);
      EXPECT_TRUE(same(deployed(grid, values), activation.fake_quant(values, false)));
    }
  }
}

TEST(MinMseActivation, holds_its_scale_on_request) {
  MinMseActivation quantizer({.bits = 4});
  quantizer.fake_quant(normal_f32({100}, 16), true);
  const at::Tensor scale = named(quantizer, "scale").clone();
  quantizer.hold(true);
  quantizer.fake_quant(normal_f32({100}, 17) * 9, true);
  EXPECT_TRUE(same(named(quantizer, "scale"), scale));
  quantizer.hold(false);
  quantizer.fake_quant(normal_f32({100}, 17) * 9, true);
  EXPECT_GT(named(quantizer, "scale").item<float>(), scale.item<float>());
}

}  // namespace
}  // namespace ounce::train
