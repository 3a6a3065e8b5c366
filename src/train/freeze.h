#pragma once

#include "graph/graph.h"
#include "train/module.h"

namespace ounce::train {

/// The graph that is deployed: the constants as learned, each FakeQuant node replaced by what its
/// quantizer's grid is in files and engine.
/// - Weights: DequantizeLinear of codes of the narrowest type (u1, i2, i3, i4, i8).
/// - Activations on an affine grid: [Clip where the grid has fewer than 256 codes] QuantizeLinear
/// to
///   u8, DequantizeLinear. Signed codes are shifted to begin at 0.
/// - Activations of one bit: Binarize.
/// BatchNormalization behind a convolution with quantized weights goes into their scales and the
/// convolution's bias; the pass of the engine folds the others.
///
/// Throws `Error` naming the node whose quantizer has seen no data, or whose weights are not what
/// its grid can hold.
Graph freeze(const Module& module);

}  // namespace ounce::train
