#pragma once

#include <ATen/ATen.h>

#include <span>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace ounce::train {

/// One operator of the graph as the differentiable executor meets it.
struct OpCall {
  const Node& node;
  std::span<const at::Tensor> inputs;  // an omitted one is undefined
  bool training;                       // statistics of the batch, dropout
  /// Types of the operands in the graph, where the caller knows them: packed integers, which their
  /// tensors do not show.
  std::span<const DType> dtypes = {};

  bool has(size_t i) const { return i < inputs.size() && inputs[i].defined(); }
  /// Operand `i`; throws `Error` when it is omitted.
  const at::Tensor& input(size_t i) const;
  const AttributeMap& attributes() const { return node.attributes; }
  /// The integers of operand `i` (a shape, axes, pads), wherever they lie.
  std::vector<int64_t> integers(size_t i) const;
};

/// Computes the outputs of a node, differentiably where the operator is. Throws `Error` (without
/// node name: the caller adds it) or `c10::Error`.
using OpFunction = std::vector<at::Tensor> (*)(const OpCall& call);

/// The libtorch form of an operator, or nullptr.
OpFunction find_op(std::string_view op);

struct OpRow {
  std::string_view name;
  OpFunction run;
};

/// All operators there are, by name: what the generated table of operators lists.
std::vector<OpRow> all_ops();

}  // namespace ounce::train
