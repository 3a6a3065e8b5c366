#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"
#include "quantize/transforms/norm_fold.h"

namespace ounce::quantize {

/// The residual stream of a transformer: all values that additions, moves of tokens and means over
/// tokens join, with everything that reads or writes their channels. What lies along the channels
/// can be multiplied by an orthogonal matrix where nothing else touches it: by one that keeps the
/// mean of the channels, which LayerNormalization subtracts, and which constants alike in all
/// channels only move.
struct ResidualStream {
  int64_t width = 0;            // channels
  std::vector<NormFold> norms;  // normalizations of it that hand on to linear layers only
  std::vector<int> readers;     // linear layers and convolutions that read the stream itself
  std::vector<int> writers;     // those that write to it
  /// A constant that is added to it or stands in it (position embedding, class token, a bias).
  struct Constant {
    int node = -1;
    size_t input = 0;
    int64_t axis = 0;  // that counts channels
    bool operator==(const Constant&) const = default;
  };
  std::vector<Constant> constants;
  std::vector<ValueId> values;  // that are computed
  std::string obstacle;         // why it cannot be rotated; empty: it can
};

/// Every stream that a normalization over the last axis reads, in order. A stream that cannot be
/// rotated (its values leave the model, a normalization's result is added to something, an operator
/// works on its channels) has an `obstacle`, and what else it holds is not complete.
std::vector<ResidualStream> residual_streams(const Graph& graph);

}  // namespace ounce::quantize
