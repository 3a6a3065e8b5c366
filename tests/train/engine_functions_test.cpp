#include "train/engine_functions.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

namespace ounce::train {
namespace {

TEST(RowSoftmax, ValueAndGradientAreThoseOfLibtorch) {
  at::manual_seed(6);
  for (const int64_t count : {1, 7, 16, 66, 197}) {
    for (const double spread : {0.1, 3.0, 60.0}) {
      const at::Tensor x = (at::randn({3, 2, 5, count}) * spread).requires_grad_(true);
      const at::Tensor ours = row_softmax(x);
      const at::Tensor exact = at::softmax(x.detach().to(at::kDouble), -1);
      // Half a unit in the last place of x - max is a share of its exponential.
      const double tolerance = 1e-6 + 6e-8 * 6 * spread;
      EXPECT_TRUE(at::allclose(ours.to(at::kDouble), exact, tolerance, 1e-37))
          << count << ' ' << spread;
      const at::Tensor theirs = at::softmax(x, -1);
      const at::Tensor slope = at::randn_like(x);
      const at::Tensor got = torch::autograd::grad({ours}, {x}, {slope})[0];
      const at::Tensor wanted = torch::autograd::grad({theirs}, {x}, {slope})[0];
      EXPECT_TRUE(at::allclose(got, wanted, 1e-4, 1e-6)) << count << ' ' << spread;
    }
  }
}

TEST(RowSoftmax, MaskedAndBrokenRows) {
  const float infinity = std::numeric_limits<float>::infinity();
  at::Tensor x = at::zeros({3, 20});
  x[0].slice(0, 5, 20).fill_(-infinity);
  x[1][3] = std::numeric_limits<float>::quiet_NaN();
  x[2].fill_(-1e30);
  const at::Tensor y = row_softmax(x);
  EXPECT_TRUE(at::allclose(y[0].slice(0, 0, 5), at::full({5}, 0.2)));
  EXPECT_TRUE(y[0].slice(0, 5, 20).eq(0).all().item<bool>());
  EXPECT_TRUE(y[1].isnan().all().item<bool>());
  EXPECT_TRUE(at::allclose(y[2], at::full({20}, 0.05)));
}

TEST(RowSoftmax, ScatteredAndOtherTypes) {
  const at::Tensor x = at::randn({4, 5, 6}).transpose(1, 2);
  EXPECT_TRUE(at::allclose(row_softmax(x), at::softmax(x, -1)));
  const at::Tensor exact = at::randn({4, 5}, at::kDouble);
  EXPECT_TRUE(at::equal(row_softmax(exact), at::softmax(exact, -1)));
}

TEST(RowLayerNorm, ValueAndGradientsAreThoseOfLibtorch) {
  at::manual_seed(8);
  for (const int64_t columns : {1, 5, 16, 64, 193}) {
    for (const bool has_beta : {true, false}) {
      // Views as heads are, far from zero.
      at::Tensor x = at::randn({3, 7, 4, columns}).transpose(1, 2) + 5;
      x.requires_grad_(true);
      const at::Tensor gamma = at::randn({columns}).requires_grad_(true);
      const at::Tensor beta = has_beta ? at::randn({columns}).requires_grad_(true) : at::Tensor();
      const at::Tensor ours = row_layer_norm(x, gamma, beta, 1e-5);
      const at::Tensor theirs = at::layer_norm(x, {columns}, gamma, beta, 1e-5);
      EXPECT_TRUE(at::allclose(ours, theirs, 1e-4, 1e-4)) << columns;
      const at::Tensor slope = at::randn_like(theirs);
      std::vector<at::Tensor> leaves = {x, gamma};
      if (has_beta) leaves.push_back(beta);
      const auto got = torch::autograd::grad({ours}, leaves, {slope});
      const auto wanted = torch::autograd::grad({theirs}, leaves, {slope});
      for (size_t i = 0; i < leaves.size(); ++i) {
        EXPECT_TRUE(at::allclose(got[i], wanted[i], 1e-3, 1e-4)) << columns << ' ' << i;
      }
    }
  }
}

TEST(RowLayerNorm, OverSeveralAxesAndOfOtherTypes) {
  const at::Tensor x = at::randn({4, 5, 6}).requires_grad_(true);
  const at::Tensor gamma = at::randn({5, 6});
  const at::Tensor ours = row_layer_norm(x, gamma, {}, 1e-5);
  const at::Tensor theirs = at::layer_norm(x, {5, 6}, gamma, {}, 1e-5);
  EXPECT_TRUE(at::allclose(ours, theirs, 1e-5, 1e-5));
  const auto got = torch::autograd::grad({ours}, {x}, {at::ones_like(x)});
  const auto wanted = torch::autograd::grad({theirs}, {x}, {at::ones_like(x)});
  EXPECT_TRUE(at::allclose(got[0], wanted[0], 1e-4, 1e-5));
  const at::Tensor exact = at::randn({4, 5}, at::kDouble);
  const at::Tensor ones = at::ones({5}, at::kDouble);
  EXPECT_TRUE(
      at::equal(row_layer_norm(exact, ones, {}, 1e-5), at::layer_norm(exact, {5}, ones, {}, 1e-5)));
}

TEST(ErfGelu, ValueAndGradientAreThoseOfLibtorch) {
  at::manual_seed(7);
  const at::Tensor x = (at::randn({3, 70000}).transpose(0, 1) * 3).requires_grad_(true);
  const at::Tensor ours = erf_gelu(x);
  EXPECT_TRUE(at::allclose(ours, at::gelu(x), 1e-6, 1e-6));
  const at::Tensor slope = at::randn_like(x);
  const at::Tensor got = torch::autograd::grad({ours}, {x}, {slope})[0];
  const at::Tensor wanted = torch::autograd::grad({at::gelu(x)}, {x}, {slope})[0];
  EXPECT_TRUE(at::allclose(got, wanted, 1e-5, 1e-5));
  EXPECT_TRUE(
      at::isnan(erf_gelu(at::full({1}, std::numeric_limits<float>::quiet_NaN()))).item<bool>());
  const at::Tensor exact = at::randn({4, 5}, at::kDouble);
  EXPECT_TRUE(at::equal(erf_gelu(exact), at::gelu(exact)));
}

}  // namespace
}  // namespace ounce::train
