#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace ounce::models {

/// How a checkpoint names what a builder names otherwise.
struct WeightNames {
  std::string prefix;  // of every name in the checkpoint, such as "state_dict.module."
  /// A part of a name between dots in the checkpoint, and the builder's: {"linear", "fc"}.
  std::vector<std::pair<std::string, std::string>> renames;
};

/// The tensors whose names begin with the prefix, under the builder's names. Throws `Error` when
/// there are none.
std::map<std::string, Tensor> renamed_checkpoint(const std::map<std::string, Tensor>& checkpoint,
                                                 const WeightNames& names);

/// Puts a checkpoint's tensors in the place of a built graph's weights, by name; matrices of MatMul
/// are transposed (PyTorch keeps them [out, in]). Weights of the graph in `kept` stay as they are.
/// Throws `Error` when another one is missing in the checkpoint or has another shape, naming both
/// sides.
void load_weights(Graph& graph, const std::map<std::string, Tensor>& checkpoint,
                  const WeightNames& names = {}, const std::set<std::string>& kept = {});

}  // namespace ounce::models
