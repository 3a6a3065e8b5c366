#include "quantize/calibration_cache.h"

#include <algorithm>
#include <cstdio>

#include "quantize/bias_correction.h"
#include "quantize/plan/plan_part.h"
#include "quantize/quantizer.h"

namespace ounce::quantize {
namespace {

std::string exactly(double number) {
  char text[40];
  std::snprintf(text, sizeof text, "%a", number);
  return text;
}

/// What the range of a grid depends on, the data being the same.
std::string key_of(const Graph& prepared, const GridPlan& grid) {
  std::string key = bits_text(grid.bits, grid.ternary) + ' ' + std::string(name_of(grid.range)) +
                    ' ' + exactly(grid.percentile);
  if (grid.lower_bound) {
    key += (grid.lower_bound->tight ? " from " : " at least ") + exactly(grid.lower_bound->value);
  }
  if (grid.table >= 0) key += " table " + prepared.nodes[static_cast<size_t>(grid.table)].name;
  for (const ValueId id : grid.sources) key += '\n' + prepared.value(id).name;
  return key;
}

/// What the numbers of a layer depend on.
std::string key_of(const Graph& prepared, const Plan& plan, const LayerPlan& layer,
                   const std::vector<QuantParams>& grids) {
  const Node& node = prepared.nodes[static_cast<size_t>(layer.node)];
  const WeightOptions& weights = layer.settings.weights;
  std::string key = node.name + '\n' + bits_text(weights) + ' ' +
                    std::string(name_of(weights.granularity)) + ' ' +
                    std::to_string(weights.group_size) + ' ' + std::string(name_of(weights.rule));
  const int grid = plan.grid_of[static_cast<size_t>(node.input(0))];
  if (grid >= 0) {
    const QuantParams& params = grids[static_cast<size_t>(grid)];
    key += ' ' + bits_text(params.bits, params.ternary) + ' ' + exactly(params.scale) + ' ' +
           std::to_string(params.zero_point);
  }
  return key;
}

}  // namespace

bool CalibrationCache::serves(const Plan& plan, const Options& options) {
  return options.rounding == Rounding::kNearest &&
         options.transforms.norms == NormTransform::kNone && plan.binarizers.empty() &&
         std::all_of(plan.layers.begin(), plan.layers.end(),
                     [](const LayerPlan& layer) { return layer.reads_grid(); });
}

Calibrated CalibrationCache::calibrate(const Graph& prepared, const Plan& plan,
                                       const Options& options, InputSource& source,
                                       const Progress& progress) {
  std::vector<std::string> keys;
  for (const GridPlan& grid : plan.grids) keys.push_back(key_of(prepared, grid));
  observe_grids(prepared, plan, keys, options, source, progress);
  Calibrated result;
  result.observations.runs = runs_;
  for (const std::string& key : keys) {
    const Grid& grid = grids_.at(key);
    result.observations.grids.push_back(grid.data);
    result.calibration.grids.push_back(grid.params);
  }
  keys.clear();
  for (const LayerPlan& layer : plan.layers) {
    keys.push_back(layer.weights ? key_of(prepared, plan, layer, result.calibration.grids) : "");
  }
  quantize_layers(prepared, plan, result.calibration, keys, options, source, progress);
  for (const std::string& key : keys) {
    result.calibration.layers.push_back(key.empty() ? QuantizedLayer() : layers_.at(key));
  }
  return result;
}

void CalibrationCache::observe_grids(const Graph& prepared, const Plan& plan,
                                     const std::vector<std::string>& keys, const Options& options,
                                     InputSource& source, const Progress& progress) {
  Plan missing;
  std::vector<std::string> missing_keys;
  for (size_t i = 0; i < plan.grids.size(); ++i) {
    if (grids_.count(keys[i]) != 0) continue;
    missing.grids.push_back(plan.grids[i]);
    missing_keys.push_back(keys[i]);
  }
  if (missing.grids.empty()) return;
  Observations seen = observe(prepared, missing, source, options.threads, progress);
  const std::vector<QuantParams> params = choose_grids(prepared, missing, seen);
  runs_ = seen.runs;
  for (size_t i = 0; i < missing_keys.size(); ++i) {
    grids_.emplace(missing_keys[i], Grid{std::move(seen.grids[i]), params[i]});
  }
}

void CalibrationCache::quantize_layers(const Graph& prepared, const Plan& plan,
                                       const Calibration& calibration,
                                       const std::vector<std::string>& keys, const Options& options,
                                       InputSource& source, const Progress& progress) {
  std::vector<size_t> missing;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!keys[i].empty() && layers_.count(keys[i]) == 0) missing.push_back(i);
  }
  if (missing.empty()) return;
  PlanPart part = part_of_plan(prepared, plan, calibration, missing);
  part.calibration.layers = quantize::quantize_layers(prepared, part.plan, part.calibration.grids);
  if (options.bias_correction) {
    const Graph first = insert_qdq(prepared, part.plan, part.calibration);
    correct_biases(prepared, part.plan,
                   mean_layer_errors(prepared, first, part.plan, source, options.threads, progress),
                   part.calibration);
  }
  for (size_t i = 0; i < missing.size(); ++i) {
    layers_.emplace(keys[missing[i]], std::move(part.calibration.layers[i]));
  }
}

}  // namespace ounce::quantize
