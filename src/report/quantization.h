#pragma once

#include "quantize/latency.h"
#include "quantize/quantizer.h"
#include "report/report.h"

namespace ounce::report {

/// Adds what quantization did to `report`: layers with their bits, in network order; layers kept in
/// float; histograms of the `worst` tensors with the ranges chosen for them.
void add_quantization(Compression& report, const quantize::QuantizeResult& result,
                      size_t worst = 6);

/// Adds the time of every piece of work, in the order of `graph`.
void add_latency(Compression& report, const quantize::LatencyComparison& latency,
                 const Graph& graph);

}  // namespace ounce::report
