#pragma once

#include "quantize/analysis/compare.h"
#include "quantize/analysis/diagnosis.h"
#include "quantize/analysis/sensitivity.h"
#include "quantize/latency.h"
#include "quantize/quantizer.h"
#include "report/report.h"

namespace ounce::report {

/// The convolutions and matrix products of `prepared` in network order: those that have a record
/// with its bits, the others with 32.
std::vector<Layer> layers_of(const Graph& prepared,
                             const std::vector<quantize::LayerRecord>& records);

/// Adds what quantization did to `report`: layers with their bits, in network order, and layers
/// kept in float.
void add_quantization(Compression& report, const quantize::QuantizeResult& result);

/// Errors tensor by tensor, in network order.
std::vector<TensorError> errors_of(const quantize::Comparison& comparison);

/// What was found out about why a model loses what it loses; `sensitivity` may be empty.
Examination examination_of(const quantize::Comparison& comparison,
                           const std::vector<quantize::Diagnosis>& diagnoses,
                           const quantize::Sensitivity& sensitivity);

/// Histograms of the worst tensors; `result` tells by which rule their ranges were chosen.
std::vector<Histogram> histograms_of(const quantize::Comparison& comparison,
                                     const quantize::QuantizeResult& result);

/// Adds the time of every piece of work, in the order of `graph`.
void add_latency(Compression& report, const quantize::LatencyComparison& latency,
                 const Graph& graph);

}  // namespace ounce::report
