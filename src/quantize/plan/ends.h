#pragma once

#include <functional>
#include <vector>

#include "graph/graph.h"

namespace ounce::quantize {

/// Which nodes, by index, have no layer before them, or none behind them.
struct Ends {
  std::vector<bool> first;
  std::vector<bool> last;

  /// Behind the last layers: what makes outputs of what these give.
  bool decodes(int node) const {
    const auto i = static_cast<size_t>(node);
    return last[i] && !first[i];
  }
};

/// `is_layer`: whether a node counts as a layer. A first layer is `first` itself, a last one
/// `last`.
Ends ends_of(const Graph& graph, const std::function<bool(int)>& is_layer);

}  // namespace ounce::quantize
