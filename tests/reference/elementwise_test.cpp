#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "graph/error.h"
#include "tests/reference/evaluate_node.h"
#include "tests/support/tensors.h"

namespace ounce::testing {
namespace {

/// The element of a tensor of `shape` that stands at `index` of a shape it broadcasts to.
size_t broadcast_offset(const Shape& shape, const Shape& index) {
  size_t offset = 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t at = shape[i] == 1 ? 0 : index[index.size() - shape.size() + i];
    offset = offset * static_cast<size_t>(shape[i]) + static_cast<size_t>(at);
  }
  return offset;
}

TEST(Broadcasting, pairs_the_elements_that_index_arithmetic_pairs) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto pick = [&](int64_t low, int64_t high) {
      return low + static_cast<int64_t>(random() % static_cast<uint64_t>(high - low + 1));
    };
    Shape full(static_cast<size_t>(pick(0, 5)));
    for (int64_t& dim : full) dim = pick(1, 4);
    const auto part = [&] {
      Shape shape(full.begin() + pick(0, static_cast<int64_t>(full.size())), full.end());
      for (int64_t& dim : shape) dim = pick(0, 2) == 0 ? 1 : dim;
      return shape;
    };
    const Tensor a = random_tensor(part(), seed);
    const Tensor b = random_tensor(part(), seed + 1000);
    const Tensor y = evaluate_one("Sub", {a, b});
    Shape index(y.shape().size(), 0);
    for (const float value : y.data<float>()) {
      EXPECT_EQ(value, a.data<float>()[broadcast_offset(a.shape(), index)] -
                           b.data<float>()[broadcast_offset(b.shape(), index)]);
      for (size_t axis = index.size(); axis-- > 0;) {
        if (++index[axis] < y.shape()[axis]) break;
        index[axis] = 0;
      }
    }
  }
}

TEST(Elementwise, computes_halves_in_f32_and_rounds_once) {
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const Tensor a = cast(random_tensor({50}, 3, 4.0F), dtype);
    const Tensor b = cast(random_tensor({50}, 4, 4.0F), dtype);
    const Tensor product = evaluate_one("Mul", {a, b});
    EXPECT_EQ(product.dtype(), dtype);
    const Tensor exact = evaluate_one("Mul", {cast(a, DType::f32), cast(b, DType::f32)});
    EXPECT_TRUE(product.identical_to(cast(exact, dtype))) << name_of(dtype);
  }
}

TEST(Elementwise, wraps_integer_arithmetic) {
  const auto most = std::numeric_limits<int64_t>::max();
  const auto least = std::numeric_limits<int64_t>::min();
  const Tensor a = Tensor::of_i64({most, least, least});
  EXPECT_EQ(evaluate_one("Add", {a, Tensor::of_i64({1, -1, 0})}).to_i64(),
            (std::vector<int64_t>{least, most, least}));
  EXPECT_EQ(evaluate_one("Div", {a, Tensor::of_i64({-1, -1, 1})}).to_i64(),
            (std::vector<int64_t>{-most, least, least}));
  EXPECT_EQ(evaluate_one("Neg", {a}).to_i64(), (std::vector<int64_t>{-most, least, least}));
}

TEST(Elementwise, refuses_to_divide_integers_by_zero) {
  const Tensor a = Tensor::of_i64({1});
  const Tensor zero = Tensor::of_i64({0});
  EXPECT_THROW(evaluate_one("Div", {a, zero}), Error);
  EXPECT_THROW(evaluate_one("Mod", {a, zero}), Error);
  EXPECT_THROW(evaluate_one("Pow", {zero, Tensor::of_i64({-1})}), Error);
}

TEST(Elementwise, lets_nan_through) {
  const Tensor x = floats({NAN, 1.0F}, {2});
  const Tensor y = floats({0.0F, NAN}, {2});
  for (const char* op : {"Min", "Max", "Add"}) {
    for (const float value : evaluate_one(op, {x, y}).to_f32()) {
      EXPECT_TRUE(std::isnan(value)) << op;
    }
  }
  for (const char* op : {"Relu", "Clip", "Abs", "Sign", "LeakyRelu"}) {
    EXPECT_TRUE(std::isnan(evaluate_one(op, {x}).to_f32()[0])) << op;
  }
}

TEST(Elementwise, saturates_activations_without_overflow) {
  const Tensor x = floats({-1e4F, 1e4F}, {2});
  EXPECT_EQ(evaluate_one("Softplus", {x}).to_f32(), (std::vector<float>{0.0F, 1e4F}));
  EXPECT_EQ(evaluate_one("Sigmoid", {x}).to_f32(), (std::vector<float>{0.0F, 1.0F}));
  EXPECT_EQ(evaluate_one("Mish", {x}).to_f32(), (std::vector<float>{-0.0F, 1e4F}));
  EXPECT_EQ(evaluate_one("Silu", {x}).to_f32(), (std::vector<float>{-0.0F, 1e4F}));
  EXPECT_EQ(evaluate_one("Gelu", {x}).to_f32(), (std::vector<float>{-0.0F, 1e4F}));
}

TEST(Movement, carries_packed_codes) {
  const Tensor x = codes(DType::i4, {-8, -1, 0, 1, 7, 3}, {2, 3});
  const Tensor turned = evaluate_one("Transpose", {x});
  EXPECT_EQ(turned.dtype(), DType::i4);
  EXPECT_EQ(turned.to_i64(), (std::vector<int64_t>{-8, 1, -1, 7, 0, 3}));
  EXPECT_EQ(evaluate_one("Gather", {x, Tensor::of_i64({-1})}).to_i64(),
            (std::vector<int64_t>{1, 7, 3}));
}

TEST(Cast, saturates_floats_at_the_ends_of_packed_types) {
  const Tensor x = floats({-100, -2.7F, 2.7F, 100}, {4});
  EXPECT_EQ(cast(x, DType::i4).to_i64(), (std::vector<int64_t>{-8, -2, 2, 7}));
  EXPECT_EQ(cast(x, DType::u4).to_i64(), (std::vector<int64_t>{0, 0, 2, 15}));
}

}  // namespace
}  // namespace ounce::testing
