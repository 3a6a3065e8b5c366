#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"
#include "quantize/range.h"
#include "quantize/source.h"

namespace ounce::quantize {

/// What was seen of a value whose last axis counts channels.
struct ObservedChannels {
  std::vector<ObservedData> channels;
  /// Some rows, [count, channels], spread over the runs.
  Tensor rows;
};

/// Reads the data twice for every 256 MB of histograms: extents of each channel, then histograms
/// over these. `most_rows`: rows that are kept of a value. Throws `Error` naming the tensor that
/// holds a NaN or infinity, or when there is no data.
std::vector<ObservedChannels> observe_channels(const Graph& graph,
                                               const std::vector<std::string>& values,
                                               InputSource& source, int64_t most_rows, int threads,
                                               const Progress& progress = {});

}  // namespace ounce::quantize
