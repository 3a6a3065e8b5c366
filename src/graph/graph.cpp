#include "graph/graph.h"

#include <algorithm>
#include <functional>
#include <unordered_set>

#include "graph/error.h"
#include "graph/operator.h"

namespace ounce {
namespace {

std::string quoted(std::string_view name) {
  return "'" + std::string(name) + "'";
}

/// Tries `base`, then base.1, base.2, ... The counter remembers where the last search for this base
/// ended, so that a thousand equal bases do not cost a million look-ups.
template <class Taken>
std::string first_free_name(std::string_view base,
                            std::map<std::string, int, std::less<>>& counters, const Taken& taken) {
  std::string name(base.empty() ? "unnamed" : base);
  if (!taken(name)) return name;
  int& counter = counters[name];
  while (true) {
    std::string candidate = name + "." + std::to_string(++counter);
    if (!taken(candidate)) return candidate;
  }
}

/// For each value the index of its producing node, -1 without. Throws on a bad id or two producers.
std::vector<int> producers_of(const Graph& graph) {
  std::vector<int> producer(graph.values.size(), -1);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    for (const ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      if (id < 0 || static_cast<size_t>(id) >= graph.values.size()) {
        throw Error("output id " + std::to_string(id) + " is out of range",
                    "node " + quoted(node.name));
      }
      if (producer[static_cast<size_t>(id)] >= 0) {
        throw Error("value " + quoted(graph.value(id).name) + " has two producers",
                    "node " + quoted(node.name));
      }
      producer[static_cast<size_t>(id)] = static_cast<int>(n);
    }
  }
  return producer;
}

void check_input_ids(const Graph& graph, const Node& node) {
  for (const ValueId id : node.inputs) {
    if (id == kNoValue) continue;
    if (id < 0 || static_cast<size_t>(id) >= graph.values.size()) {
      throw Error("input id " + std::to_string(id) + " is out of range",
                  "node " + quoted(node.name));
    }
  }
}

void check_interface_ids(const Graph& graph, const std::vector<ValueId>& ids, const char* what) {
  for (const ValueId id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= graph.values.size()) {
      throw Error(std::string("graph ") + what + " id " + std::to_string(id) + " is out of range");
    }
  }
}

void check_unique_names(const Graph& graph) {
  std::unordered_set<std::string_view> names;
  for (const Value& value : graph.values) {
    if (value.name.empty()) throw Error("a value has no name");
    if (!names.insert(value.name).second) throw Error("two values are named " + quoted(value.name));
  }
  names.clear();
  for (const Node& node : graph.nodes) {
    if (node.name.empty()) throw Error("a node (" + node.op + ") has no name");
    if (!names.insert(node.name).second) throw Error("two nodes are named " + quoted(node.name));
  }
}

void check_arity(const Node& node) {
  const OperatorSchema& schema = require_operator(node);
  const auto inputs = static_cast<int>(node.inputs.size());
  const auto outputs = static_cast<int>(node.outputs.size());
  const std::string where = node.op + " node " + quoted(node.name);
  if (inputs < schema.min_inputs || inputs > schema.max_inputs) {
    throw Error("has " + std::to_string(inputs) + " inputs, takes " +
                    std::to_string(schema.min_inputs) +
                    (schema.max_inputs == kVariadic ? " or more"
                                                    : " to " + std::to_string(schema.max_inputs)),
                where);
  }
  for (int i = 0; i < schema.min_inputs; ++i) {
    if (node.inputs[static_cast<size_t>(i)] == kNoValue) {
      throw Error("required input " + std::to_string(i) + " is missing", where);
    }
  }
  if (outputs < schema.min_outputs || outputs > schema.max_outputs) {
    throw Error(
        "has " + std::to_string(outputs) + " outputs, makes " + std::to_string(schema.min_outputs) +
            " to " +
            (schema.max_outputs == kVariadic ? "any number" : std::to_string(schema.max_outputs)),
        where);
  }
}

}  // namespace

std::string to_string(const SymbolicShape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    if (shape[i].known()) {
      text += std::to_string(shape[i].value);
    } else {
      text += shape[i].symbol.empty() ? "?" : shape[i].symbol;
    }
  }
  return text + "]";
}

SymbolicShape symbolic(const Shape& shape) {
  return {shape.begin(), shape.end()};
}

