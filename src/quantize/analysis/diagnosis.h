#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "quantize/analysis/tensor_statistics.h"
#include "quantize/source.h"

/// Why a layer loses what it loses, in words, and what would help: diseases that show in measured
/// statistics of the exact tensors on the grids of the quantized model.
namespace ounce::quantize {

enum class Disease : uint8_t {
  kOutlierChannel,        // few channels stretch the grid for all
  kOutlierWeights,        // likewise for weights with one scale
  kClippedTail,           // the range ends too early
  kStretchedRange,        // it ends too late
  kAsymmetricSoftmax,     // most of a softmax map rounds to 0, and too much with it
  kSaturatedAccumulator,  // a layer's sums, or its bias, pass 32 bits, or leave the weights no
                          // codes
};

/// "outlier channel", "outlier weights", "clipped tail", "stretched range", "asymmetric softmax",
/// "saturated accumulator".
std::string_view name_of(Disease disease);

struct Diagnosis {
  Disease disease = Disease::kOutlierChannel;
  std::string node;   // that makes the tensor; the layer, where it is about weights
  std::string value;  // the tensor
  std::string words;  // one sentence with the figures
  std::string flag;   // options of `ounce quantize` that would help
};

/// What one tensor suffers from, at most one disease: that of its surroundings first (softmax),
/// then what a range cures, then what it does not. `graph` is the exact one, `layer` the name of a
/// layer that reads the tensor (empty: none does).
std::vector<Diagnosis> diagnose_tensor(const Graph& graph, const TensorStatistics& tensor,
                                       const std::string& layer);

/// All of a model, in order of computation. Reads the data twice. Values are matched by name:
/// `quantized` must come from `exact`. Throws `Error` naming a tensor that holds a NaN or infinity.
std::vector<Diagnosis> diagnose(const Graph& exact, const Graph& quantized, InputSource& source,
                                int threads, const Progress& progress = {});

}  // namespace ounce::quantize
