#pragma once

#include <vector>

#include "graph/graph.h"
#include "quantize/plan/plan.h"
#include "quantize/source.h"

namespace ounce::quantize {

/// For each planned layer, the mean over the data of what quantization adds to each of its output
/// channels (before the activation function), by its own doing: rounded weights and rounded or
/// clipped inputs, the inputs themselves being exact. Empty for products of two activations and for
/// layers whose output the graphs do not share. Does not depend on the order of the data.
std::vector<std::vector<float>> mean_layer_errors(const Graph& prepared, const Graph& quantized,
                                                  const Plan& plan, InputSource& source,
                                                  int threads, const Progress& progress = {});

}  // namespace ounce::quantize
