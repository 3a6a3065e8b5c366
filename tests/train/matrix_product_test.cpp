#include "train/matrix_product.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

namespace ounce::train {
namespace {

struct Case {
  std::vector<int64_t> a, b;
  bool transpose_a, transpose_b;  // views of the last two dimensions
  bool heads;                     // the operands are views of [batch, tokens, heads, features]
};

class MatrixProduct : public ::testing::TestWithParam<Case> {
 protected:
  static at::Tensor operand(const std::vector<int64_t>& shape, bool transposed, bool heads) {
    std::vector<int64_t> stored = shape;
    if (transposed) std::swap(stored[stored.size() - 1], stored[stored.size() - 2]);
    if (heads) std::swap(stored[1], stored[2]);
    at::Tensor x = at::randn(stored);
    if (heads) x = x.transpose(1, 2);
    if (transposed) x = x.transpose(-1, -2);
    return x.requires_grad_(true);
  }
};

TEST_P(MatrixProduct, ValueAndGradientsAreThoseOfMatmul) {
  at::manual_seed(3);
  const at::Tensor a = operand(GetParam().a, GetParam().transpose_a, GetParam().heads);
  const at::Tensor b = operand(GetParam().b, GetParam().transpose_b, GetParam().heads);
  const at::Tensor ours = matrix_product(a, b);
  const at::Tensor theirs = at::matmul(a, b);
  ASSERT_EQ(ours.sizes(), theirs.sizes());
  EXPECT_TRUE(at::allclose(ours, theirs, 1e-5, 1e-5));
  const at::Tensor slope = at::randn_like(theirs);
  const auto got = torch::autograd::grad({ours}, {a, b}, {slope});
  const auto wanted = torch::autograd::grad({theirs}, {a, b}, {slope});
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(at::allclose(got[i], wanted[i], 1e-5, 1e-5));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, MatrixProduct,
    ::testing::Values(Case{{3, 2, 5, 7}, {3, 2, 7, 4}, false, false, false},
                      Case{{3, 2, 5, 7}, {3, 2, 7, 4}, true, true, false},
                      Case{{3, 2, 66, 16}, {3, 2, 16, 66}, false, true, true},
                      Case{{3, 2, 66, 66}, {3, 2, 66, 16}, false, false, true},
                      Case{{3, 2, 66, 16}, {3, 2, 16, 66}, true, false, true},
                      Case{{3, 2, 66, 66}, {3, 2, 66, 16}, true, true, false},
                      Case{{9, 17, 64}, {9, 64, 17}, false, true, false},
                      Case{{2, 3, 4, 5, 7}, {2, 3, 4, 7, 6}, false, true, false},
                      Case{{6, 1, 3}, {6, 3, 1}, false, false, false},
                      Case{{6, 4, 1}, {6, 1, 5}, true, true, false},
                      // Not stacks of equal extents: libtorch's own.
                      Case{{3, 2, 5, 7}, {1, 2, 7, 4}, false, false, false},
                      Case{{4, 5, 7}, {7, 2}, false, false, false}));

TEST(MatrixProductViews, OverlappingRowsOfAnExpandedTensorAreCopied) {
  const at::Tensor a = at::randn({2, 1, 3}).expand({2, 4, 3});
  const at::Tensor b = at::randn({1, 3, 2}).expand({2, 3, 2});
  EXPECT_TRUE(at::allclose(matrix_product(a, b), at::matmul(a, b)));
}

TEST(MatrixProductViews, ScatteredRowsAreCopied) {
  const at::Tensor x = at::randn({4, 6, 10}).slice(2, 0, 10, 2);
  const at::Tensor row = at::randn({1, 5}).expand({7, 5}).t();
  EXPECT_TRUE(at::allclose(matrix_product(x, row), at::matmul(x, row), 1e-5, 1e-6));
}

TEST(MatrixProductTypes, OthersAreLibtorchs) {
  const at::Tensor x = at::randn({4, 3}, at::kDouble);
  const at::Tensor w = at::randn({3, 2}, at::kDouble);
  EXPECT_TRUE(at::equal(matrix_product(x, w), at::matmul(x, w)));
  EXPECT_EQ(matrix_product(at::randn({0, 3}), at::randn({3, 2})).sizes(), at::IntArrayRef({0, 2}));
  EXPECT_THROW(matrix_product(at::randn({4, 3}), at::randn({2, 2})), c10::Error);
}

}  // namespace
}  // namespace ounce::train
