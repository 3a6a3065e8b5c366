#pragma once

#include <cstdint>
#include <vector>

#include "quantize/plan/plan.h"
#include "quantize/source.h"

namespace ounce::quantize {

/// What was seen of a value that is binarized.
struct ObservedSigns {
  Histogram histogram;
  MeanMagnitude magnitude;
};

/// What the calibration data looked like where the plan needs to know.
struct Observations {
  std::vector<ObservedData> grids;        // as plan.grids
  std::vector<ObservedSigns> binarizers;  // as plan.binarizers
  int64_t runs = 0;
};

/// Bytes that calibration will need at most, for inputs of these shapes: weights (as given and
/// packed), the tensors that are looked at (with bias correction also what one layer reads and
/// makes, twice), the others while they live, the histograms. Independent of how much data there
/// is.
int64_t calibration_bytes(const Graph& prepared, const Plan& plan,
                          const std::vector<Shape>& input_shapes, bool bias_correction = false);

/// Reads the data two times: extents, then histograms over these; a third time when the range
/// search of some grid was starved of bins by outliers. The result does not depend on the order of
/// the data. Throws `Error` naming the tensor that holds a NaN or infinity, or when there is no
/// data.
Observations observe(const Graph& prepared, const Plan& plan, InputSource& source, int threads,
                     const Progress& progress = {});

/// The quantizer of each grid by its rule.
std::vector<QuantParams> choose_grids(const Graph& prepared, const Plan& plan,
                                      const Observations& observations);

/// The scale of each binarizer: the mean magnitude for signs, that of least squares over the
/// histogram for 0 and 1; positive even where the data is all zero. Scales have 7 significant bits:
/// sums of up to 1024 products of two binarized values are then exact in f32, so that attention
/// whose votes are even gives 0, and with it the same sign, whatever the order of the sum.
std::vector<float> choose_binarizer_scales(const Plan& plan, const Observations& observations);

/// What `choose_grids` asks of the range search. The unilateral rule needs a known lower end: a
/// bound from the graph, or data without negative values; two-sided tensors get the bilateral
/// search, and so does the index of a table, by the error behind the table. A ternary grid has one
/// rule, whatever was asked for.
RangeRequest request_for(const Graph& prepared, const GridPlan& grid, const ObservedData& data);

}  // namespace ounce::quantize
