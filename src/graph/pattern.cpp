#include "graph/pattern.h"

#include <algorithm>
#include <cmath>

namespace ounce {

class PatternNode {
 public:
  enum class Kind { any, constant, op, commutative, either };

  Kind kind = Kind::any;
  std::string capture;
  std::vector<std::string> operators;
  std::vector<Pattern> operands;  // or alternatives
  ConstantPredicate accepts_constant;
  NodePredicate accepts_node;
};

namespace {

std::vector<std::string> split_names(std::string_view names) {
  std::vector<std::string> result;
  while (true) {
    const size_t bar = names.find('|');
    result.emplace_back(names.substr(0, bar));
    if (bar == std::string_view::npos) return result;
    names.remove_prefix(bar + 1);
  }
}

Pattern make_node(PatternNode::Kind kind, std::string_view operators, std::vector<Pattern> operands,
                  std::string capture) {
  PatternNode node;
  node.kind = kind;
  node.capture = std::move(capture);
  node.operators = split_names(operators);
  node.operands = std::move(operands);
  return std::make_shared<const PatternNode>(std::move(node));
}

/// Inputs without omitted ones at the end.
size_t given_inputs(const Node& node) {
  size_t count = node.inputs.size();
  while (count > 0 && node.inputs[count - 1] == kNoValue) --count;
  return count;
}

/// The same value, or two constants of equal content: exporters repeat axes and small numbers.
bool is_same(const Graph& graph, ValueId a, ValueId b) {
  if (a == b) return true;
  const Tensor* x = graph.constant(a);
  const Tensor* y = graph.constant(b);
  return x != nullptr && y != nullptr && x->identical_to(*y);
}

}  // namespace

namespace pattern {

Pattern any(std::string capture) {
  return make_node(PatternNode::Kind::any, "", {}, std::move(capture));
}

Pattern constant(std::string capture, ConstantPredicate accepts) {
  PatternNode node;
  node.kind = PatternNode::Kind::constant;
  node.capture = std::move(capture);
  node.accepts_constant = std::move(accepts);
  return std::make_shared<const PatternNode>(std::move(node));
}

Pattern scalar(std::string capture) {
  return constant(std::move(capture), [](const Tensor& tensor) { return tensor.size() == 1; });
}

Pattern number(double value) {
  return constant({}, [value](const Tensor& tensor) {
    if (tensor.size() != 1) return false;
    const double found = tensor.to_f32()[0];
    return std::abs(found - value) <= 1e-3 * std::abs(value);
  });
}

Pattern op(std::string_view operators, std::vector<Pattern> operands, std::string capture) {
  return make_node(PatternNode::Kind::op, operators, std::move(operands), std::move(capture));
}

Pattern commutative(std::string_view operators, Pattern a, Pattern b, std::string capture) {
  return make_node(PatternNode::Kind::commutative, operators, {std::move(a), std::move(b)},
                   std::move(capture));
}

Pattern either(std::vector<Pattern> alternatives) {
  return make_node(PatternNode::Kind::either, "", std::move(alternatives), {});
}

Pattern where(const Pattern& base, NodePredicate accepts) {
  PatternNode node = *base;
  node.accepts_node = std::move(accepts);
  return std::make_shared<const PatternNode>(std::move(node));
}

bool keeps_dims(const Graph& /*graph*/, const Node& node) {
  return node.attributes.get_int("keepdims", 1) != 0;
}

}  // namespace pattern

ValueId Match::value(std::string_view capture) const {
  const auto found = values.find(capture);
  return found == values.end() ? kNoValue : found->second;
}

int Match::node(std::string_view capture) const {
  const auto found = nodes.find(capture);
  return found == nodes.end() ? -1 : found->second;
}

std::optional<Match> Matcher::match(const Pattern& pattern, int node) const {
  const ValueId value = graph_.nodes[static_cast<size_t>(node)].output(0);
  if (value == kNoValue) return std::nullopt;
  Match match;
  match.root = node;
  if (!visit(*pattern, value, match, [] { return true; })) return std::nullopt;
  return match;
}

bool Matcher::is_closed(const Match& match) const {
  const auto is_covered = [&](int node) {
    return std::find(match.covered.begin(), match.covered.end(), node) != match.covered.end();
  };
  for (const int n : match.covered) {
    if (n == match.root) continue;
    for (const ValueId id : graph_.nodes[static_cast<size_t>(n)].outputs) {
      if (id == kNoValue) continue;
      const auto consumers = index_.consumers(id);
      if (index_.is_output(id) || !std::all_of(consumers.begin(), consumers.end(), is_covered)) {
        return false;
      }
    }
  }
  return true;
}

bool Matcher::visit(const PatternNode& pattern, ValueId value, Match& match,
                    const Continuation& next) const {
  if (value == kNoValue) return false;
  if (pattern.kind == PatternNode::Kind::either) {
    return std::any_of(pattern.operands.begin(), pattern.operands.end(),
                       [&](const Pattern& one) { return visit(*one, value, match, next); });
  }
  if (pattern.kind == PatternNode::Kind::constant) {
    const Tensor* tensor = graph_.constant(value);
    if (tensor == nullptr) return false;
    if (pattern.accepts_constant && !pattern.accepts_constant(*tensor)) return false;
  }
  bool bound = false;
  if (!pattern.capture.empty()) {
    const auto [entry, is_new] = match.values.try_emplace(pattern.capture, value);
    if (!is_new && !is_same(graph_, entry->second, value)) return false;
    bound = is_new;
  }
  const bool is_node =
      pattern.kind == PatternNode::Kind::op || pattern.kind == PatternNode::Kind::commutative;
  if (is_node ? visit_node(pattern, value, match, next) : next()) return true;
  if (bound) match.values.erase(pattern.capture);
  return false;
}

bool Matcher::visit_node(const PatternNode& pattern, ValueId value, Match& match,
                         const Continuation& next) const {
  const int n = index_.producer(value);
  if (n < 0) return false;
  const Node& node = graph_.nodes[static_cast<size_t>(n)];
  const auto& names = pattern.operators;
  if (node.output(0) != value || given_inputs(node) != pattern.operands.size() ||
      std::find(names.begin(), names.end(), node.op) == names.end() ||
      (pattern.accepts_node && !pattern.accepts_node(graph_, node))) {
    return false;
  }
  const bool is_new =
      std::find(match.covered.begin(), match.covered.end(), n) == match.covered.end();
  if (is_new) match.covered.push_back(n);
  const bool names_node =
      !pattern.capture.empty() && match.nodes.try_emplace(pattern.capture, n).second;
  if (visit_operands(pattern, node, 0, false, match, next)) return true;
  if (pattern.kind == PatternNode::Kind::commutative &&
      visit_operands(pattern, node, 0, true, match, next)) {
    return true;
  }
  if (names_node) match.nodes.erase(pattern.capture);
  if (is_new) match.covered.pop_back();
  return false;
}

bool Matcher::visit_operands(const PatternNode& pattern, const Node& node, size_t from,
                             bool swapped, Match& match, const Continuation& next) const {
  if (from == pattern.operands.size()) return next();
  const Pattern& operand = pattern.operands[swapped ? 1 - from : from];
  return visit(*operand, node.inputs[from], match,
               [&] { return visit_operands(pattern, node, from + 1, swapped, match, next); });
}

std::optional<float> scalar_constant(const Graph& graph, ValueId id) {
  const Tensor* tensor = graph.constant(id);
  if (tensor == nullptr || tensor->size() != 1) return std::nullopt;
  return tensor->to_f32()[0];
}

}  // namespace ounce
