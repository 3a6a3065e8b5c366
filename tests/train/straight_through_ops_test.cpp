// Gradients of the operators that round: those of the function that stands in for the steps.
#include <gtest/gtest.h>

#include <functional>

#include "tests/reference/evaluate_node.h"
#include "tests/train/run_op.h"

namespace ounce::testing {
namespace {

using Function = std::function<at::Tensor(const at::Tensor&)>;

/// Central differences of sum(weights * f(x)) for each element of x, in f64.
at::Tensor differences(const Function& f, const at::Tensor& x, const at::Tensor& weights) {
  constexpr double kStep = 1e-6;
  at::Tensor result = at::empty_like(x);
  for (int64_t i = 0; i < x.numel(); ++i) {
    at::Tensor moved = x.clone();
    moved.view(-1)[i] += kStep;
    const at::Tensor above = (f(moved) * weights).sum();
    moved.view(-1)[i] -= 2 * kStep;
    result.view(-1)[i] = (above - (f(moved) * weights).sum()) / (2 * kStep);
  }
  return result;
}

/// The gradient of sum(weights * op) at `x`.
at::Tensor gradient(const Function& op, const at::Tensor& x, const at::Tensor& weights) {
  at::Tensor leaf = x.clone().requires_grad_(true);
  (op(leaf) * weights).sum().backward();
  return leaf.grad();
}

void expect_gradient(const Function& op, const Function& surrogate, const at::Tensor& x) {
  const at::Tensor weights = at::linspace(-1, 2, op(x).numel(), at::kDouble).view(op(x).sizes());
  const at::Tensor actual = gradient(op, x, weights);
  const at::Tensor expected = differences(surrogate, x, weights);
  EXPECT_LT((actual - expected).abs().max().item().toDouble(), 1e-6) << actual << "\nexpected\n"
                                                                     << expected;
}

at::Tensor run(const std::string& op, const std::vector<at::Tensor>& inputs,
               const AttributeMap& attributes = {}, const std::vector<DType>& dtypes = {}) {
  return run_on_torch(make_node(op, attributes), inputs, true, dtypes).front();
}

/// None lies where a slope changes.
at::Tensor values() {
  return at::tensor({-3.7, -1.02, -0.97, -0.3, 0.21, 0.55, 0.98, 1.3, 2.2, 4.1}, at::kDouble);
}

TEST(BinarizeGradient, is_that_of_the_clipped_value_and_of_the_scale) {
  const at::Tensor x = values();
  const at::Tensor scale = at::tensor({0.7}, at::kDouble);
  expect_gradient(
      [&](const at::Tensor& v) {
        return run("Binarize", {v, scale});
      },
      [&](const at::Tensor& v) { return v.clamp(-1, 1) * scale; }, x);
  const Function of_scale = [&](const at::Tensor& s) { return run("Binarize", {x, s}); };
  expect_gradient(of_scale, of_scale, scale);
}

TEST(BinarizeGradient, of_maps_passes_between_zero_and_the_scale) {
  const at::Tensor x = values();
  const at::Tensor scale = at::tensor({0.7}, at::kDouble);
  const AttributeMap map = attributes_of({{"unsigned", int64_t{1}}});
  expect_gradient(
      [&](const at::Tensor& v) {
        return run("Binarize", {v, scale}, map);
      },
      [&](const at::Tensor& v) { return v.clamp(0, 0.7); }, x);
}

TEST(BinarizeGradient, takes_zero_for_positive) {
  const at::Tensor x = at::tensor({-0.0, 0.0, -1e-30, 1e-30}, at::kDouble);
  EXPECT_TRUE(run("Binarize", {x}).equal(at::tensor({1.0, 1.0, -1.0, 1.0}, at::kDouble)));
}

TEST(QuantizeLinearGradient, passes_inside_of_the_range_to_value_and_scale) {
  const at::Tensor x = values();
  const at::Tensor scale = at::tensor(0.4, at::kDouble);
  const at::Tensor zero = at::tensor(3, at::kChar);
  const std::vector<DType> types = {DType::f64, DType::f64, DType::i4};
  const auto quantize = [&](const at::Tensor& v, const at::Tensor& s) {
    return run("QuantizeLinear", {v, s, zero}, {}, types);
  };
  const auto surrogate = [&](const at::Tensor& v, const at::Tensor& s) {
    return (v / s + 3).clamp(-8, 7);
  };
  EXPECT_EQ(quantize(x, scale).max().item().toDouble(), 7);
  expect_gradient([&](const at::Tensor& v) { return quantize(v, scale); },
                  [&](const at::Tensor& v) { return surrogate(v, scale); }, x);
  expect_gradient([&](const at::Tensor& s) { return quantize(x, s); },
                  [&](const at::Tensor& s) { return surrogate(x, s); }, scale);
}

TEST(QuantizeLinearGradient, with_dequantize_linear_is_one_inside_of_the_range) {
  const at::Tensor x = values();
  const at::Tensor scale = at::tensor(0.01, at::kDouble);
  const at::Tensor zero = at::tensor(128, at::kByte);
  const auto there_and_back = [&](const at::Tensor& v) {
    return run("DequantizeLinear", {run("QuantizeLinear", {v, scale, zero}), scale, zero});
  };
  expect_gradient(
      there_and_back, [](const at::Tensor& v) { return v.clamp(-1.28, 1.27); }, x);
  EXPECT_LE((there_and_back(x) - x.clamp(-1.28, 1.27)).abs().max().item().toDouble(), 0.005 + 1e-9);
}

}  // namespace
}  // namespace ounce::testing
