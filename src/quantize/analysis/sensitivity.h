#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"
#include "quantize/source.h"

namespace ounce::quantize {

/// What quantizing one layer costs the outputs of the model, seen from both ends.
struct LayerSensitivity {
  std::string node;
  std::string op;
  /// Signal over noise of the outputs with this layer quantized and everything else in float, dB.
  /// Low: the layer is sensitive by itself.
  double alone_db = 0.0;
  /// The same with everything quantized but this layer. Far above `Sensitivity::all_db`: this layer
  /// is what the model suffers from.
  double restored_db = 0.0;
};

struct Sensitivity {
  std::vector<LayerSensitivity> layers;  // in order of computation
  double all_db = 0.0;                   // everything quantized
  int64_t runs = 0;
};

/// Quantizes one layer at a time, and restores one at a time. Layers are the convolutions and
/// matrix products of `quantized` with an operand that is rounded; what is exchanged is the layer
/// with the rounding of its operands, not that of its result, which belongs to whatever reads it.
/// Noise is that of each f32 output over its signal, averaged over outputs. Runs the model twice
/// for every layer and input, so `source` should be short: its inputs and the exact outputs are
/// held in memory. `quantized` must come from `exact` (values are matched by name); throws `Error`
/// where the interfaces differ or no layer is shared.
Sensitivity measure_sensitivity(const Graph& exact, const Graph& quantized, InputSource& source,
                                int threads, const Progress& progress = {});

}  // namespace ounce::quantize
