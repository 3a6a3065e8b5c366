#include "tests/quantize/planned.h"

#include <algorithm>

#include "engine/session.h"
#include "quantize/insert_qdq.h"

namespace ounce::quantize::testing {

const GridPlan* Planned::grid(std::string_view value) const {
  const ValueId id = graph.find_value(value);
  if (id == kNoValue || plan.grid_of[static_cast<size_t>(id)] < 0) return nullptr;
  return &plan.grids[static_cast<size_t>(plan.grid_of[static_cast<size_t>(id)])];
}

const BinarizerPlan* Planned::binarizer(std::string_view value) const {
  for (const BinarizerPlan& candidate : plan.binarizers) {
    if (graph.value(candidate.value).name == value) return &candidate;
  }
  return nullptr;
}

const LayerPlan* Planned::layer(std::string_view node) const {
  for (const LayerPlan& candidate : plan.layers) {
    if (graph.nodes[static_cast<size_t>(candidate.node)].name == node) return &candidate;
  }
  return nullptr;
}

const KeptFloat* Planned::kept(std::string_view node) const {
  for (const KeptFloat& candidate : plan.kept_float) {
    if (candidate.node == node) return &candidate;
  }
  return nullptr;
}

Planned planned(const Graph& source, const Options& options) {
  Planned result;
  result.graph = prepare(source, options);
  std::vector<Shape> shapes;
  for (const ValueId id : source.inputs) shapes.push_back(*concrete(*source.value(id).shape));
  result.plan = make_executable_plan(result.graph, options, shapes);
  return result;
}

std::vector<std::string> simulated_only(const Planned& planned) {
  const Graph quantized =
      insert_qdq(planned.graph, planned.plan, placeholder_calibration(planned.graph, planned.plan));
  std::vector<std::string> names;
  for (const engine::IntegerSupport& support : engine::integer_support(quantized)) {
    const LayerPlan* layer = planned.layer(support.node);
    const bool by_signs = support.op == "Binarize" || (layer != nullptr && !layer->reads_grid());
    if (support.integer || by_signs || planned.kept(support.node) != nullptr) continue;
    names.push_back(support.node + " (" + support.op + "): " + support.reason);
  }
  return names;
}

}  // namespace ounce::quantize::testing
