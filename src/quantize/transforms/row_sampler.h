#pragma once

#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "quantize/source.h"

namespace ounce::quantize {

/// Some rows of values by name, [count, channels], channels last, spread over runs and tokens.
using SampledRows = std::map<std::string, Tensor, std::less<>>;

/// Reads the data once; of each value `rows` rows are kept. Throws `Error` when there is no data.
SampledRows sample_rows(const Graph& graph, const std::vector<std::string>& values,
                        InputSource& source, int64_t rows, int threads,
                        const Progress& progress = {});

/// Appends `wanted` rows of a tensor (its last axis), or all it has, evenly spread.
void append_rows(const Tensor& tensor, int64_t wanted, std::vector<float>& rows);

/// Runs that a source holds, counted where it does not know.
int64_t count_runs(InputSource& source);

}  // namespace ounce::quantize
