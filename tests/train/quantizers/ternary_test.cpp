#include "train/quantizers/ternary.h"

#include "tests/train/quantizers/checks.h"

namespace ounce::train {
namespace {

using testing::deployed;
using testing::near;
using testing::normal;
using testing::same;

at::Tensor ternarised(const at::Tensor& w, const Slices& channels) {
  return Ternary({.channels = channels}).fake_quant(w, true);
}

double relative_error(const at::Tensor& w, const at::Tensor& other) {
  return ((w - other).square().sum() / w.square().sum()).item<double>();
}

/// Rows of N(0, sigma), sigma from 0.2 to 2 at random.
at::Tensor uneven_rows() {
  const at::Tensor sigma = at::rand({64, 1}, at::kDouble) * 1.8 + 0.2;
  return at::randn({64, 256}, at::kDouble) * sigma;
}

TEST(Ternary, the_scale_is_the_best_for_its_codes) {
  const at::Tensor w = normal({16, 100}, 1);
  const at::Tensor on = ternarised(w, {0, 16});
  const at::Tensor residual = ((w - on) * on.sign()).sum(1) / w.abs().sum(1);
  EXPECT_TRUE(near(residual, at::zeros({16}), 1e-12));
}

TEST(Ternary, channels_of_their_own_fit_better_than_one_scale_for_all) {
  at::manual_seed(2);
  double by_channel = 0.0;
  double by_layer = 0.0;
  constexpr int kMatrices = 10;
  for (int i = 0; i < kMatrices; ++i) {
    const at::Tensor w = uneven_rows();
    by_channel += relative_error(w, ternarised(w, {0, 64})) / kMatrices;
    by_layer += relative_error(w, ternarised(w, {})) / kMatrices;
  }
  // One matrix gave 0.189 and 0.257; between matrices the spread is about 0.01.
  EXPECT_NEAR(by_channel, 0.19, 0.01);
  EXPECT_NEAR(by_layer, 0.257, 0.02);
}

TEST(Ternary, gaussian_rows_give_the_constants_of_theory) {
  const at::Tensor w = normal({1 << 20}, 3);
  const at::Tensor on = ternarised(w, {});
  EXPECT_NEAR(on.eq(0).to(at::kDouble).mean().item<double>(), 0.423, 2e-3);
  EXPECT_NEAR(on.max().item<double>(), 1.18, 5e-3);
  EXPECT_NEAR(relative_error(w, on), 0.191, 2e-3);
  // Smallest kept magnitude: just above 0.7 sqrt(2 / pi).
  EXPECT_NEAR(w.abs().masked_select(on.ne(0)).min().item<double>(), 0.5585, 2e-3);
}

TEST(Ternary, follows_a_positive_factor_and_a_change_of_sign) {
  const at::Tensor w = normal({8, 50}, 4);
  const at::Tensor on = ternarised(w, {0, 8});
  EXPECT_TRUE(same(ternarised(w * 4, {0, 8}), on * 4));  // a power of two: exact
  EXPECT_TRUE(same(ternarised(-w, {0, 8}), -on));
}

TEST(Ternary, gradient_passes_inside_the_clip_and_none_reaches_the_scale) {
  const at::Tensor w = at::tensor({-3.0, -2.5, -2.4, -0.1, 0.0, 0.1, 2.4, 2.5, 3.0}, at::kDouble);
  const at::Tensor slopes = normal({9}, 5);
  const at::Tensor gradient =
      testing::autograd_gradient([](const at::Tensor& t) { return ternarised(t, {}); }, w, slopes);
  EXPECT_TRUE(same(gradient, slopes * w.abs().lt(2.5)));
}

TEST(Ternary, equal_magnitudes_leave_no_zeros_and_zeros_stay_zeros) {
  const at::Tensor w = at::tensor({0.3, -0.3, 0.3, 0.0, 0.0, 0.0}, at::kDouble).reshape({2, 3});
  EXPECT_TRUE(near(ternarised(w, {0, 2}), w, 1e-16));
  const auto grid = std::get<AffineGrid>(Ternary({.channels = {0, 2}}).freeze(w));
  EXPECT_TRUE(near(grid.scale, at::tensor({0.3, 1.0}, at::kDouble), 1e-16));
}

TEST(Ternary, channels_of_a_convolution_and_of_transposed_weights) {
  const at::Tensor w = normal({6, 4, 3, 3}, 6);
  const at::Tensor flat = ternarised(w.flatten(1), {0, 6});
  EXPECT_TRUE(near(ternarised(w, {0, 6}).flatten(1), flat, 1e-12));
  EXPECT_TRUE(near(ternarised(w.flatten(1).t(), {1, 6}).t(), flat, 1e-12));
}

TEST(Ternary, the_frozen_grid_holds_the_trained_values) {
  const at::Tensor w = normal({6, 200}, 7).to(at::kFloat);
  Ternary quantizer({.channels = {0, 6}});
  const at::Tensor on = quantizer.fake_quant(w, false);
  const auto grid = std::get<AffineGrid>(quantizer.freeze(w));
  EXPECT_EQ(grid.lowest, -1);
  EXPECT_EQ(grid.highest, 1);
  EXPECT_TRUE(same(deployed(grid, on), on));
}

}  // namespace
}  // namespace ounce::train
