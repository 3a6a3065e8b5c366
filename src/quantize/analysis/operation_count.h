#pragma once

#include <optional>

#include "graph/graph.h"

namespace ounce::quantize {

/// What a graph computes, in the unit of the papers on low-bit networks: multiply-accumulates in
/// floats.
struct OperationCount {
  double products = 0.0;  // multiply-accumulates, each worth the share of its bits
  double others = 0.0;    // elementary operations of everything else, in full

  double total() const { return products + others; }
};

/// The worth of a multiply-accumulate on operands of so many bits, the wider one's: 1/64 of a float
/// one at 1 bit (64 fit a word), 1/32 at 2, 1/16 at 3, 1/8 at 4, 1/4 up to 8, else 1. So count
/// XNOR-Net, ReActNet and Q-DETR.
double operation_share(int bits);

/// The model behind "theoretical acceleration": nothing is left out, neither the first layer nor
/// the last, norms, softmax, residual additions or the rounding of activations. Other elementary
/// operations count as `cost_of` has them (six an element for a norm, three for softmax); moving
/// data is free, and so is the scale that makes numbers of codes, which is part of a product's.
/// nullopt where a shape is not known before the data are.
std::optional<OperationCount> count_operations(const Graph& graph);

}  // namespace ounce::quantize
