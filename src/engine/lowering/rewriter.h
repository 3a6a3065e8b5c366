#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace ounce::engine {

/// One sweep over a graph's nodes in order, during which later nodes can be absorbed into new ones.
/// The index is a snapshot from the start of the sweep; changes take effect in `finish`.
class Rewriter {
 public:
  explicit Rewriter(Graph& graph);

  Graph& graph() { return graph_; }
  const Graph& graph() const { return graph_; }
  const GraphIndex& index() const { return index_; }
  int node_count() const { return static_cast<int>(absorbed_.size()); }
  const Node& node(int i) const { return graph_.nodes[static_cast<size_t>(i)]; }
  Node& node(int i) { return graph_.nodes[static_cast<size_t>(i)]; }
  bool absorbed(int i) const { return absorbed_[static_cast<size_t>(i)]; }

  /// Index of the node that makes `value` if it has this operator and is not absorbed, else -1.
  int producer(ValueId value, std::string_view op) const;

  /// The only reader of `value` (no graph output, not absorbed), or -1.
  int only_consumer(ValueId value) const;
  /// The same if its operator is `op`.
  int only_consumer(ValueId value, std::string_view op) const;

  /// A node that is named for node `i`, whose work it is to do.
  Node successor(int i, std::string_view op) const;

  /// Replaces the nodes `absorbed` by `replacement`, which stands where the last of them stood and
  /// is annotated with their names.
  void replace(const std::vector<int>& absorbed, Node replacement);

  /// Puts `extra` directly after node `i`.
  void insert_after(int i, Node extra);

  /// Puts a Transpose of `x`, whose shape is concrete, directly after node `i`, for which and for
  /// `suffix` it is named. Returns its result.
  ValueId insert_transpose(int i, ValueId x, const std::vector<int64_t>& perm,
                           std::string_view suffix);

  /// Applies all changes; true when there were any. Dead nodes and values stay until
  /// `Graph::remove_dead`.
  bool finish();

 private:
  Graph& graph_;
  GraphIndex index_;
  std::vector<bool> absorbed_;
  std::vector<std::vector<Node>> after_;
  bool changed_ = false;
};

/// Names of the graph nodes that an internal (or plain) node stands for.
std::vector<std::string> fused_nodes(const Node& node);

}  // namespace ounce::engine
