#pragma once

#include <span>

#include "graph/tensor.h"

namespace ounce::quantize {

/// Whether the outputs of one run are the scores of a classifier: one f32 tensor [N, classes].
bool are_class_scores(std::span<const Tensor> outputs);

/// How far the outputs of a run are from the exact ones. Of a classifier the Kullback-Leibler
/// divergence of its softmax, in nats, mean over the rows; of anything else |a - b|^2 / |a|^2, mean
/// over the f32 outputs. Both are 0 for equal outputs. Infinite where `outputs` hold a NaN.
double divergence(std::span<const Tensor> exact, std::span<const Tensor> outputs);

/// How far two runs say the same, 0 .. 1: of a classifier the share of rows with the same best
/// class; of anything else 1 - |a - b| / |a|, at least 0, mean over the f32 outputs.
double agreement(std::span<const Tensor> exact, std::span<const Tensor> outputs);

}  // namespace ounce::quantize
