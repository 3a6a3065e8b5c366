#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "engine/reference/reference.h"
#include "graph/graph.h"
#include "tests/support/tensors.h"

namespace ounce::testing {

inline std::map<std::string, int> operator_counts(const Graph& graph) {
  std::map<std::string, int> counts;
  for (const Node& node : graph.nodes) ++counts[node.op];
  return counts;
}

/// The operators of a graph in order, "Mul Add".
inline std::string operators(const Graph& graph) {
  std::string text;
  for (const Node& node : graph.nodes) text += (text.empty() ? "" : " ") + node.op;
  return text;
}

/// Largest |actual - expected| over the largest |expected|. A rewrite may round differently inside,
/// so an element that cancels to almost nothing has no small relative error of its own.
inline ::testing::AssertionResult close_to_largest(const Tensor& actual, const Tensor& expected,
                                                   double tolerance) {
  if (actual.shape() != expected.shape() || actual.dtype() != expected.dtype()) {
    return ::testing::AssertionFailure()
           << to_string(actual.shape()) << " instead of " << to_string(expected.shape());
  }
  const std::vector<float> a = actual.to_f32();
  const std::vector<float> e = expected.to_f32();
  double largest = 1e-30;
  for (const float value : e) largest = std::max(largest, std::abs(static_cast<double>(value)));
  size_t worst = 0;
  double error = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference =
        std::abs(static_cast<double>(a[i]) - static_cast<double>(e[i])) / largest;
    if (difference <= error) continue;  // NaN falls through and fails below
    error = difference;
    worst = i;
    if (std::isnan(difference)) break;
  }
  if (error <= tolerance) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "worst element " << worst << " of " << to_string(actual.shape()) << ": got " << a[worst]
         << ", expected " << e[worst] << " (" << error << " of the largest value " << largest
         << ")";
}

/// Both graphs are valid, have the same interface, and compute the same from random inputs.
/// Single precision, sums of at most some hundred terms: 1e-5 of the largest element.
inline void expect_equivalent(const Graph& before, const Graph& after, double tolerance = 1e-5) {
  before.validate();
  after.validate();
  ASSERT_EQ(before.inputs.size(), after.inputs.size());
  ASSERT_EQ(before.outputs.size(), after.outputs.size());
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < before.inputs.size(); ++i) {
    EXPECT_EQ(before.value(before.inputs[i]).name, after.value(after.inputs[i]).name);
    const auto shape = concrete(*before.value(before.inputs[i]).shape);
    inputs.push_back(random_tensor(*shape, static_cast<uint32_t>(17 + i), 3.0F));
  }
  const std::vector<Tensor> expected = engine::reference::run(before, inputs);
  const std::vector<Tensor> actual = engine::reference::run(after, inputs);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(before.value(before.outputs[i]).name, after.value(after.outputs[i]).name);
    EXPECT_TRUE(close_to_largest(actual[i], expected[i], tolerance)) << "output " << i;
  }
}

}  // namespace ounce::testing
