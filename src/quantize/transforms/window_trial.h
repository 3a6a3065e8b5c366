#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "graph/graph.h"
#include "quantize/options.h"
#include "quantize/source.h"
#include "quantize/transforms/layer_trial.h"

namespace ounce::quantize {

/// Convolutions and linear layers on their own, on some windows of what they read in the graph.
class WindowTrials {
 public:
  /// Reads the data once and keeps about `kWindows` windows for each of `nodes` (products with
  /// constant weights; the others, and one-dimensional convolutions, are passed over).
  WindowTrials(const Graph& graph, const std::vector<int>& nodes, InputSource& source, int threads,
               const Progress& progress);

  /// What the layer makes of its windows, and what of it is lost where windows and weights are
  /// quantized after input channel c is divided by inputs[c] and output channel o by outputs[o]
  /// (the weights undo the one and do the other; empty: ones). Signal and noise are those of the
  /// results as they were before. nullopt where nothing was seen of the layer.
  std::optional<Strength> strength(int node, const LayerSettings& settings,
                                   std::span<const float> inputs,
                                   std::span<const float> outputs) const;

 private:
  static constexpr int64_t kWindows = 64;

  /// What convolutions and linear layers have in common: a window holds `taps` numbers of each
  /// input channel, [windows, inputs, taps].
  struct Layer {
    Tensor weights;  // [outputs, inputs / groups, taps]
    int64_t groups = 1;
    std::vector<float> windows;
  };

  std::map<int, Layer> layers_;
};

}  // namespace ounce::quantize
