#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "graph/graph.h"
#include "quantize/source.h"

namespace ounce::methods {

/// What a squared error of an element of a value costs the network's outputs, against one of its
/// other elements: the product of what its channel and its place (pixel, token) cost.
struct ErrorWeights {
  at::Tensor channels;             // broadcasts over the value; mean 1
  std::vector<at::Tensor> places;  // by run, likewise; mean 1 over all runs

  /// Of some of the runs, stacked. Places count by their roots: by what they cost, a block would be
  /// tuned for the one token or corner that the outputs look at, and that of a few pictures alone.
  at::Tensor of(std::span<const size_t> runs) const;
};

/// Means of `SquaredGradients` over places and over channels, since the elements of a few pictures
/// alone are mostly chance.
///
/// `inputs`: runs of a network of one input; the result has an entry for each of `values`, which
/// are [n, channels, height, width], or have their channels last. Draws are those of `seed`. Throws
/// `Error` when no output depends smoothly on the input.
std::map<ValueId, ErrorWeights> error_weights(const Graph& graph,
                                              const std::vector<ValueId>& values,
                                              const std::vector<Tensor>& inputs, uint64_t seed,
                                              const quantize::Progress& progress);

}  // namespace ounce::methods
