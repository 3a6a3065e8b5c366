#pragma once

#include <optional>
#include <string>
#include <vector>

#include "quantize/plan/ends.h"
#include "quantize/plan/plan.h"

namespace ounce::quantize {

/// The working state of `make_plan`.
class Planner {
 public:
  Planner(const Graph& graph, const Options& options, const Exclusions& exclusions);
  Plan run();

 private:
  enum class Demand {
    kNone,
    kThrough,  // wanted as the accumulator of something that ends in codes
    kGrid,     // wanted as codes
  };

  const Node& at(int node) const { return graph_.nodes[static_cast<size_t>(node)]; }
  static size_t index_of(int i) { return static_cast<size_t>(i); }

  void select_layers();
  std::string why_float(int node, const LayerPlan& layer) const;
  void find_ends();
  void widen_ends();
  bool widen(LayerPlan& layer) const;
  void choose_map_codes();
  bool excluded(int node) const;
  bool integer_addition(int node) const;
  void keep_float(int node, std::string reason);

  void look_forward(int node);
  void look_back(int node);
  void hand_demand_on(int node);
  bool follows_table(ValueId data) const;
  bool pools_a_layer(int node) const;
  void hand_on_table(int node, ValueId data);
  void hand_on_clamp(int node, ValueId data);
  void hand_on_sum(int node);
  void hand_on_moves(int node, ValueId data);
  void want(ValueId value, Demand demand);

  void join(ValueId a, ValueId b);
  ValueId root(ValueId value);
  bool is_moved(ValueId value);
  void collect_binarizers();
  void collect_embeddings();
  void collect_grids();
  void set_by_layer(const LayerPlan& layer, ValueId input);
  void finish_grid(GridPlan& grid);
  static bool rides_along(NodeKind kind);
  std::string default_reason(int node) const;
  void note_float_nodes();

  const Graph& graph_;
  const Options& options_;
  const Exclusions& exclusions_;
  GraphIndex index_;
  std::vector<NodeKind> kinds_;
  std::vector<int> layer_of_;  // by node, index into plan_.layers or -1
  std::vector<bool> integer_;  // by node: works on codes
  Ends ends_;
  // By value:
  std::vector<bool> producible_;  // what makes it can hand out codes
  std::vector<bool> linear_;      // it is the output of a linear layer, possibly moved
  std::vector<std::optional<LowerBound>> bounds_;
  std::vector<Demand> demand_;
  std::vector<ValueId> parent_;  // values on one grid (union-find)
  Plan plan_;
};

}  // namespace ounce::quantize
