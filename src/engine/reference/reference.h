#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "graph/operator.h"

namespace ounce::engine::reference {

/// What a reference operator computes on. Inputs are defined tensors, or undefined for omitted
/// optional ones. Outputs are allocated with the inferred dtype and shape (possibly a window on
/// arena memory, not zeroed), undefined when omitted; where the shape depends on data (NonZero,
/// NonMaxSuppression, ...) the output is undefined and the operator assigns it.
struct OperatorContext {
  const Node& node;
  std::span<const Tensor> inputs;
  std::span<Tensor> outputs;

  const AttributeMap& attributes() const { return node.attributes; }
  bool has_input(size_t i) const { return i < inputs.size() && inputs[i].defined(); }
};

using OperatorFunction = void (*)(OperatorContext& context);

/// The naive implementation of an operator, or nullptr. These are the specification: short, in the
/// order of the formula; every fast kernel is compared with them.
OperatorFunction find_operator_function(std::string_view op);

/// Infers, allocates and computes one node. Throws `Error` naming the node.
std::vector<Tensor> evaluate(const Node& node, std::span<const Tensor> inputs);

/// `evaluate` in the form that graph passes take.
const Evaluator& evaluator();

/// Runs a whole graph node by node.
std::vector<Tensor> run(const Graph& graph, std::span<const Tensor> inputs);

}  // namespace ounce::engine::reference
