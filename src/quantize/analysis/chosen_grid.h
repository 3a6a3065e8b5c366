#pragma once

#include <optional>

#include "graph/graph.h"
#include "quantize/affine.h"

namespace ounce::quantize {

/// What a QuantizeLinear with one scale represents, read off a graph.
struct ChosenGrid {
  Range range;  // of its codes, cut by a Clip before it
  float step = 1.0F;
  int bits = 8;          // that hold as many codes
  bool ternary = false;  // codes -1, 0, 1, whether or not the values can be negative

  int codes() const { return ternary ? 3 : 1 << bits; }
  /// The nearest number of the grid; 0 is one.
  float nearest(float x) const;
  bool clips(float x) const { return x < range.low - 0.5F * step || x > range.high + 0.5F * step; }
};

/// nullopt where scale or zero point are no single constants.
std::optional<ChosenGrid> chosen_grid(const Graph& graph, const GraphIndex& index, int quantizer);

}  // namespace ounce::quantize
