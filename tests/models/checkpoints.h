#pragma once

#include <map>
#include <string>

#include "graph/graph.h"

namespace ounce::testing {

inline Tensor transposed(const Tensor& matrix) {
  const int64_t rows = matrix.shape()[0];
  const int64_t columns = matrix.shape()[1];
  Tensor turned(DType::f32, {columns, rows});
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      turned.mutable_data<float>()[static_cast<size_t>(c * rows + r)] =
          matrix.data<float>()[static_cast<size_t>(r * columns + c)];
    }
  }
  return turned;
}

/// The weights of a network as PyTorch keeps them: matrices that MatMul multiplies with are [out,
/// in].
inline std::map<std::string, Tensor> checkpoint_of(const Graph& graph) {
  std::map<std::string, Tensor> tensors;
  const GraphIndex index(graph);
  for (size_t v = 0; v < graph.values.size(); ++v) {
    const Value& value = graph.values[v];
    if (!value.is_constant() || value.dtype != DType::f32) continue;
    const auto readers = index.consumers(static_cast<ValueId>(v));
    const bool multiplied =
        !readers.empty() && graph.nodes[static_cast<size_t>(readers[0])].op == "MatMul";
    tensors[value.name] = multiplied ? transposed(value.constant) : value.constant;
  }
  return tensors;
}

}  // namespace ounce::testing
