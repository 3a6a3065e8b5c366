#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace ounce {

/// What a subgraph must look like, seen from its last value upwards. Built with the functions of
/// namespace `pattern`; immutable and shared, so parts may be reused:
///
///     using namespace ounce::pattern;
///     const Pattern x = any("x");
///     const Pattern silu = commutative("Mul", x, op("Sigmoid", {x}));
///
/// A capture that occurs twice must be the same value both times, or equal constants.
class PatternNode;
using Pattern = std::shared_ptr<const PatternNode>;

using ConstantPredicate = std::function<bool(const Tensor&)>;
using NodePredicate = std::function<bool(const Graph&, const Node&)>;

namespace pattern {

/// Any value.
Pattern any(std::string capture = {});
/// A constant, of which `accepts` may ask more.
Pattern constant(std::string capture = {}, ConstantPredicate accepts = nullptr);
/// A constant of one element.
Pattern scalar(std::string capture = {});
/// A constant of one element equal to `value` within 0.1 %: exporters round to half precision.
Pattern number(double value);
/// A node of one of the operators "A|B|C" whose inputs are exactly these, and its first output. The
/// capture names both the node and that output.
Pattern op(std::string_view operators, std::vector<Pattern> operands, std::string capture = {});
/// As `op` with two operands in either order.
Pattern commutative(std::string_view operators, Pattern a, Pattern b, std::string capture = {});
/// The first alternative that fits.
Pattern either(std::vector<Pattern> alternatives);
/// The pattern, with a further demand on its node.
Pattern where(const Pattern& base, NodePredicate accepts);
/// For `where`: does a reduction keep its axes, with extent 1?
bool keeps_dims(const Graph& graph, const Node& node);

}  // namespace pattern

/// Where a pattern was found.
struct Match {
  int root = -1;             // node that makes the matched value
  std::vector<int> covered;  // all nodes that `op` patterns matched, the root included
  std::map<std::string, ValueId, std::less<>> values;
  std::map<std::string, int, std::less<>> nodes;

  /// The captured value / node; kNoValue / -1 when an alternative without it matched.
  ValueId value(std::string_view capture) const;
  int node(std::string_view capture) const;
};

/// Finds patterns in one state of a graph.
class Matcher {
 public:
  explicit Matcher(const Graph& graph) : graph_(graph), index_(graph) {}

  /// Matches `pattern` at the first output of node `node`. Tries every order of commutative
  /// operands and every alternative.
  std::optional<Match> match(const Pattern& pattern, int node) const;

  /// True when nothing outside the match reads a value inside it: replacing the root makes all
  /// covered nodes superfluous.
  bool is_closed(const Match& match) const;

  const GraphIndex& index() const { return index_; }

 private:
  using Continuation = std::function<bool()>;
  bool visit(const PatternNode& pattern, ValueId value, Match& match,
             const Continuation& next) const;
  bool visit_node(const PatternNode& pattern, ValueId value, Match& match,
                  const Continuation& next) const;
  bool visit_operands(const PatternNode& pattern, const Node& node, size_t from, bool swapped,
                      Match& match, const Continuation& next) const;

  const Graph& graph_;
  GraphIndex index_;
};

/// The number in a constant of one element, if `id` is that.
std::optional<float> scalar_constant(const Graph& graph, ValueId id);

}  // namespace ounce
