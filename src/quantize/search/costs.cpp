#include "quantize/search/costs.h"

#include <algorithm>
#include <map>

#include "quantize/latency.h"

namespace ounce::quantize::search {
namespace {

/// Adds the times of the pieces of one comparison to the units they belong to. A piece that no
/// searched layer has is common to all settings.
void add_times(std::vector<Unit>& units, const std::map<std::string, size_t>& unit_of,
               const LatencyComparison& latency, const Setting& setting, double drift) {
  for (const PieceTime& piece : latency.pieces) {
    const auto first =
        std::find_if(piece.layers.begin(), piece.layers.end(),
                     [&](const std::string& layer) { return unit_of.count(layer) != 0; });
    if (first == piece.layers.end()) continue;
    for (Choice& choice : units[unit_of.at(*first)].choices) {
      if (choice.setting == setting) choice.ms += piece.quantized_ms * drift;
    }
  }
}

void add_float_times(std::vector<Unit>& units, const std::map<std::string, size_t>& unit_of,
                     const LatencyComparison& latency) {
  for (const PieceTime& piece : latency.pieces) {
    for (const std::string& layer : piece.layers) {
      const auto found = unit_of.find(layer);
      if (found == unit_of.end()) continue;
      units[found->second].choices.front().ms += piece.float_ms;
      break;
    }
  }
}

}  // namespace

Costs measure_costs(const Workbench& workbench, int threads, int repetitions,
                    const Progress& progress) {
  const auto& settings = workbench.settings();
  std::vector<LatencyComparison> latencies;
  std::vector<std::vector<std::string>> together;
  for (const Setting& setting : settings) {
    progress.step("timing", static_cast<int64_t>(latencies.size()),
                  static_cast<int64_t>(settings.size()));
    const Workbench::Uniform& uniform = workbench.uniform(setting);
    const Graph quantized = insert_qdq(uniform.prepared, uniform.plan,
                                       placeholder_calibration(uniform.prepared, uniform.plan));
    latencies.push_back(compare_latency(uniform.prepared, quantized, uniform.plan,
                                        workbench.sample(), threads, repetitions));
    for (const PieceTime& piece : latencies.back().pieces) together.push_back(piece.layers);
  }
  Costs costs;
  costs.units = workbench.units(together);
  costs.float_ms = latencies.front().float_ms;
  std::map<std::string, size_t> unit_of;
  for (size_t u = 0; u < costs.units.size(); ++u) {
    for (const std::string& layer : costs.units[u].layers) unit_of.emplace(layer, u);
  }
  add_float_times(costs.units, unit_of, latencies.front());
  for (size_t i = 0; i < settings.size(); ++i) {
    add_times(costs.units, unit_of, latencies[i], settings[i],
              costs.float_ms / latencies[i].float_ms);
  }
  for (size_t u = 0; u < costs.units.size(); ++u) {
    progress.step("weighing", static_cast<int64_t>(u), static_cast<int64_t>(costs.units.size()));
    for (Choice& choice : costs.units[u].choices) {
      choice.bytes = workbench.bytes_of(costs.units[u].layers, choice.setting);
    }
  }
  return costs;
}

}  // namespace ounce::quantize::search
