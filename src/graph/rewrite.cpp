#include "graph/rewrite.h"

#include <algorithm>

namespace ounce {

GraphEditor::GraphEditor(Graph& graph) : graph_(graph), erased_(graph.nodes.size(), false) {
  for (const Node& node : graph.nodes) node_names_.insert(node.name);
  for (const Value& value : graph.values) value_names_.insert(value.name);
}

std::string GraphEditor::free_name(std::unordered_set<std::string>& taken, std::string_view base) {
  std::string name(base);
  if (taken.insert(name).second) return name;
  // The counter remembers where the last search for this base ended; both sets may share it.
  int& counter = name_counters_[name];
  do {
    name = std::string(base) + "." + std::to_string(++counter);
  } while (!taken.insert(name).second);
  return name;
}

ValueId GraphEditor::add_constant(std::string_view name, Tensor tensor) {
  Value value;
  value.name = free_name(value_names_, name);
  value.dtype = tensor.dtype();
  value.shape = symbolic(tensor.shape());
  value.constant = std::move(tensor);
  graph_.values.push_back(std::move(value));
  return static_cast<ValueId>(graph_.values.size() - 1);
}

ValueId GraphEditor::insert(int anchor, std::string_view suffix, std::string_view op,
                            std::vector<ValueId> inputs, AttributeMap attributes) {
  const Node& before = graph_.nodes[static_cast<size_t>(anchor)];
  Node node;
  node.op = op;
  node.name = free_name(node_names_, before.name + "/" + std::string(suffix));
  node.scope = before.scope;
  node.inputs = std::move(inputs);
  node.attributes = std::move(attributes);
  Value value;
  value.name = free_name(value_names_, node.name);
  if (before.output(0) != kNoValue) value.dtype = graph_.value(before.output(0)).dtype;
  graph_.values.push_back(std::move(value));
  const auto output = static_cast<ValueId>(graph_.values.size() - 1);
  node.outputs = {output};
  insertions_.push_back({anchor, std::move(node)});
  return output;
}

void GraphEditor::replace(int node, std::string_view op, std::vector<ValueId> inputs,
                          AttributeMap attributes) {
  Node& target = graph_.nodes[static_cast<size_t>(node)];
  target.op = op;
  target.inputs = std::move(inputs);
  target.attributes = std::move(attributes);
  target.outputs.resize(1);
}

void GraphEditor::commit() {
  std::stable_sort(insertions_.begin(), insertions_.end(),
                   [](const Insertion& a, const Insertion& b) { return a.anchor < b.anchor; });
  std::vector<Node> nodes;
  nodes.reserve(graph_.nodes.size() + insertions_.size());
  auto next = insertions_.begin();
  for (size_t n = 0; n < graph_.nodes.size(); ++n) {
    for (; next != insertions_.end() && next->anchor == static_cast<int>(n); ++next) {
      nodes.push_back(std::move(next->node));
    }
    if (!erased_[n]) nodes.push_back(std::move(graph_.nodes[n]));
  }
  graph_.nodes = std::move(nodes);
}

namespace {

int rewrite_once(Graph& graph, const Pattern& pattern, const Rewrite& rewrite) {
  const Matcher matcher(graph);
  GraphEditor editor(graph);
  std::vector<bool> touched(graph.nodes.size(), false);
  int count = 0;
  for (int n = 0; n < static_cast<int>(touched.size()); ++n) {
    if (touched[static_cast<size_t>(n)]) continue;
    const auto match = matcher.match(pattern, n);
    if (!match || !matcher.is_closed(*match)) continue;
    const bool overlaps = std::any_of(match->covered.begin(), match->covered.end(),
                                      [&](int node) { return touched[static_cast<size_t>(node)]; });
    if (overlaps || !rewrite(editor, *match)) continue;
    ++count;
    for (const int node : match->covered) {
      touched[static_cast<size_t>(node)] = true;
      if (node != match->root) editor.erase(node);
    }
  }
  editor.commit();
  return count;
}

}  // namespace

int rewrite_matches(Graph& graph, const Pattern& pattern, const Rewrite& rewrite) {
  int total = 0;
  while (const int count = rewrite_once(graph, pattern, rewrite)) total += count;
  return total;
}

}  // namespace ounce
