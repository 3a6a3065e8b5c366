#include <new>
#include <stdexcept>

#include "engine/reference/common.h"

namespace ounce::engine::reference {
namespace {

/// Throws `Error` unless `node` may have these inputs and outputs.
void check_counts(const Node& node, const OperatorSchema& schema, std::span<const Tensor> inputs) {
  const auto given = static_cast<int>(inputs.size());
  if (given < schema.min_inputs || given > schema.max_inputs) {
    fail("takes " + std::to_string(schema.min_inputs) + " to " + std::to_string(schema.max_inputs) +
         " inputs, got " + std::to_string(given));
  }
  for (int i = 0; i < schema.min_inputs; ++i) {
    if (!inputs[static_cast<size_t>(i)].defined()) {
      fail("input " + std::to_string(i) + " is missing");
    }
  }
  if (static_cast<int>(node.outputs.size()) > schema.max_outputs) {
    fail("has " + std::to_string(node.outputs.size()) + " outputs, at most " +
         std::to_string(schema.max_outputs) + " make sense");
  }
}

std::vector<Tensor> evaluate_checked(const Node& node, std::span<const Tensor> inputs) {
  const OperatorSchema* schema = find_operator(node.op);
  const OperatorFunction function = find_operator_function(node.op);
  if (schema == nullptr || function == nullptr) {
    throw Error("operator " + node.op + " is not supported", {},
                "nearest: " + std::string(nearest_operator(node.op)));
  }
  check_counts(node, *schema, inputs);
  std::vector<Tensor> outputs = infer_outputs(node, inputs);
  OperatorContext context{node, inputs, outputs};
  function(context);
  return outputs;
}

}  // namespace

std::vector<Tensor> infer_outputs(const Node& node, std::span<const Tensor> inputs) {
  std::vector<Value> values(inputs.size());
  std::vector<const Value*> operands(inputs.size(), nullptr);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined()) continue;
    values[i].dtype = inputs[i].dtype();
    values[i].shape = symbolic(inputs[i].shape());
    values[i].constant = inputs[i];
    operands[i] = &values[i];
  }
  std::vector<Value> results(node.outputs.size());
  InferenceContext inference(node, operands, results);
  find_operator(node.op)->infer(inference);
  std::vector<Tensor> outputs(results.size());
  for (size_t i = 0; i < results.size(); ++i) {
    const Value& result = results[i];
    if (node.outputs[i] == kNoValue || result.dtype == DType::undefined || !result.shape) continue;
    if (const auto shape = concrete(*result.shape)) outputs[i] = Tensor(result.dtype, *shape);
  }
  return outputs;
}

std::vector<Tensor> evaluate(const Node& node, std::span<const Tensor> inputs) {
  const std::string where = node.op + " '" + node.name + "'";
  try {
    return evaluate_checked(node, inputs);
  } catch (const Error& error) {
    throw Error(error.message(), where, error.remedy());
  } catch (const std::bad_alloc&) {
    throw Error("out of memory", where);
  } catch (const std::length_error&) {
    throw Error("a tensor is too large", where);
  }
}

const Evaluator& evaluator() {
  static const Evaluator function = [](const Node& node, std::span<const Tensor> inputs) {
    return evaluate(node, inputs);
  };
  return function;
}

std::vector<Tensor> run(const Graph& graph, std::span<const Tensor> inputs) {
  if (inputs.size() != graph.inputs.size()) {
    throw Error("takes " + std::to_string(graph.inputs.size()) + " inputs, got " +
                    std::to_string(inputs.size()),
                "graph '" + graph.name + "'");
  }
  std::vector<Tensor> tensors(graph.values.size());
  for (size_t i = 0; i < tensors.size(); ++i) tensors[i] = graph.values[i].constant;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& wanted = graph.value(graph.inputs[i]);
    if (wanted.dtype != DType::undefined && wanted.dtype != inputs[i].dtype()) {
      throw Error("wants " + std::string(name_of(wanted.dtype)) + ", got " +
                      std::string(name_of(inputs[i].dtype())),
                  "input '" + wanted.name + "'");
    }
    tensors[static_cast<size_t>(graph.inputs[i])] = inputs[i];
  }
  // Activations are dropped after their last reader, so that deep models fit into memory.
  std::vector<int> readers(graph.values.size(), 0);
  for (const Node& node : graph.nodes) {
    for (const ValueId id : node.inputs) {
      if (id != kNoValue) ++readers[static_cast<size_t>(id)];
    }
  }
  for (const ValueId id : graph.outputs) ++readers[static_cast<size_t>(id)];
  for (const Node& node : graph.nodes) {
    std::vector<Tensor> operands;
    for (const ValueId id : node.inputs) {
      operands.push_back(id == kNoValue ? Tensor() : tensors[static_cast<size_t>(id)]);
    }
    std::vector<Tensor> results = evaluate(node, operands);
    for (size_t i = 0; i < results.size(); ++i) {
      if (node.outputs[i] != kNoValue) {
        tensors[static_cast<size_t>(node.outputs[i])] = std::move(results[i]);
      }
    }
    for (const ValueId id : node.inputs) {
      if (id != kNoValue && --readers[static_cast<size_t>(id)] == 0) {
        tensors[static_cast<size_t>(id)] = Tensor();
      }
    }
  }
  std::vector<Tensor> outputs;
  for (const ValueId id : graph.outputs) outputs.push_back(tensors[static_cast<size_t>(id)]);
  return outputs;
}

}  // namespace ounce::engine::reference
