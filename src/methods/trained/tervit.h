#pragma once

#include <memory>

#include "graph/graph.h"
#include "methods/trained/binary_network.h"
#include "methods/trained/method.h"
#include "train/insert.h"

namespace ounce::methods {

/// The arms of the experiments; the defaults are the method's second stage.
struct TervitSettings {
  enum class Weights { kTernary, kEightBits };
  enum class Scales { kChannel, kLayer };

  Weights weights = Weights::kTernary;
  /// A threshold and a scale for each output channel of ternary weights, or one for the matrix.
  Scales scales = Scales::kChannel;
  /// Weights whose magnitude reaches it get no gradient.
  double clip = 2.5;
  /// The last share of the steps, in which ranges of activations stay.
  double hold = 0.1;
  /// Patch embedding and heads: 8-bit weights and inputs, or float.
  Ends ends = Ends::kEightBits;
};

/// TerViT (arXiv 2201.08050): `graph` with ternary (or, in its first stage, 8-bit) weights in all
/// layers but the ends, and 8-bit activations where layers read, for queries, keys, values and the
/// softmax map, too. Grids of activations are symmetric where values lie around 0 (behind norms and
/// layers), from least to largest elsewhere (behind GELU and softmax).
train::Student tervit(const Graph& graph, const TervitSettings& settings);

/// The keys `weights`, `scales`, `clip`, `hold`, `ends` of a stage.
TervitSettings read_tervit_settings(Settings& stage);
std::unique_ptr<TrainedMethod> read_tervit(Settings& stage);

}  // namespace ounce::methods
