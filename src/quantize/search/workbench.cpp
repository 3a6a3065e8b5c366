#include "quantize/search/workbench.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "graph/error.h"
#include "quantize/node_kind.h"
#include "quantize/plan/plan_part.h"
#include "quantize/transforms/transform.h"

namespace ounce::quantize::search {
namespace {

/// Whether the user has settled the bits of a layer.
bool is_settled(const Options& base, const Node& node) {
  return is_overridden(base, node, "weights") || is_overridden(base, node, "activations");
}

int64_t parameters_of(const Graph& graph, const GraphIndex& index, int node) {
  const auto product = product_weights(graph, index, node);
  return product ? graph.value(product->weights).constant.size() : 0;
}

/// Whether a unit has the setting already: without weights, bits of weights tell nothing apart.
bool is_known(const Unit& unit, const Setting& setting) {
  const bool weights =
      std::find(unit.has_weights.begin(), unit.has_weights.end(), true) != unit.has_weights.end();
  return !weights && std::any_of(unit.choices.begin(), unit.choices.end(), [&](const Choice& one) {
    return one.setting.activation_bits == setting.activation_bits;
  });
}

/// "a, b and 7 more"
std::string list_of(const std::vector<std::string>& names) {
  constexpr size_t kNamed = 3;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kNamed); ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > kNamed) text += " and " + std::to_string(names.size() - kNamed) + " more";
  return text;
}

}  // namespace

Workbench::Workbench(const Subject& subject, const Progress& progress)
    : subject_(subject), sample_(first_run(*subject.calibration)) {
  find_layers();
  if (layers_.empty()) {
    throw Error("has no layer whose bits could be searched", "model",
                "a network with convolutions or matrix products");
  }
  const auto total = static_cast<int64_t>(subject_.settings.size());
  for (const Setting& setting : subject_.settings) {
    progress.step("planning", static_cast<int64_t>(uniform_.size()), total);
    uniform_.emplace(setting, plan_uniform(setting));
  }
  note_unsupported();
}

void Workbench::find_layers() {
  const Graph prepared = prepare(*subject_.graph, subject_.base);
  const GraphIndex index(prepared);
  std::vector<std::string> settled;
  for (size_t i = 0; i < prepared.nodes.size(); ++i) {
    const Node& node = prepared.nodes[i];
    if (!is_heavy(node) || node.output(0) == kNoValue ||
        prepared.value(node.output(0)).dtype != DType::f32) {
      continue;
    }
    if (is_settled(subject_.base, node)) {
      settled.push_back(node.name);
      continue;
    }
    const int64_t parameters = parameters_of(prepared, index, static_cast<int>(i));
    layers_.push_back({node.name, node.op, parameters > 0, parameters});
  }
  if (!settled.empty()) notes_.push_back("not searched, set by --set: " + list_of(settled));
}

Workbench::Uniform Workbench::plan_uniform(const Setting& setting) const {
  std::vector<LayerSetting> settings;
  for (const Layer& layer : layers_) settings.push_back({layer.name, layer.has_weights, setting});
  const Options options = with_settings(subject_.base, std::move(settings));
  Uniform uniform;
  uniform.prepared = prepare(*subject_.graph, options);
  uniform.plan = make_executable_plan(uniform.prepared, options, shapes_of(sample_));
  uniform.placeholder = placeholder_calibration(uniform.prepared, uniform.plan);
  for (size_t i = 0; i < uniform.plan.layers.size(); ++i) {
    const int node = uniform.plan.layers[i].node;
    uniform.layer_of[uniform.prepared.nodes[static_cast<size_t>(node)].name] = i;
  }
  return uniform;
}

void Workbench::note_unsupported() {
  for (const Setting& setting : subject_.settings) {
    const Uniform& uniform = uniform_.at(setting);
    std::map<std::string, std::vector<std::string>> without;  // by reason
    for (const Layer& layer : layers_) {
      if (uniform.layer_of.count(layer.name) != 0) continue;
      std::string reason = "stays in float";
      for (const KeptFloat& kept : uniform.plan.kept_float) {
        if (kept.node == layer.name) reason = kept.reason;
      }
      without[reason].push_back(layer.name);
    }
    for (const auto& [reason, names] : without) {
      notes_.push_back("no " + name_of(setting) + " for " + list_of(names) + ": " + reason);
    }
  }
}

const Workbench::Uniform& Workbench::uniform(const Setting& setting) const {
  return uniform_.at(setting);
}