std::optional<Shape> concrete(const SymbolicShape& shape) {
  Shape result;
  result.reserve(shape.size());
  for (const Dim& dim : shape) {
    if (!dim.known()) return std::nullopt;
    result.push_back(dim.value);
  }
  return result;
}

ValueId Graph::add_value(std::string_view value_name, DType dtype,
                         std::optional<SymbolicShape> shape) {
  Value value;
  value.name = unique_value_name(value_name);
  value.dtype = dtype;
  value.shape = std::move(shape);
  values.push_back(std::move(value));
  return static_cast<ValueId>(values.size() - 1);
}

ValueId Graph::add_constant(std::string_view value_name, Tensor tensor) {
  const ValueId id = add_value(value_name, tensor.dtype(), symbolic(tensor.shape()));
  value(id).constant = std::move(tensor);
  return id;
}

ValueId Graph::add_input(std::string_view value_name, DType dtype, SymbolicShape shape) {
  const ValueId id = add_value(value_name, dtype, std::move(shape));
  inputs.push_back(id);
  return id;
}

ValueId Graph::add_node(std::string_view op, std::vector<ValueId> node_inputs,
                        AttributeMap attributes, std::string_view node_name, size_t output_count) {
  Node node;
  node.op = op;
  node.name = unique_node_name(node_name.empty() ? op : node_name);
  node.inputs = std::move(node_inputs);
  node.attributes = std::move(attributes);
  for (size_t i = 0; i < output_count; ++i) {
    node.outputs.push_back(add_value(i == 0 ? node.name : node.name + "." + std::to_string(i)));
  }
  nodes.push_back(std::move(node));
  return nodes.back().output(0);
}

ValueId Graph::find_value(std::string_view value_name) const {
  const int indexed = value_names_.find(values, value_name);
  if (indexed >= 0) return indexed;
  // The field is public: a name may have been written there.
  const auto found = std::find_if(values.begin(), values.end(),
                                  [&](const Value& value) { return value.name == value_name; });
  return found == values.end() ? kNoValue : static_cast<ValueId>(found - values.begin());
}

void Graph::rename_value(ValueId id, std::string_view value_name) {
  value_names_.rename(values, static_cast<size_t>(id), unique_value_name(value_name));
}

const Tensor* Graph::constant(ValueId id) const {
  return id != kNoValue && value(id).is_constant() ? &value(id).constant : nullptr;
}

std::string Graph::unique_value_name(std::string_view base) const {
  return first_free_name(base, name_counters_, [&](const std::string& candidate) {
    return value_names_.find(values, candidate) >= 0;
  });
}

std::string Graph::unique_node_name(std::string_view base) const {
  return first_free_name(base, name_counters_, [&](const std::string& candidate) {
    return node_names_.find(nodes, candidate) >= 0;
  });
}

void Graph::replace_uses(ValueId from, ValueId to, bool and_outputs) {
  for (Node& node : nodes) std::replace(node.inputs.begin(), node.inputs.end(), from, to);
  if (and_outputs) std::replace(outputs.begin(), outputs.end(), from, to);
}

void Graph::sort_topologically() {
  const std::vector<int> producer = producers_of(*this);
  std::vector<int> pending(nodes.size(), 0);
  std::vector<std::vector<int>> dependents(nodes.size());
  for (size_t n = 0; n < nodes.size(); ++n) {
    check_input_ids(*this, nodes[n]);
    for (const ValueId id : nodes[n].inputs) {
      const int maker = id == kNoValue ? -1 : producer[static_cast<size_t>(id)];
      if (maker < 0) continue;
      dependents[static_cast<size_t>(maker)].push_back(static_cast<int>(n));
      ++pending[n];
    }
  }
  // The smallest ready index first keeps the order stable.
  std::vector<int> ready;
  for (size_t n = 0; n < nodes.size(); ++n) {
    if (pending[n] == 0) ready.push_back(static_cast<int>(n));
  }
  std::make_heap(ready.begin(), ready.end(), std::greater<>());
  std::vector<Node> sorted;
  sorted.reserve(nodes.size());
  std::vector<bool> done(nodes.size(), false);
  while (!ready.empty()) {
    std::pop_heap(ready.begin(), ready.end(), std::greater<>());
    const auto n = static_cast<size_t>(ready.back());
    ready.pop_back();
    done[n] = true;
    for (const int dependent : dependents[n]) {
      if (--pending[static_cast<size_t>(dependent)] > 0) continue;
      ready.push_back(dependent);
      std::push_heap(ready.begin(), ready.end(), std::greater<>());
    }
    sorted.push_back(nodes[n]);
  }
  if (sorted.size() != nodes.size()) {
    const auto stuck = std::find(done.begin(), done.end(), false) - done.begin();
    throw Error("the graph has a cycle", "node " + quoted(nodes[static_cast<size_t>(stuck)].name));
  }
  nodes = std::move(sorted);
}

