#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/reference/reference.h"
#include "tests/quantize/graphs.h"

namespace ounce::quantize::testing {

/// The largest difference of two sets of tensors, over the largest magnitude of each.
inline double largest_difference(const std::vector<Tensor>& expected,
                                 const std::vector<Tensor>& actual) {
  double most = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto a = expected[i].data<float>();
    const auto b = actual[i].data<float>();
    double largest = 0.0;
    double difference = 0.0;
    for (size_t j = 0; j < a.size(); ++j) {
      largest = std::max(largest, std::abs(static_cast<double>(a[j])));
      difference = std::max(difference, std::abs(static_cast<double>(a[j]) - b[j]));
    }
    most = std::max(most, difference / std::max(largest, 1e-30));
  }
  return most;
}

/// That of the outputs of two graphs on one random input.
inline double largest_difference(const Graph& before, const Graph& after, unsigned seed = 3) {
  const auto inputs = random_inputs(before, seed);
  return largest_difference(engine::reference::run(before, inputs),
                            engine::reference::run(after, inputs));
}

}  // namespace ounce::quantize::testing
