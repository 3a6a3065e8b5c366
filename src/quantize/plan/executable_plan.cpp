#include <set>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "graph/error.h"
#include "graph/operator.h"
#include "quantize/insert_qdq.h"
#include "quantize/plan/plan.h"

namespace ounce::quantize {
namespace {

/// Nodes that the plan wants on integers and the engine would run in float.
Exclusions not_executable(const Graph& graph, const Plan& plan,
                          const std::vector<Shape>& input_shapes) {
  Graph quantized = insert_qdq(graph, plan, placeholder_calibration(graph, plan));
  InferOptions inference;
  inference.evaluator = &engine::reference::evaluator();
  if (!input_shapes.empty()) specialize_inputs(quantized, input_shapes, inference);
  std::set<std::string> planned;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (plan.on_integers[i]) planned.insert(graph.nodes[i].name);
  }
  Exclusions exclusions;
  for (const engine::IntegerSupport& support : engine::integer_support(quantized)) {
    if (!support.integer && planned.count(support.node) != 0) {
      exclusions[support.node] = "not executable on integers: " + support.reason;
    }
  }
  return exclusions;
}

}  // namespace

Plan make_executable_plan(const Graph& graph, const Options& options,
                          const std::vector<Shape>& input_shapes, Exclusions exclusions) {
  // Each round takes at least one node out, usually all that will ever go.
  for (size_t round = 0; round <= graph.nodes.size(); ++round) {
    Plan plan = make_plan(graph, options, exclusions);
    const size_t before = exclusions.size();
    exclusions.merge(not_executable(graph, plan, input_shapes));
    if (exclusions.size() == before) return plan;
  }
  throw Error("no executable plan was found");
}

}  // namespace ounce::quantize
