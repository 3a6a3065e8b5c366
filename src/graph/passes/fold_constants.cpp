#include "graph/passes/passes.h"

namespace ounce {

int fold_constants(Graph& graph, const Evaluator& evaluator) {
  InferOptions options;
  options.evaluator = &evaluator;
  options.max_folded_growth = 8;  // masks of windows with biases of heads, say
  infer_shapes(graph, options);
  return remove_dead_nodes(graph);
}

int remove_dead_nodes(Graph& graph) {
  const size_t before = graph.nodes.size();
  graph.remove_dead();
  return static_cast<int>(before - graph.nodes.size());
}

}  // namespace ounce
