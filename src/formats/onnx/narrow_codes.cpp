#include "formats/onnx/narrow_codes.h"

#include <algorithm>
#include <string>
#include <vector>

#include "graph/error.h"

namespace ounce::formats {
namespace {

bool is_all_zero(const Tensor& tensor) {
  const std::vector<int64_t> values = tensor.to_i64();
  return std::all_of(values.begin(), values.end(), [](int64_t v) { return v == 0; });
}

/// The narrowest type that holds the codes; i4 when no narrower one does.
DType narrowest(const Tensor& codes) {
  const std::vector<int64_t> values = codes.to_i64();
  const auto within = [&](int64_t least, int64_t most) {
    return std::all_of(values.begin(), values.end(),
                       [&](int64_t v) { return least <= v && v <= most; });
  };
  if (values.empty()) return DType::i4;
  if (within(-1, 1) && std::find(values.begin(), values.end(), 0) == values.end()) return DType::u1;
  if (within(-2, 1)) return DType::i2;
  return within(-4, 3) ? DType::i3 : DType::i4;
}

/// Does the node dequantize `codes` around 0?
bool dequantizes(const Graph& graph, const Node& node, ValueId codes) {
  if (node.op != "DequantizeLinear" || node.input(0) != codes) return false;
  const ValueId zero_point = node.input(2);
  return zero_point == kNoValue ||
         (graph.value(zero_point).is_constant() && is_all_zero(graph.value(zero_point).constant));
}

}  // namespace

void widen_narrow_codes(Graph& graph) {
  for (Value& value : graph.values) {
    const DType dtype = value.is_constant() ? value.constant.dtype() : value.dtype;
    if (dtype != DType::i3 && dtype != DType::i2 && dtype != DType::u1) continue;
    if (!value.is_constant()) {
      throw Error("a computed tensor of type " + std::string(name_of(dtype)) + " has no ONNX form",
                  "value '" + value.name + "'");
    }
    value.constant = cast(value.constant, DType::i4);
    value.dtype = DType::i4;
  }
}

void restore_narrow_codes(Graph& graph) {
  const GraphIndex index(graph);
  for (ValueId id = 0; id < static_cast<ValueId>(graph.values.size()); ++id) {
    Value& value = graph.value(id);
    if (!value.is_constant() || value.constant.dtype() != DType::i4 || index.is_output(id))
      continue;
    const auto consumers = index.consumers(id);
    const auto reads_codes = [&](int node) {
      return dequantizes(graph, graph.nodes[static_cast<size_t>(node)], id);
    };
    if (consumers.empty() || !std::all_of(consumers.begin(), consumers.end(), reads_codes))
      continue;
    const DType dtype = narrowest(value.constant);
    if (dtype == DType::i4) continue;
    value.constant = cast(value.constant, dtype);
    value.dtype = dtype;
    // A zero point has the type of the codes, and none is one of 0.
    for (const int node : consumers) graph.nodes[static_cast<size_t>(node)].inputs.resize(2);
  }
}

}  // namespace ounce::formats
