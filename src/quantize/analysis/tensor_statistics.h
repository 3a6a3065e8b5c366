#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"
#include "quantize/analysis/chosen_grid.h"
#include "quantize/range.h"
#include "quantize/source.h"

namespace ounce::quantize {

/// What a quantizer does to the exact values of one tensor, measured over a stream of inputs.
struct TensorStatistics {
  std::string value;
  ChosenGrid grid;
  Range data;
  std::vector<Range> channels;  // of axis 1 for images, of the last axis else
  double count = 0.0;
  double signal = 0.0;          // sum x^2
  double rounding_noise = 0.0;  // sum (x - x_hat)^2 of what lies inside of the range
  double clipping_noise = 0.0;  // and outside
  double clipped = 0.0;         // values outside
  double at_zero = 0.0;         // values that round to 0
  double magnitude = 0.0;       // sum |x|
  double magnitude_at_zero = 0.0;
  double widest_noise = 0.0;  // of the grid of as many bits over all of the data
  double best_noise = 0.0;    // of the grid whose ends are searched (RangeRule::kMse)
  double log2_noise = 0.0;    // of kMostLogBits logarithmic codes; softmax maps only
  double log_sqrt2_noise = 0.0;

  double noise() const { return rounding_noise + clipping_noise; }
};

/// A value of the exact graph, and the grid on which the quantized one has it.
struct QuantizedValue {
  std::string name;
  ChosenGrid grid;
  bool is_map = false;  // a softmax map: logarithmic codes are tried, too
};

/// Reads the data twice: extents of channels, then what the grids do. A value that a run does not
/// deliver is left out. Throws `Error` naming the tensor that holds a NaN or infinity.
std::vector<TensorStatistics> measure_tensors(const Graph& exact,
                                              const std::vector<QuantizedValue>& values,
                                              InputSource& source, int threads,
                                              const Progress& progress = {});

/// The channels of a tensor: values at `channel_index(i)` of element i. Axis 1 for images, the last
/// axis else.
struct ChannelLayout {
  int64_t channels = 1;
  int64_t inner = 1;
  explicit ChannelLayout(const Shape& shape);
  size_t channel_of(size_t i) const {
    return i / static_cast<size_t>(inner) % static_cast<size_t>(channels);
  }
};

}  // namespace ounce::quantize
