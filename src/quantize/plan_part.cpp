#include "quantize/plan_part.h"

#include <algorithm>

namespace ounce::quantize {
namespace {

/// Keeps of grid `grid` what `value` needs: its codes are made from itself, wherever the whole plan
/// makes them, hence the value counts as computed.
void keep_grid(const Plan& plan, const Calibration& calibration, ValueId value, PlanPart& part) {
  const int grid = plan.grid_of[static_cast<size_t>(value)];
  int& kept = part.plan.grid_of[static_cast<size_t>(value)];
  if (grid < 0 || kept >= 0) return;
  kept = static_cast<int>(part.plan.grids.size());
  GridPlan& own = part.plan.grids.emplace_back(plan.grids[static_cast<size_t>(grid)]);
  own.values = {value};
  own.sources = {value};
  part.calibration.grids.push_back(calibration.grids[static_cast<size_t>(grid)]);
}

}  // namespace

PlanPart part_of(const Graph& prepared, const Plan& plan, const Calibration& calibration,
                 std::span<const size_t> layers) {
  PlanPart part;
  part.plan.softmax = plan.softmax;
  part.plan.grid_of.assign(plan.grid_of.size(), -1);
  part.plan.on_integers.assign(plan.on_integers.size(), false);
  for (const size_t i : layers) {
    const LayerPlan& layer = plan.layers[i];
    part.plan.layers.push_back(layer);
    part.plan.on_integers[static_cast<size_t>(layer.node)] = layer.reads_grid();
    if (!calibration.layers.empty()) part.calibration.layers.push_back(calibration.layers[i]);
    for (const ValueId input : prepared.nodes[static_cast<size_t>(layer.node)].inputs) {
      if (input != kNoValue) keep_grid(plan, calibration, input, part);
    }
  }
  return part;
}

}  // namespace ounce::quantize