void Graph::remove_dead() {
  const std::vector<int> producer = producers_of(*this);
  std::vector<bool> live(nodes.size(), false);
  std::vector<bool> mentioned(values.size(), false);
  std::vector<ValueId> pending(outputs.begin(), outputs.end());
  for (const ValueId id : inputs) mentioned[static_cast<size_t>(id)] = true;
  while (!pending.empty()) {
    const ValueId id = pending.back();
    pending.pop_back();
    mentioned[static_cast<size_t>(id)] = true;
    const int maker = producer[static_cast<size_t>(id)];
    if (maker < 0 || value(id).is_constant() || live[static_cast<size_t>(maker)]) continue;
    live[static_cast<size_t>(maker)] = true;
    const Node& node = nodes[static_cast<size_t>(maker)];
    for (const ValueId in : node.inputs) {
      if (in != kNoValue) pending.push_back(in);
    }
    for (const ValueId out : node.outputs) {
      if (out != kNoValue) mentioned[static_cast<size_t>(out)] = true;
    }
  }

  std::vector<ValueId> new_id(values.size(), kNoValue);
  std::vector<Value> kept_values;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!mentioned[i]) continue;
    new_id[i] = static_cast<ValueId>(kept_values.size());
    kept_values.push_back(std::move(values[i]));
  }
  values = std::move(kept_values);
  const auto renumber = [&](std::vector<ValueId>& ids) {
    for (ValueId& id : ids) {
      if (id != kNoValue) id = new_id[static_cast<size_t>(id)];
    }
  };
  std::vector<Node> kept_nodes;
  for (size_t n = 0; n < nodes.size(); ++n) {
    if (!live[n]) continue;
    kept_nodes.push_back(std::move(nodes[n]));
    renumber(kept_nodes.back().inputs);
    renumber(kept_nodes.back().outputs);
  }
  nodes = std::move(kept_nodes);
  renumber(inputs);
  renumber(outputs);
}

void Graph::validate() const {
  check_unique_names(*this);
  check_interface_ids(*this, inputs, "input");
  check_interface_ids(*this, outputs, "output");
  const std::vector<int> producer = producers_of(*this);
  std::vector<bool> available(values.size(), false);
  for (size_t i = 0; i < values.size(); ++i) available[i] = values[i].is_constant();
  for (const ValueId id : inputs) {
    if (producer[static_cast<size_t>(id)] >= 0) {
      throw Error("graph input " + quoted(value(id).name) + " is made by a node");
    }
    available[static_cast<size_t>(id)] = true;
  }
  for (const Node& node : nodes) {
    check_arity(node);
    check_input_ids(*this, node);
    for (const ValueId id : node.inputs) {
      if (id == kNoValue || available[static_cast<size_t>(id)]) continue;
      throw Error(producer[static_cast<size_t>(id)] >= 0
                      ? "reads value " + quoted(value(id).name) + " before it is made"
                      : "reads value " + quoted(value(id).name) + ", which nothing makes",
                  node.op + " node " + quoted(node.name));
    }
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) available[static_cast<size_t>(id)] = true;
    }
  }
  for (const ValueId id : outputs) {
    if (!available[static_cast<size_t>(id)]) {
      throw Error("nothing makes the graph output " + quoted(value(id).name));
    }
  }
}

GraphIndex::GraphIndex(const Graph& graph)
    : producer_(producers_of(graph)),
      consumers_(graph.values.size()),
      is_output_(graph.values.size(), false) {
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    check_input_ids(graph, graph.nodes[n]);
    for (const ValueId id : graph.nodes[n].inputs) {
      if (id != kNoValue) consumers_[static_cast<size_t>(id)].push_back(static_cast<int>(n));
    }
  }
  for (const ValueId id : graph.outputs) is_output_[static_cast<size_t>(id)] = true;
}

}  // namespace ounce
