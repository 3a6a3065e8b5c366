#pragma once

#include <vector>

#include "quantize/transforms/matrix.h"
#include "quantize/transforms/transform.h"
#include "quantize/transforms/value_heads.h"

namespace ounce::quantize {

/// v' = v R in every head and W_o' = R^T W_o (QuaRot, arXiv 2404.00456, section 4, stage 1c,
/// offline on both sides). `r`: orthogonal, [channels of a head, the same]. Exact but for rounding.
void rotate_heads(Graph& graph, const ValueHeads& heads, const DoubleMatrix& r);

/// Rotates the heads of every attention where v, and the layer that reads the heads, lose less.
void rotate_heads(Graph& graph, const Options& options, InputSource& source,
                  const Progress& progress, std::vector<TransformRecord>& records);

}  // namespace ounce::quantize