std::vector<Unit> Workbench::units(const std::vector<std::vector<std::string>>& together) const {
  std::map<std::string, size_t> number;
  for (size_t i = 0; i < layers_.size(); ++i) number.emplace(layers_[i].name, i);
  std::vector<size_t> parent(layers_.size());
  std::iota(parent.begin(), parent.end(), size_t{0});
  const auto root = [&](size_t i) {
    while (parent[i] != i) i = parent[i];
    return i;
  };
  for (const std::vector<std::string>& names : together) {
    size_t first = layers_.size();
    for (const std::string& name : names) {
      const auto found = number.find(name);
      if (found == number.end()) continue;
      if (first == layers_.size()) first = root(found->second);
      // The earlier layer leads, so that units stand in network order.
      const size_t other = root(found->second);
      parent[std::max(first, other)] = std::min(first, other);
      first = std::min(first, other);
    }
  }
  std::map<size_t, Unit> units;
  for (size_t i = 0; i < layers_.size(); ++i) {
    Unit& unit = units[root(i)];
    if (unit.layers.empty()) {
      unit.name = layers_[i].name;
      unit.op = layers_[i].op;
    }
    unit.layers.push_back(layers_[i].name);
    unit.has_weights.push_back(layers_[i].has_weights);
    unit.parameters += layers_[i].parameters;
  }
  std::vector<Unit> result;
  for (auto& [first, unit] : units) {
    Choice as_is;
    as_is.loss = 0.0;
    unit.choices.push_back(as_is);
    for (const Setting& setting : subject_.settings) {
      const Uniform& here = uniform_.at(setting);
      const bool runs =
          std::all_of(unit.layers.begin(), unit.layers.end(),
                      [&](const std::string& layer) { return here.layer_of.count(layer) != 0; });
      if (runs && !is_known(unit, setting)) {
        unit.choices.push_back({setting, 0, 0.0, std::nullopt, 0});
      }
    }
    if (unit.choices.size() > 1) result.push_back(std::move(unit));
  }
  return result;
}

std::vector<size_t> Workbench::indices(const Uniform& uniform,
                                       const std::vector<std::string>& layers) const {
  std::vector<size_t> result;
  for (const std::string& layer : layers) result.push_back(uniform.layer_of.at(layer));
  return result;
}

int64_t Workbench::bytes_of(const std::vector<std::string>& layers, const Setting& setting) const {
  const Uniform& from = setting.is_float() ? uniform_.begin()->second : uniform_.at(setting);
  const auto chosen = indices(from, layers);
  int64_t bytes = 0;
  for (const size_t i : chosen) {
    const auto& weights = from.plan.layers[i].weights;
    if (!weights) continue;
    bytes += static_cast<int64_t>(from.prepared.value(weights->weights).constant.bytes());
    if (weights->bias == kNoValue) continue;
    bytes += static_cast<int64_t>(from.prepared.value(weights->bias).constant.bytes());
  }
  if (setting.is_float()) return bytes;
  const PlanPart part = part_of_plan(from.prepared, from.plan, from.placeholder, chosen);
  const Graph quantized = insert_qdq(from.prepared, part.plan, part.calibration);
  return bytes + constant_bytes(quantized) - constant_bytes(from.prepared);
}

Graph Workbench::alone(const std::vector<std::string>& layers, const Setting& setting,
                       const Progress& progress) {
  const Uniform& from = uniform_.at(setting);
  auto found = calibrations_.find(setting);
  if (found == calibrations_.end()) {
    const Options& base = subject_.base;
    found = calibrations_
                .emplace(setting, calibrate(from.prepared, from.plan, base, *subject_.calibration,
                                            progress, {}, &cache_)
                                      .calibration)
                .first;
  }
  // What the units between them round, such as the tensor that is split into q, k and v, belongs to
  // those that read it: without it, the losses of neighbours are no hint of what both lose
  // together.
  const PlanPart part = part_of_plan(from.prepared, from.plan, found->second, indices(from, layers),
                                     PartInputs::kPathOfCodes);
  return insert_qdq(from.prepared, part.plan, part.calibration);
}

QuantizeResult Workbench::quantized(const std::vector<Unit>& units, const Assignment& assignment,
                                    const Progress& progress) {
  std::map<std::string, Setting> chosen;
  for (size_t u = 0; u < units.size(); ++u) {
    for (const std::string& layer : units[u].layers) {
      chosen[layer] = units[u].choices[assignment[u]].setting;
    }
  }
  std::vector<LayerSetting> settings;
  for (const Layer& layer : layers_) {
    const auto found = chosen.find(layer.name);
    settings.push_back(
        {layer.name, layer.has_weights, found == chosen.end() ? Setting() : found->second});
  }
  return quantize(*subject_.graph, with_settings(subject_.base, std::move(settings)),
                  *subject_.calibration, progress, {}, &cache_);
}

}  // namespace ounce::quantize::search
