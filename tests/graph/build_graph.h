#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "graph/operator.h"

namespace ounce::testing {

/// A graph input or constant of an operator under test.
struct Operand {
  DType dtype = DType::f32;
  std::optional<SymbolicShape> shape;
  Tensor constant;
  bool omitted = false;
};

inline Operand input(SymbolicShape shape, DType dtype = DType::f32) {
  return {dtype, std::move(shape), Tensor(), false};
}
inline Operand constant(Tensor tensor) {
  const DType dtype = tensor.dtype();
  SymbolicShape shape = symbolic(tensor.shape());
  return {dtype, std::move(shape), std::move(tensor), false};
}
inline Operand ints(std::vector<int64_t> values) {
  return constant(Tensor::of_i64(std::move(values)));
}
inline Operand floats(std::vector<float> values) {
  const auto count = static_cast<int64_t>(values.size());
  return constant(Tensor::of(values, {count}));
}
inline Operand number(float value) {
  return constant(Tensor::scalar(value));
}
inline Operand omitted() {
  return {DType::undefined, std::nullopt, Tensor(), true};
}

/// A graph of one node, its outputs the graph's.
inline Graph one_node(std::string_view op, const std::vector<Operand>& operands,
                      AttributeMap attributes = {}, size_t outputs = 1) {
  Graph graph;
  std::vector<ValueId> ids;
  for (const Operand& operand : operands) {
    if (operand.omitted) {
      ids.push_back(kNoValue);
    } else if (operand.constant.defined()) {
      ids.push_back(graph.add_constant("constant", operand.constant));
    } else {
      const ValueId id = graph.add_value("input", operand.dtype, operand.shape);
      graph.inputs.push_back(id);
      ids.push_back(id);
    }
  }
  const ValueId first = graph.add_node(op, ids, std::move(attributes), "node", outputs);
  for (size_t i = 0; i < outputs; ++i) graph.outputs.push_back(first + static_cast<ValueId>(i));
  return graph;
}

/// The inferred shape of output `output`, as text; "none" when not even the rank is known.
inline std::string inferred(Graph graph, size_t output = 0) {
  infer_shapes(graph);
  const Value& value = graph.value(graph.outputs[output]);
  return value.shape ? to_string(*value.shape) : "none";
}

inline std::string inferred(std::string_view op, const std::vector<Operand>& operands,
                            AttributeMap attributes = {}, size_t output = 0) {
  return inferred(one_node(op, operands, std::move(attributes), output + 1), output);
}

/// Attributes from name and value pairs: attributes("axis", 1, "perm", std::vector<int64_t>{1, 0}).
inline AttributeMap attributes() {
  return {};
}
template <class T, class... Rest>
AttributeMap attributes(std::string name, T value, Rest... rest) {
  AttributeMap map = attributes(std::move(rest)...);
  if constexpr (std::is_same_v<T, int>) {
    map.set(std::move(name), int64_t{value});
  } else if constexpr (std::is_same_v<T, const char*>) {
    map.set(std::move(name), std::string(value));
  } else {
    map.set(std::move(name), std::move(value));
  }
  return map;
}

using Ints = std::vector<int64_t>;

}  // namespace ounce::testing
