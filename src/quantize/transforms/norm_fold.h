#pragma once

#include <span>
#include <vector>

#include "graph/graph.h"

/// Changes of scale (and origin) that a normalization and the layers behind it absorb, so that the
/// network computes what it did while the tensor between them becomes easier to quantize.
namespace ounce::quantize {

/// A normalization over the last axis whose result nothing reads but linear layers, as it is or
/// with its elements moved.
struct NormFold {
  int norm = -1;                // LayerNormalization or RMSNorm
  std::vector<int> layers;      // MatMul and Gemm nodes with constant weights, in order
  std::vector<ValueId> values;  // what it hands out, and that with its rows moved
  int64_t channels = 0;
  bool has_offset = false;  // the normalization adds a constant: it can take up shifts
};

/// All of a graph, in order. A value that anything else reads, or that is an output, is in none.
std::vector<NormFold> norm_folds(const Graph& graph);

/// Makes the normalization hand out x'[c] = x[c] / scales[c] - shifts[c] and the layers undo it:
///   gamma' = gamma / scales, beta' = beta / scales - shifts,
///   W'[c, :] = scales[c] W[c, :], bias' = bias + sum over c of shifts[c] W'[c, :].
/// Exact but for rounding. `scales`: [channels], positive. `shifts`: [channels], or empty: none;
/// they need `has_offset`. Constants that others read too are copied. Node indices change where a
/// layer gets a bias that had none; values that hold other numbers than before get other names.
void fold_into_norm(Graph& graph, const NormFold& fold, std::span<const float> scales,
                    std::span<const float> shifts);

}  // namespace ounce::quantize
