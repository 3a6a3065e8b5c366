#include "formats/onnx/graph_builder.h"

#include <algorithm>
#include <utility>

#include "graph/error.h"
#include "graph/operator.h"

namespace ounce::formats {
namespace {

void check_known(const std::string& op) {
  if (find_operator(op) != nullptr) return;
  const std::string nearest(nearest_operator(op));
  const OperatorSchema* schema = find_operator(nearest);
  // The name of an operator of our own would be of no use in an ONNX file.
  const bool helps = schema != nullptr && schema->domain.empty();
  throw Error("the operator '" + op + "' is not supported", {},
              helps ? "the nearest supported operator is '" + nearest + "'" : "");
}

}  // namespace

ValueId GraphBuilder::add(std::string name) {
  const auto id = static_cast<ValueId>(graph_.values.size());
  ids_.emplace(name, id);
  Value value;
  value.name = std::move(name);
  graph_.values.push_back(std::move(value));
  defined_.push_back(false);
  return id;
}

ValueId GraphBuilder::named(const std::string& name) {
  if (name.empty()) return kNoValue;
  const auto found = ids_.find(name);
  return found != ids_.end() ? found->second : add(name);
}

void GraphBuilder::define(ValueId id) {
  if (id == kNoValue) return;
  const auto index = static_cast<size_t>(id);
  if (defined_[index]) {
    throw Error("the value '" + graph_.values[index].name + "' is made twice");
  }
  defined_[index] = true;
}

void GraphBuilder::define_constant(const std::string& name, Tensor tensor) {
  const ValueId id = named(name);
  if (id == kNoValue) throw Error("a constant without a name");
  define(id);
  Value& value = graph_.value(id);
  value.dtype = tensor.dtype();
  value.shape = symbolic(tensor.shape());
  value.constant = std::move(tensor);
}

ValueId GraphBuilder::fresh(std::string_view base) {
  std::string name(base);
  while (ids_.contains(name))
    name = std::string(base) + "." + std::to_string(++suffixes_[std::string(base)]);
  const ValueId id = add(std::move(name));
  defined_[static_cast<size_t>(id)] = true;
  return id;
}

ValueId GraphBuilder::constant(std::string_view base, Tensor tensor) {
  const ValueId id = fresh(base);
  Value& value = graph_.value(id);
  value.dtype = tensor.dtype();
  value.shape = symbolic(tensor.shape());
  value.constant = std::move(tensor);
  return id;
}

std::string GraphBuilder::unique_node_name(const std::string& base) {
  std::string name = base;
  while (!node_names_.insert(name).second) {
    name = base + "." + std::to_string(++suffixes_["node " + base]);
  }
  return name;
}

void GraphBuilder::append(Node node) {
  check_known(node.op);
  if (node.name.empty()) {
    const auto made = std::find_if(node.outputs.begin(), node.outputs.end(),
                                   [](ValueId id) { return id != kNoValue; });
    node.name = made != node.outputs.end() ? graph_.value(*made).name : node.op;
  }
  node.name = unique_node_name(node.name);
  infer(node);
  graph_.nodes.push_back(std::move(node));
}

ValueId GraphBuilder::emit(const Node& parent, std::string_view op, std::vector<ValueId> inputs,
                           AttributeMap attributes) {
  Node node;
  node.op = op;
  node.name = parent.name + "." + std::string(op);
  node.scope = parent.scope;
  node.inputs = std::move(inputs);
  node.outputs = {fresh(node.name)};
  node.attributes = std::move(attributes);
  const ValueId output = node.outputs.front();
  append(std::move(node));
  return output;
}

void GraphBuilder::infer(const Node& node) {
  const OperatorSchema* schema = find_operator(node.op);
  if (schema == nullptr || schema->infer == nullptr) return;
  std::vector<const Value*> inputs;
  for (const ValueId id : node.inputs) {
    inputs.push_back(id == kNoValue ? nullptr : &graph_.value(id));
  }
  std::vector<Value> outputs(node.outputs.size());
  try {
    InferenceContext context(node, inputs, outputs);
    schema->infer(context);
  } catch (const Error&) {
    // Whoever uses the graph infers again with what it knows by then, and reports the problem.
    return;
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    Value& value = graph_.value(node.outputs[i]);
    value.dtype = outputs[i].dtype;
    if (outputs[i].shape && outputs[i].shape->size() > kMaxRank) throw rank_error();
    value.shape = std::move(outputs[i].shape);
  }
}

std::optional<int64_t> GraphBuilder::rank(ValueId id) const {
  if (id == kNoValue || !graph_.value(id).shape) return std::nullopt;
  return static_cast<int64_t>(graph_.value(id).shape->size());
}

std::optional<int64_t> GraphBuilder::dim(ValueId id, int64_t axis) const {
  const std::optional<int64_t> known_rank = rank(id);
  if (!known_rank || axis < 0 || axis >= *known_rank) return std::nullopt;
  const Dim& dim = (*graph_.value(id).shape)[static_cast<size_t>(axis)];
  return dim.known() ? std::optional(dim.value) : std::nullopt;
}

void GraphBuilder::finish() {
  for (const Node& node : graph_.nodes) {
    for (const ValueId id : node.inputs) {
      if (id != kNoValue && !defined_[static_cast<size_t>(id)]) {
        throw Error("reads '" + graph_.value(id).name + "', which nothing makes",
                    "node '" + node.name + "' (" + node.op + ")", "export the model again");
      }
    }
  }
  for (const ValueId id : graph_.outputs) {
    if (!defined_[static_cast<size_t>(id)]) {
      throw Error("nothing makes the graph output '" + graph_.value(id).name + "'");
    }
  }
  graph_.sort_topologically();
  graph_.validate();
}

}  // namespace ounce::formats
