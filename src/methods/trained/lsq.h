#pragma once

#include <memory>

#include "graph/graph.h"
#include "methods/trained/method.h"
#include "train/insert.h"

namespace ounce::methods {

/// Bits of a network that is trained.
struct LowBitSettings {
  int weight_bits = 4;      // 2 .. 8
  int activation_bits = 4;  // 2 .. 8
  /// First and last layer at 8 bits whatever the others have.
  bool ends_at_8_bits = true;
  /// Zero points of activations are learned (LSQ+).
  bool learn_zero_points = false;
};

/// Learned step size quantization (Esser et al. 2020, arXiv 1902.08153; zero points: LSQ+, Bhalgat
/// et al. 2020, arXiv 2004.09576): a step for each output channel of the weights, one for each
/// value that layers read; both operands where none is a weight. The graph's layers, names and
/// order stay.
train::Student lsq(const Graph& graph, const LowBitSettings& settings);

/// The keys `weights`, `activations`, `ends_at_8_bits`, `learn_zero_points` of a stage.
LowBitSettings read_low_bit_settings(Settings& stage);
std::unique_ptr<TrainedMethod> read_lsq(Settings& stage);

}  // namespace ounce::methods
