#include "quantize/plan/plan_part.h"

#include <algorithm>
#include <map>
#include <set>

namespace ounce::quantize {
namespace {

class PartMaker {
 public:
  PartMaker(const Graph& prepared, const Plan& plan, const Calibration& calibration)
      : prepared_(prepared), plan_(plan), calibration_(calibration), index_(prepared) {
    for (const LayerPlan& layer : plan.layers) layer_nodes_.insert(layer.node);
    part_.plan.softmax = plan.softmax;
    part_.plan.grid_of.assign(plan.grid_of.size(), -1);
    part_.plan.on_integers.assign(plan.on_integers.size(), false);
  }

  PlanPart make(std::span<const size_t> layers, PartInputs inputs) {
    for (const size_t i : layers) {
      const LayerPlan& layer = plan_.layers[i];
      part_.plan.layers.push_back(layer);
      if (!calibration_.layers.empty()) part_.calibration.layers.push_back(calibration_.layers[i]);
      take(layer.node, inputs);
    }
    keep_grids();
    return std::move(part_);
  }

 private:
  bool has_grid(ValueId value) const {
    return value != kNoValue && plan_.grid_of[static_cast<size_t>(value)] >= 0;
  }

  /// Marks a node and the values it reads as codes; then what makes these, up to other layers.
  void take(int node, PartInputs inputs) {
    const auto at = static_cast<size_t>(node);
    if (part_.plan.on_integers[at]) return;
    part_.plan.on_integers[at] = plan_.on_integers[at];
    for (const ValueId input : prepared_.nodes[at].inputs) {
      if (!has_grid(input)) continue;
      values_.insert(input);
      const int producer = index_.producer(input);
      const bool on_path = producer >= 0 && layer_nodes_.count(producer) == 0 &&
                           plan_.on_integers[static_cast<size_t>(producer)];
      if (inputs == PartInputs::kPathOfCodes && on_path) take(producer, inputs);
    }
  }

  /// The grids of the values that were taken, restricted to these. What makes codes of a value here
  /// may be float, hence each counts as computed where the whole plan computes none of them.
  void keep_grids() {
    std::map<int, size_t> kept;
    for (const ValueId value : values_) {
      const int grid = plan_.grid_of[static_cast<size_t>(value)];
      const auto [found, added] = kept.emplace(grid, part_.plan.grids.size());
      if (added) {
        GridPlan& own = part_.plan.grids.emplace_back(plan_.grids[static_cast<size_t>(grid)]);
        own.values.clear();
        own.sources.clear();
        part_.calibration.grids.push_back(calibration_.grids[static_cast<size_t>(grid)]);
      }
      GridPlan& own = part_.plan.grids[found->second];
      own.values.push_back(value);
      const int producer = index_.producer(value);
      const bool moved = producer >= 0 && part_.plan.on_integers[static_cast<size_t>(producer)];
      const auto& sources = plan_.grids[static_cast<size_t>(grid)].sources;
      const bool source = std::find(sources.begin(), sources.end(), value) != sources.end();
      if (source || !moved) own.sources.push_back(value);
      part_.plan.grid_of[static_cast<size_t>(value)] = static_cast<int>(found->second);
    }
  }

  const Graph& prepared_;
  const Plan& plan_;
  const Calibration& calibration_;
  GraphIndex index_;
  std::set<int> layer_nodes_;
  std::set<ValueId> values_;  // read as codes
  PlanPart part_;
};

}  // namespace

PlanPart part_of_plan(const Graph& prepared, const Plan& plan, const Calibration& calibration,
                      std::span<const size_t> layers, PartInputs inputs) {
  return PartMaker(prepared, plan, calibration).make(layers, inputs);
}

}  // namespace ounce::quantize
