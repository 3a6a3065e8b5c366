#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "tests/support/tensors.h"

// Sessions against the reference, and which kernels they ran.
namespace ounce::engine {

inline std::vector<std::string> kernels_of(const Graph& graph, const std::vector<Tensor>& inputs,
                                           SessionOptions options = {}) {
  options.profile = true;
  Session session(graph, options);
  session.run(inputs);
  std::vector<std::string> kernels;
  for (const StepProfile& step : session.profile()) kernels.push_back(step.kernel);
  return kernels;
}

inline int64_t count_kernels(const std::vector<std::string>& kernels, std::string_view prefix) {
  return std::count_if(kernels.begin(), kernels.end(),
                       [&](const std::string& kernel) { return kernel.starts_with(prefix); });
}

/// The engine against the float meaning of the graph; returns the kernels that ran.
inline std::vector<std::string> expect_close(const Graph& graph, const Shape& input_shape,
                                             double tolerance) {
  Graph inferred = graph;
  infer_shapes(inferred);
  const std::vector<Tensor> inputs = {ounce::testing::random_tensor(input_shape, 31)};
  const std::vector<Tensor> expected = reference::run(inferred, inputs);
  const std::vector<Tensor> actual = Session(inferred).run(inputs);
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_TRUE(ounce::testing::close(actual[i], expected[i], tolerance)) << "output " << i;
  }
  return kernels_of(inferred, inputs);
}

}  // namespace ounce::engine
