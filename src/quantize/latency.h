#pragma once

#include <span>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "quantize/plan/plan.h"

namespace ounce::quantize {

/// Time of the same piece of work in two graphs: all steps that share nodes, with the conversions
/// between floats and codes that it asked for.
struct PieceTime {
  std::vector<std::string> nodes;   // of the float graph
  std::vector<std::string> layers;  // planned layers among them
  double float_ms = 0.0;
  double quantized_ms = 0.0;
};

struct LatencyComparison {
  std::vector<PieceTime> pieces;
  double float_ms = 0.0;  // medians of the steps, summed
  double quantized_ms = 0.0;
  /// Layers with weights of fewer than 8 bits for which the kernel of 8 bits is the fastest here.
  std::vector<std::string> unpacked_layers;
};

/// Runs both graphs `repetitions` times in turns on the engine and adds up the medians of their
/// steps.
LatencyComparison compare_latency(const Graph& prepared, const Graph& quantized, const Plan& plan,
                                  std::span<const Tensor> inputs, int threads,
                                  int repetitions = 15);

}  // namespace ounce::quantize
