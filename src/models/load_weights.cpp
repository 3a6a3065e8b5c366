#include "models/load_weights.h"

#include <algorithm>
#include <sstream>

#include "graph/error.h"

namespace ounce::models {
namespace {

std::string renamed(const std::string& name, const WeightNames& names) {
  std::string result;
  std::istringstream parts(name.substr(names.prefix.size()));
  for (std::string part; std::getline(parts, part, '.');) {
    for (const auto& [theirs, ours] : names.renames) {
      if (part == theirs) part = ours;
    }
    result += (result.empty() ? "" : ".") + part;
  }
  return result;
}

Tensor transposed(const Tensor& matrix) {
  const int64_t rows = matrix.shape()[0];
  const int64_t columns = matrix.shape()[1];
  const std::vector<float> from = matrix.to_f32();
  Tensor result(DType::f32, {columns, rows});
  const std::span<float> to = result.mutable_data<float>();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      to[static_cast<size_t>(c * rows + r)] = from[static_cast<size_t>(r * columns + c)];
    }
  }
  return result;
}

/// Whether a MatMul multiplies by this constant.
bool is_matmul_weight(const Graph& graph, const GraphIndex& index, ValueId id) {
  for (const int reader : index.consumers(id)) {
    const Node& node = graph.nodes[static_cast<size_t>(reader)];
    if (node.op == "MatMul" && node.input(1) == id) return true;
  }
  return false;
}

/// Numbers that steer an operator are part of the architecture.
bool is_weight(const Graph& graph, const GraphIndex& index, ValueId id) {
  const Value& value = graph.value(id);
  if (!value.is_constant() || value.dtype != DType::f32 || value.constant.size() < 2) return false;
  const std::span<const int> readers = index.consumers(id);
  return std::none_of(readers.begin(), readers.end(), [&](int reader) {
    return graph.nodes[static_cast<size_t>(reader)].op == "Resize";
  });
}

}  // namespace

std::map<std::string, Tensor> renamed_checkpoint(const std::map<std::string, Tensor>& checkpoint,
                                                 const WeightNames& names) {
  std::map<std::string, Tensor> found;
  for (const auto& [name, tensor] : checkpoint) {
    if (name.starts_with(names.prefix)) found[renamed(name, names)] = tensor;
  }
  if (found.empty()) {
    throw Error("no name begins with '" + names.prefix + "'", {},
                checkpoint.empty() ? "a checkpoint with tensors"
                                   : "a prefix of " + checkpoint.begin()->first);
  }
  return found;
}

void load_weights(Graph& graph, const std::map<std::string, Tensor>& checkpoint,
                  const WeightNames& names, const std::set<std::string>& kept) {
  const std::map<std::string, Tensor> found = renamed_checkpoint(checkpoint, names);
  const GraphIndex index(graph);
  for (size_t v = 0; v < graph.values.size(); ++v) {
    Value& value = graph.values[v];
    const auto id = static_cast<ValueId>(v);
    if (!is_weight(graph, index, id) || kept.contains(value.name)) continue;
    const auto place = found.find(value.name);
    if (place == found.end()) {
      throw Error("has no weight for " + value.name + ' ' + to_string(value.constant.shape()), {},
                  "another architecture, a prefix, or a rename of one of " + found.begin()->first +
                      ", ...");
    }
    Tensor weight = cast(place->second, DType::f32);
    if (is_matmul_weight(graph, index, id) && weight.rank() == 2) weight = transposed(weight);
    if (weight.shape() != value.constant.shape()) {
      throw Error(value.name + " is " + to_string(weight.shape()) + ", the architecture has " +
                      to_string(value.constant.shape()),
                  {}, "another architecture");
    }
    value.constant = std::move(weight);
  }
}

}  // namespace ounce::models
