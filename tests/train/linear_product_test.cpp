#include "train/linear_product.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <vector>

namespace ounce::train {
namespace {

/// Tokens [.., features], a matrix, and whether each is the transpose of what lies in memory.
struct Case {
  std::vector<int64_t> x, w;
  bool transpose_x, transpose_w;
};

class LinearProduct : public ::testing::TestWithParam<Case> {
 protected:
  static at::Tensor operand(std::vector<int64_t> shape, bool transposed) {
    if (transposed) std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
    const at::Tensor x = at::randn(shape);
    return (transposed ? x.transpose(-1, -2) : x).requires_grad_(true);
  }
};

TEST_P(LinearProduct, ValueAndGradientsAreThoseOfMatmul) {
  at::manual_seed(4);
  const at::Tensor x = operand(GetParam().x, GetParam().transpose_x);
  const at::Tensor w = operand(GetParam().w, GetParam().transpose_w);
  const at::Tensor ours = linear_product(x, w);
  const at::Tensor theirs = at::matmul(x, w);
  ASSERT_EQ(ours.sizes(), theirs.sizes());
  EXPECT_TRUE(at::allclose(ours, theirs, 1e-5, 1e-5));
  const at::Tensor slope = at::randn_like(theirs);
  const auto got = torch::autograd::grad({ours}, {x, w}, {slope});
  const auto wanted = torch::autograd::grad({theirs}, {x, w}, {slope});
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(at::allclose(got[i], wanted[i], 1e-5, 1e-5));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, LinearProduct,
    ::testing::Values(Case{{2, 66, 64}, {64, 192}, false, false},
                      Case{{3, 2, 5, 7}, {7, 4}, true, false}, Case{{5, 7}, {7, 4}, false, true},
                      Case{{5, 7}, {7, 4}, true, true}, Case{{1, 7}, {7, 1}, false, false},
                      Case{{6, 1}, {1, 5}, false, false}, Case{{1, 1}, {1, 1}, true, true}));

TEST(LinearProductViews, ScatteredRowsAreCopied) {
  const at::Tensor x = at::randn({4, 6, 10}).slice(2, 0, 10, 2);
  const at::Tensor row = at::randn({1, 5}).expand({7, 5}).t();
  EXPECT_TRUE(at::allclose(linear_product(x, row), at::matmul(x, row), 1e-5, 1e-6));
}

TEST(LinearProductTypes, OthersAreLibtorchs) {
  const at::Tensor x = at::randn({4, 3}, at::kDouble);
  const at::Tensor w = at::randn({3, 2}, at::kDouble);
  EXPECT_TRUE(at::equal(linear_product(x, w), at::matmul(x, w)));
  EXPECT_EQ(linear_product(at::randn({0, 3}), at::randn({3, 2})).sizes(), at::IntArrayRef({0, 2}));
  EXPECT_THROW(linear_product(at::randn({4, 3}), at::randn({2, 2})), c10::Error);
}

}  // namespace
}  // namespace ounce::train
