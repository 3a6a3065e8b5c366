#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"
#include "quantize/options.h"
#include "quantize/source.h"

namespace ounce::quantize {

/// One transform of a graph that changes nothing in exact arithmetic, and what it was worth.
struct TransformRecord {
  std::string node;  // the normalization, or the first of the layers
  std::string kind;  // "repq", "smooth"
  bool kept = false;
  /// Signal over noise of what the layers behind it make of quantized operands, on some rows of
  /// the calibration data, without and with it, dB.
  double before_db = 0.0;
  double after_db = 0.0;
};

/// Applies what `options.transforms` asks for to a prepared graph, each where it pays: where the
/// layers behind it come closer to their float results. Reads the data twice (more for large
/// models); names of values stay. The graph computes what it did but for rounding.
std::vector<TransformRecord> transform(Graph& prepared, const Options& options, InputSource& source,
                                       const Progress& progress = {});

}  // namespace ounce::quantize
