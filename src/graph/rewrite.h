#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "graph/pattern.h"

namespace ounce {

/// Collects changes to a graph's nodes and makes them at once in `commit`, so that node indices
/// (and a Matcher's snapshot) stay valid meanwhile. Values may be added at any time.
class GraphEditor {
 public:
  explicit GraphEditor(Graph& graph);

  Graph& graph() { return graph_; }

  ValueId add_constant(std::string_view name, Tensor tensor);

  /// A new node right before node `anchor`, in its scope, named "<anchor's name>/<suffix>". Returns
  /// its output.
  ValueId insert(int anchor, std::string_view suffix, std::string_view op,
                 std::vector<ValueId> inputs, AttributeMap attributes = {});

  /// Makes node `node` another operator; its name, scope and first output stay.
  void replace(int node, std::string_view op, std::vector<ValueId> inputs,
               AttributeMap attributes = {});

  void erase(int node) { erased_[static_cast<size_t>(node)] = true; }

  /// Applies insertions and removals. The editor must not be used afterwards.
  void commit();

 private:
  std::string free_name(std::unordered_set<std::string>& taken, std::string_view base);

  Graph& graph_;
  std::unordered_set<std::string> node_names_;
  std::unordered_set<std::string> value_names_;
  std::unordered_map<std::string, int> name_counters_;
  std::vector<bool> erased_;
  struct Insertion {
    int anchor;
    Node node;
  };
  std::vector<Insertion> insertions_;
};

/// Replaces what a match covers, usually by `editor.replace(match.root, ...)`; false leaves it
/// alone.
using Rewrite = std::function<bool(GraphEditor& editor, const Match& match)>;

/// Applies `rewrite` at every closed match until none is left; the other covered nodes are removed.
/// Returns the number of rewrites.
int rewrite_matches(Graph& graph, const Pattern& pattern, const Rewrite& rewrite);

}  // namespace ounce
