#pragma once

#include <vector>

#include "graph/graph.h"
#include "quantize/analysis/diagnosis.h"

namespace ounce::quantize {

/// What the weights and the bias of a layer of a quantized graph suffer from, by their codes and
/// scales alone: kOutlierWeights, kSaturatedAccumulator. Empty for what is no such layer.
std::vector<Diagnosis> diagnose_weights(const Graph& quantized, const GraphIndex& index, int layer);

}  // namespace ounce::quantize
