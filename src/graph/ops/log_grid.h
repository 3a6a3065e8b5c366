#pragma once

#include <vector>

#include "graph/attributes.h"

namespace ounce::ops {

/// The values that LogQuantize gives: base^-k with k = 0 .. 2^bits - 1. The highest code stands for
/// a number as the others do, and what is smaller gets it, too (FQ-ViT's formula). With zero_below,
/// what rounds beyond the highest code becomes 0, one value more than the bits count (RepQ-ViT's
/// program). Base sqrt(2) needs it: 2^-7.5 is as much as the mean of a map of 181 keys.
struct LogGrid {
  int bits = 4;
  int steps_per_octave = 1;  // 1: base 2; 2: base sqrt(2)
  bool zero_below = false;

  /// The code of the smallest value.
  int last() const { return (1 << bits) - (zero_below ? 0 : 1); }
  /// base^-code
  double power(int code) const;
  /// By code, 0 .. last().
  std::vector<float> values() const;
};

/// Attributes `bits` (1 .. 6, with zero_below 1 .. 5), `steps_per_octave` (1, 2) and `zero_below`
/// (0, 1); throws `Error` for others.
LogGrid log_grid_of(const AttributeMap& attributes);

}  // namespace ounce::ops
