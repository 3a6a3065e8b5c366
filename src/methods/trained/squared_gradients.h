#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "graph/graph.h"
#include "train/module.h"

namespace ounce::methods {

/// What errors of values inside a network of one input cost its outputs: the diagonal of the Fisher
/// information (BRECQ, 2102.05426, section 3.3), by squared gradients of the cross-entropy of
/// classes drawn from the network's own softmax, or of random sums of outputs that are no scores of
/// classes.
class SquaredGradients {
 public:
  /// Draws are those of `seed`.
  SquaredGradients(const Graph& graph, const std::vector<ValueId>& values, uint64_t seed);

  struct Seen {
    at::Tensor value;
    at::Tensor squares;  // of the same shape, averaged over draws
  };
  /// One of each of `values`, for one input. Throws `Error` when no output depends smoothly on it.
  std::vector<Seen> at_values(const Tensor& input);

 private:
  train::Module module_;
  std::vector<std::string> taps_;
  at::Generator random_;
};

}  // namespace ounce::methods
