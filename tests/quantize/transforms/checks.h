#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "engine/reference/reference.h"
#include "tests/quantize/graphs.h"

namespace ounce::quantize::testing {

/// The largest difference of the outputs of two graphs on one random input, over the largest
/// magnitude of each output.
inline double largest_difference(const Graph& before, const Graph& after, unsigned seed = 3) {
  const auto inputs = random_inputs(before, seed);
  const auto expected = engine::reference::run(before, inputs);
  const auto actual = engine::reference::run(after, inputs);
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

inline int node_named(const Graph& graph, std::string_view name) {
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (graph.nodes[i].name == name) return static_cast<int>(i);
  }
  ADD_FAILURE() << "no node " << name;
  return -1;
}

}  // namespace ounce::quantize::testing
