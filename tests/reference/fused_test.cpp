#include <gtest/gtest.h>

#include <cmath>

#include "graph/error.h"
#include "tests/reference/evaluate_node.h"
#include "tests/support/tensors.h"

namespace ounce::testing {
namespace {

// Both sides round each step to f32; a softmax over n keys and a dot product over d features differ
// by a few units in the last place.
constexpr double kRounding = 2e-6;

/// Attention written in ONNX operators.
Tensor expanded_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor* mask,
                          float scale) {
  std::vector<int64_t> swap(static_cast<size_t>(k.rank()));
  for (size_t i = 0; i < swap.size(); ++i) swap[i] = static_cast<int64_t>(i);
  std::swap(swap[swap.size() - 1], swap[swap.size() - 2]);
  const Tensor transposed = evaluate_one("Transpose", {k}, attributes_of({{"perm", swap}}));
  Tensor map = evaluate_one("MatMul", {q, transposed});
  map = evaluate_one("Mul", {map, Tensor::scalar(scale)});
  if (mask != nullptr) map = evaluate_one("Add", {map, *mask});
  return evaluate_one("MatMul", {evaluate_one("Softmax", {map}), v});
}

TEST(Attention, equals_its_expansion) {
  const Tensor q = random_tensor({2, 3, 5, 8}, 1, 2.0F);
  const Tensor k = random_tensor({2, 3, 7, 8}, 2, 2.0F);
  const Tensor v = random_tensor({2, 3, 7, 4}, 3);
  const Tensor expected = expanded_attention(q, k, v, nullptr, 1.0F / std::sqrt(8.0F));
  EXPECT_TRUE(close(evaluate_one("Attention", {q, k, v}), expected, kRounding));
}

TEST(Attention, takes_scale_and_an_additive_mask_that_broadcasts) {
  const Tensor q = random_tensor({2, 3, 5, 8}, 4);
  const Tensor k = random_tensor({2, 3, 7, 8}, 5);
  const Tensor v = random_tensor({2, 3, 7, 4}, 6);
  for (const Shape& shape : {Shape{5, 7}, Shape{2, 1, 5, 7}, Shape{1, 3, 1, 7}, Shape{}}) {
    const Tensor mask = random_tensor(shape, 7, 3.0F);
    const Tensor expected = expanded_attention(q, k, v, &mask, 0.25F);
    const Tensor actual =
        evaluate_one("Attention", {q, k, v, mask}, attributes_of({{"scale", 0.25F}}));
    EXPECT_TRUE(close(actual, expected, kRounding)) << to_string(shape);
  }
}

TEST(Attention, sees_only_keys_that_a_bool_mask_allows) {
  const Tensor q = random_tensor({3, 4}, 8);
  const Tensor k = random_tensor({3, 4}, 9);
  const Tensor v = random_tensor({3, 2}, 10);
  const Tensor causal = cast(floats({1, 0, 0, 1, 1, 0, 1, 1, 1}, {3, 3}), DType::boolean);
  const Tensor y = evaluate_one("Attention", {q, k, v, causal});
  EXPECT_EQ(y.to_f32()[0], v.to_f32()[0]);  // the first token sees the first key alone
  EXPECT_EQ(y.to_f32()[1], v.to_f32()[1]);
  const Tensor additive = floats({0, -INFINITY, -INFINITY, 0, 0, -INFINITY, 0, 0, 0}, {3, 3});
  EXPECT_TRUE(close(y, evaluate_one("Attention", {q, k, v, additive}), 0.0));
}

TEST(Attention, broadcasts_leading_dimensions) {
  const Tensor q = random_tensor({4, 5, 8}, 12);
  const Tensor k = random_tensor({1, 7, 8}, 13);
  const Tensor v = random_tensor({7, 3}, 14);
  const Tensor expected = expanded_attention(q, k, v, nullptr, 1.0F / std::sqrt(8.0F));
  EXPECT_TRUE(close(evaluate_one("Attention", {q, k, v}), expected, kRounding));
}

TEST(Attention, refuses_operands_that_do_not_fit) {
  const Tensor a = random_tensor({5, 8}, 15);
  const Tensor b = random_tensor({7, 6}, 16);
  EXPECT_THROW(evaluate_one("Attention", {a, b, b}), Error);
  EXPECT_THROW(evaluate_one("Attention", {a, a, b}), Error);
  EXPECT_THROW(evaluate_one("Attention", {a, a, a, random_tensor({5, 4}, 17)}), Error);
}

TEST(Silu, is_x_times_sigmoid) {
  const Tensor x = random_tensor({100}, 18, 20.0F);
  const Tensor expected = evaluate_one("Mul", {x, evaluate_one("Sigmoid", {x})});
  EXPECT_TRUE(close(evaluate_one("Silu", {x}), expected, kRounding));
}

TEST(RMSNorm, equals_its_expansion) {
  const Tensor x = random_tensor({3, 5, 16}, 19, 4.0F);
  const Tensor scale = random_tensor({16}, 20);
  const Tensor squares = evaluate_one("Mul", {x, x});
  const Tensor mean = evaluate_one("ReduceMean", {squares, Tensor::of_i64({-1})});
  const Tensor root = evaluate_one("Sqrt", {evaluate_one("Add", {mean, Tensor::scalar(1e-6F)})});
  const Tensor expected = evaluate_one("Mul", {evaluate_one("Div", {x, root}), scale});
  const Tensor actual = evaluate_one("RMSNorm", {x, scale}, attributes_of({{"epsilon", 1e-6F}}));
  EXPECT_TRUE(close(actual, expected, kRounding));
}

TEST(RotaryEmbedding, turns_each_pair_by_its_angle) {
  const float angle = 0.3F;
  const Tensor cosine = floats({std::cos(angle), 1.0F}, {1, 2});
  const Tensor sine = floats({std::sin(angle), 0.0F}, {1, 2});
  const Tensor halves =
      evaluate_one("RotaryEmbedding", {floats({1, 5, 0, 7}, {1, 4}), cosine, sine});
  EXPECT_TRUE(close(halves, floats({std::cos(angle), 5, std::sin(angle), 7}, {1, 4}), kRounding));
  const Tensor neighbours =
      evaluate_one("RotaryEmbedding", {floats({1, 0, 5, 7}, {1, 4}), cosine, sine},
                   attributes_of({{"interleaved", int64_t{1}}}));
  EXPECT_TRUE(
      close(neighbours, floats({std::cos(angle), std::sin(angle), 5, 7}, {1, 4}), kRounding));
}

}  // namespace
}  // namespace ounce::testing
