#include <gtest/gtest.h>

#include <set>

#include "engine/reference/reference.h"
#include "graph/error.h"
#include "tests/reference/evaluate_node.h"
#include "tests/support/tensors.h"
#include "tests/train/op_cases.h"
#include "tests/train/run_op.h"

namespace ounce::testing {
namespace {

/// libtorch computes in f64 here, the reference in f64 sums that it rounds to f32, or, without
/// sums, in f32: a few units in the last place, which cancellation makes no larger than this
/// against 1 / 1000 of the largest element.
constexpr double kTolerance = 1e-5;

/// Codes are floats in training.
Tensor in_dtype_of(const at::Tensor& actual, const Tensor& expected) {
  const Tensor tensor = train::from_torch(actual);
  return is_integer(expected.dtype()) && is_float(tensor.dtype()) ? cast(tensor, expected.dtype())
                                                                  : tensor;
}

void expect_as_reference(const std::vector<OpCase>& cases) {
  for (const OpCase& test : cases) {
    SCOPED_TRACE(describe(test));
    const Node node = make_node(test.op, test.attributes, test.outputs);
    try {
      const std::vector<Tensor> expected = engine::reference::evaluate(node, test.inputs);
      const std::vector<at::Tensor> actual = run_on_torch(node, test.inputs, at::kDouble);
      ASSERT_GE(actual.size(), expected.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_TRUE(close(in_dtype_of(actual[i], expected[i]), expected[i], kTolerance))
            << "output " << i;
      }
    } catch (const c10::Error& error) {
      ADD_FAILURE() << error.what_without_backtrace();
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

TEST(TrainOps, compute_what_the_reference_computes) {
  expect_as_reference(trained_cases());
}

/// Operands in f64, those of floats as leaves; running statistics are none.
std::vector<at::Tensor> leaves(const OpCase& test) {
  std::vector<at::Tensor> operands;
  for (const Tensor& input : test.inputs) {
    at::Tensor operand = input.defined() ? train::to_torch(input) : at::Tensor();
    if (input.dtype() == DType::f32) {
      const bool statistic = test.op == "BatchNormalization" && operands.size() >= 3;
      operand = operand.to(at::kDouble).requires_grad_(!statistic);
    }
    operands.push_back(operand);
  }
  return operands;
}

TEST(TrainOps, have_finite_gradients) {
  for (const OpCase& test : trained_cases()) {
    SCOPED_TRACE(describe(test));
    // Not an operand but a description of the shape.
    if (test.op == "Resize" || test.op == "Range") continue;
    const std::vector<at::Tensor> operands = leaves(test);
    const Node node = make_node(test.op, test.attributes, test.outputs);
    const at::Tensor y = run_on_torch(node, operands).front();
    if (!y.requires_grad() || y.numel() == 0) continue;
    y.square().sum().backward();
    for (size_t i = 0; i < operands.size(); ++i) {
      if (!operands[i].defined() || !operands[i].grad().defined()) continue;
      EXPECT_TRUE(operands[i].grad().isfinite().all().item().toBool()) << "operand " << i;
    }
  }
}

TEST(TrainOps, give_zeros_no_infinite_slope) {
  AttributeMap window;
  window.set("kernel_shape", std::vector<int64_t>{2, 2});
  const auto expect_finite = [](const char* op, const AttributeMap& attributes) {
    const at::Tensor x = at::zeros({1, 2, 4, 4}).requires_grad_(true);
    run_on_torch(make_node(op, attributes), std::vector<at::Tensor>{x})[0].sum().backward();
    EXPECT_TRUE(x.grad().isfinite().all().item().toBool()) << op;
  };
  for (const char* op : {"LpPool", "GlobalLpPool", "MeanVarianceNormalization", "LpNormalization",
                         "ReduceL2", "Softsign", "Mish"}) {
    expect_finite(op, std::string(op) == "LpPool" ? window : AttributeMap());
  }
}

TEST(TrainOps, have_a_case_each) {
  std::set<std::string> seen;
  for (const OpCase& test : trained_cases()) seen.insert(test.op);
  for (const train::OpRow& row : train::all_ops()) {
    EXPECT_TRUE(seen.contains(std::string(row.name))) << row.name;
  }
}

}  // namespace
}  // namespace ounce::testing
