#include "engine/lowering/rewriter.h"

#include <algorithm>

namespace ounce::engine {

Rewriter::Rewriter(Graph& graph)
    : graph_(graph),
      index_(graph),
      absorbed_(graph.nodes.size(), false),
      after_(graph.nodes.size()) {}

int Rewriter::producer(ValueId value, std::string_view op) const {
  if (value == kNoValue) return -1;
  const int i = index_.producer(value);
  if (i < 0 || absorbed(i) || graph_.nodes[static_cast<size_t>(i)].op != op) return -1;
  return i;
}

int Rewriter::only_consumer(ValueId value) const {
  if (value == kNoValue || !index_.has_single_use(value)) return -1;
  const int i = index_.consumers(value)[0];
  return absorbed(i) ? -1 : i;
}

int Rewriter::only_consumer(ValueId value, std::string_view op) const {
  const int i = only_consumer(value);
  return i >= 0 && graph_.nodes[static_cast<size_t>(i)].op == op ? i : -1;
}

Node Rewriter::successor(int i, std::string_view op) const {
  Node result;
  result.op = op;
  result.name = node(i).name;
  result.scope = node(i).scope;
  return result;
}

void Rewriter::replace(const std::vector<int>& absorbed, Node replacement) {
  std::vector<std::string> names;
  for (const int i : absorbed) {
    absorbed_[static_cast<size_t>(i)] = true;
    for (std::string& name : fused_nodes(node(i))) names.push_back(std::move(name));
  }
  replacement.attributes.set("fused_nodes", std::move(names));
  const int last = *std::max_element(absorbed.begin(), absorbed.end());
  after_[static_cast<size_t>(last)].push_back(std::move(replacement));
  changed_ = true;
}

void Rewriter::insert_after(int i, Node extra) {
  after_[static_cast<size_t>(i)].push_back(std::move(extra));
  changed_ = true;
}

ValueId Rewriter::insert_transpose(int i, ValueId x, const std::vector<int64_t>& perm,
                                   std::string_view suffix) {
  const SymbolicShape source = *graph_.value(x).shape;
  SymbolicShape shape;
  for (const int64_t axis : perm) shape.push_back(source[static_cast<size_t>(axis)]);
  Node transpose = successor(i, "Transpose");
  transpose.name += suffix;
  transpose.attributes.set("perm", perm);
  transpose.inputs = {x};
  const ValueId result = graph_.add_value(transpose.name, graph_.value(x).dtype, shape);
  transpose.outputs = {result};
  insert_after(i, std::move(transpose));
  return result;
}

bool Rewriter::finish() {
  if (!changed_) return false;
  std::vector<Node> nodes;
  nodes.reserve(graph_.nodes.size());
  for (size_t i = 0; i < absorbed_.size(); ++i) {
    if (!absorbed_[i]) nodes.push_back(std::move(graph_.nodes[i]));
    for (Node& extra : after_[i]) nodes.push_back(std::move(extra));
  }
  graph_.nodes = std::move(nodes);
  return true;
}

std::vector<std::string> fused_nodes(const Node& node) {
  const auto found = node.attributes.entries().find("fused_nodes");
  if (found == node.attributes.entries().end()) return {node.name};
  return std::get<std::vector<std::string>>(found->second);
}

}  // namespace ounce::engine
