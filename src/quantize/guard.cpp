#include "quantize/guard.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "quantize/analysis/compare.h"
#include "quantize/insert_qdq.h"
#include "quantize/quantizer.h"

namespace ounce::quantize {
namespace {

/// Bits that the noisiest part of the piece behind `value` works with.
int bits_about(const Graph& prepared, const Plan& plan, const std::string& node) {
  int bits = kMaxBits;
  for (const LayerPlan& layer : plan.layers) {
    if (prepared.nodes[static_cast<size_t>(layer.node)].name != node) continue;
    if (layer.weights) bits = std::min(bits, layer.settings.weights.bits);
    if (!layer.weight_only) bits = std::min(bits, layer.settings.activation_bits);
    if (layer.map_bits > 0) bits = std::min(bits, layer.map_bits);
  }
  const GraphIndex index(prepared);
  for (const Node& candidate : prepared.nodes) {
    if (candidate.name != node) continue;
    for (const auto& ids : {candidate.inputs, candidate.outputs}) {
      for (const ValueId id : ids) {
        const int grid = id == kNoValue ? -1 : plan.grid_of[static_cast<size_t>(id)];
        if (grid >= 0) bits = std::min(bits, plan.grids[static_cast<size_t>(grid)].bits);
      }
    }
  }
  return bits;
}

class Guard {
 public:
  Guard(const Graph& prepared, const Options& options, const std::vector<Shape>& shapes,
        const Progress& progress)
      : prepared_(prepared), index_(prepared), shapes_(shapes), progress_(progress) {
    settled_.options = options;
    plan_anew();
  }

  Guarded run(InputSource& source) {
    constexpr int kRuns = 8;
    constexpr int kRounds = 4;
    FirstRuns few(source, kRuns);
    for (int round = 0; round < kRounds; ++round) {
      const Plan& plan = settled_.plan;
      const Calibrated trial = calibrate(prepared_, plan, settled_.options, few, progress_);
      CompareOptions comparing;
      comparing.threads = settled_.options.threads;
      comparing.histograms = 0;
      if (!settle(compare(prepared_, insert_qdq(prepared_, plan, trial.calibration), few, comparing,
                          progress_))) {
        break;
      }
      plan_anew();
    }
    return std::move(settled_);
  }

 private:
  void plan_anew() {
    settled_.plan = make_executable_plan(prepared_, settled_.options, shapes_, settled_.exclusions);
    layers_.clear();
    for (const LayerPlan& layer : settled_.plan.layers) layers_[layer.node] = &layer;
  }

  /// Whether anything had to be done.
  bool settle(const Comparison& comparison) {
    const Options& options = settled_.options;
    std::set<int> per_token;
    Exclusions noisy;
    for (const TensorComparison& tensor : comparison.tensors) {
      const int bits = bits_about(prepared_, settled_.plan, tensor.node);
      const double limit = options.least_db_per_bit * bits;
      if (bits < options.fewest_guarded_bits || tensor.own.sqnr_db >= limit) continue;
      const ValueId value = prepared_.find_value(tensor.value);
      const int producer = value == kNoValue ? -1 : index_.producer(value);
      if (producer < 0) continue;
      const std::vector<int> tokens = token_layers(producer, value);
      if (!tokens.empty()) {
        per_token.insert(tokens.begin(), tokens.end());
        continue;
      }
      char text[96];
      std::snprintf(text, sizeof text, "too noisy on integers: %.1f dB of %.1f dB wanted",
                    tensor.own.sqnr_db, limit);
      for (const int node : culprits(producer, value)) noisy[name_of(node)] = text;
    }
    for (const int node : per_token) {
      progress_.tell(name_of(node) + " gets a grid a token: too noisy with one for all");
      settled_.options.overrides.push_back({name_of(node), "dynamic", "token"});
      given_.insert(node);
    }
    for (const auto& [node, reason] : noisy) progress_.tell(node + " stays in float: " + reason);
    settled_.exclusions.insert(noisy.begin(), noisy.end());
    return !per_token.empty() || !noisy.empty();
  }

  /// Layers whose grids a token would help: that which makes the noisy value, or those that read it
  /// when all do that could.
  std::vector<int> token_layers(int producer, ValueId value) const {
    if (takes_tokens(producer)) return {producer};
    std::vector<int> readers;
    for (const int reader : index_.consumers(value)) {
      if (!settled_.plan.reads_codes(index_, reader, value)) continue;
      if (!takes_tokens(reader)) return {};
      readers.push_back(reader);
    }
    return readers;
  }

  bool takes_tokens(int node) const {
    const auto found = layers_.find(node);
    if (found == layers_.end() || !found->second->weights || !found->second->reads_grid() ||
        found->second->settings.ternary_activations) {
      return false;
    }
    const Node& layer = prepared_.nodes[static_cast<size_t>(node)];
    return layer.op != "Conv" && layer.op != "ConvTranspose" &&
           !is_overridden(settled_.options, layer, "activations") &&
           !is_overridden(settled_.options, layer, "dynamic");
  }

  /// What has to stay in float. A layer or function that is noisy by itself; where the codes of its
  /// result alone are, the layers that read them.
  std::vector<int> culprits(int producer, ValueId value) const {
    if (settled_.exclusions.count(name_of(producer)) == 0 && loses_by_itself(producer)) {
      return {producer};
    }
    std::vector<int> readers;
    for (const int reader : index_.consumers(value)) {
      if (settled_.plan.reads_codes(index_, reader, value)) readers.push_back(reader);
    }
    return readers;
  }

  /// Nodes on integers, layers that read signs, and those that got their grids here.
  bool loses_by_itself(int node) const {
    if (settled_.plan.on_integers[static_cast<size_t>(node)] || given_.count(node) != 0)
      return true;
    const auto found = layers_.find(node);
    return found != layers_.end() && found->second->reads_signs();
  }

  const std::string& name_of(int node) const {
    return prepared_.nodes[static_cast<size_t>(node)].name;
  }

  const Graph& prepared_;
  GraphIndex index_;
  const std::vector<Shape>& shapes_;
  const Progress& progress_;
  Guarded settled_;
  std::map<int, const LayerPlan*> layers_;  // by node
  std::set<int> given_;                     // layers that got a grid a token
};

}  // namespace

Guarded guard_plan(const Graph& prepared, const Options& options, const std::vector<Shape>& shapes,
                   InputSource& source, const Progress& progress) {
  return Guard(prepared, options, shapes, progress).run(source);
}

}  // namespace ounce::quantize
