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
      : prepared_(prepared),
        index_(prepared),
        shapes_(shapes),
        progress_(progress),
        request_(options) {
    settled_.options = options;
    plan_anew();
  }

  Guarded run(InputSource& source) {
    constexpr int kRuns = 8;
    constexpr int kRounds = 6;
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

  /// What the noisy pieces get, by node.
  struct Remedies {
    std::set<int> activations;  // to 8 bits
    std::set<int> weights;      // the same
    std::set<int> per_token;
    Exclusions noisy;

    bool empty() const {
      return activations.empty() && weights.empty() && per_token.empty() && noisy.empty();
    }
  };

  /// Whether anything had to be done.
  bool settle(const Comparison& comparison) {
    Remedies remedies;
    for (const TensorComparison& tensor : comparison.tensors) {
      const int bits = bits_about(prepared_, settled_.plan, tensor.node);
      const double limit = settled_.options.least_db_per_bit * bits;
      const ValueId value = prepared_.find_value(tensor.value);
      const int producer = value == kNoValue ? -1 : index_.producer(value);
      if (bits < settled_.options.fewest_guarded_bits || producer < 0) continue;
      const double kept = tensor.own.sqnr_db;
      const bool is_noisy = kept < limit;
      if (is_noisy) widened_.insert(tensor.node);
      if (widened_.count(tensor.node) != 0 && kept < settled_.options.least_db_per_bit * kMaxBits &&
          widen(producer, value, remedies)) {
        continue;
      }
      if (!is_noisy) continue;
      char text[96];
      std::snprintf(text, sizeof text, "too noisy on integers: %.1f dB of %.1f dB wanted", kept,
                    limit);
      find_remedy(producer, value, text, remedies);
    }
    apply(remedies);
    return !remedies.empty();
  }

  /// Whether 8 bits were to be had.
  bool widen(int producer, ValueId value, Remedies& remedies) const {
    std::vector<int> narrow = layers_on_grid_of(value);
    narrow.push_back(producer);
    std::erase_if(narrow, [&](int node) { return !has_narrow_activations(node); });
    remedies.activations.insert(narrow.begin(), narrow.end());
    if (!narrow.empty()) return true;
    if (!has_narrow_weights(producer)) return false;
    remedies.weights.insert(producer);
    return true;
  }

  void find_remedy(int producer, ValueId value, const std::string& reason,
                   Remedies& remedies) const {
    const std::vector<int> tokens = token_layers(producer, value);
    if (!tokens.empty()) {
      remedies.per_token.insert(tokens.begin(), tokens.end());
      return;
    }
    for (const int node : culprits(producer, value)) remedies.noisy[name_of(node)] = reason;
  }

  void apply(const Remedies& remedies) {
    const auto give = [&](int node, const char* key, const char* setting, const char* what) {
      progress_.tell(name_of(node) + " gets " + what);
      settled_.options.overrides.push_back({name_of(node), key, setting});
    };
    for (const auto* nodes : {&remedies.activations, &remedies.weights}) {
      for (const int node : *nodes) settled_.widened.insert(name_of(node));
    }
    for (const int node : remedies.activations) {
      give(node, "activations", "8", "activations of 8 bits: too noisy with fewer");
    }
    for (const int node : remedies.weights) {
      give(node, "weights", "8", "weights of 8 bits: too noisy with fewer");
    }
    for (const int node : remedies.per_token) {
      give(node, "dynamic", "token", "a grid a token: too noisy with one for all");
      per_token_.insert(node);
    }
    for (const auto& [node, reason] : remedies.noisy) {
      progress_.tell(node + " stays in float: " + reason);
    }
    settled_.exclusions.insert(remedies.noisy.begin(), remedies.noisy.end());
  }

  const LayerPlan* layer_at(int node) const {
    const auto found = layers_.find(node);
    return found == layers_.end() ? nullptr : found->second;
  }

  /// Whether the options that the guard was given name this of the node.
  bool was_asked(int node, std::string_view key) const {
    return is_overridden(request_, prepared_.nodes[static_cast<size_t>(node)], key);
  }

  bool has_narrow_activations(int node) const {
    const LayerPlan* layer = layer_at(node);
    return layer != nullptr && !layer->weight_only && !layer->reads_signs() &&
           layer->settings.activation_bits < kMaxBits && !was_asked(node, "activations");
  }

  bool has_narrow_weights(int node) const {
    const LayerPlan* layer = layer_at(node);
    return layer != nullptr && layer->weights && layer->settings.weights.bits < kMaxBits &&
           !layer->reads_signs() && !was_asked(node, "weights");
  }

  /// Layers that read the codes of a value, wherever these are moved to before: its grid has the
  /// bits that they want.
  std::vector<int> layers_on_grid_of(ValueId value) const {
    const Plan& plan = settled_.plan;
    const int grid = plan.grid_of[static_cast<size_t>(value)];
    std::vector<int> layers;
    for (const LayerPlan& layer : plan.layers) {
      const std::vector<ValueId>& inputs = prepared_.nodes[static_cast<size_t>(layer.node)].inputs;
      const bool reads = std::any_of(inputs.begin(), inputs.end(), [&](ValueId id) {
        return id != kNoValue && plan.grid_of[static_cast<size_t>(id)] == grid;
      });
      if (grid >= 0 && layer.reads_grid() && reads) layers.push_back(layer.node);
    }
    return layers;
  }

  /// Who reads the codes of a value.
  std::vector<int> code_readers(ValueId value) const {
    std::vector<int> readers;
    for (const int reader : index_.consumers(value)) {
      if (settled_.plan.reads_codes(index_, reader, value)) readers.push_back(reader);
    }
    return readers;
  }

  /// Layers whose grids a token would help: that which makes the noisy value, or those that read it
  /// when all do that could.
  std::vector<int> token_layers(int producer, ValueId value) const {
    if (takes_tokens(producer)) return {producer};
    std::vector<int> readers = code_readers(value);
    const bool all = std::all_of(readers.begin(), readers.end(),
                                 [&](int reader) { return takes_tokens(reader); });
    return all ? readers : std::vector<int>();
  }

  bool takes_tokens(int node) const {
    const LayerPlan* layer = layer_at(node);
    if (layer == nullptr || !layer->weights || !layer->reads_grid() ||
        layer->settings.ternary_activations) {
      return false;
    }
    const std::string& op = prepared_.nodes[static_cast<size_t>(node)].op;
    return op != "Conv" && op != "ConvTranspose" && !was_asked(node, "activations") &&
           !was_asked(node, "dynamic") && per_token_.count(node) == 0;
  }

  /// What has to stay in float. A layer or function that is noisy by itself; where the codes of its
  /// result alone are, the layers that read them.
  std::vector<int> culprits(int producer, ValueId value) const {
    if (settled_.exclusions.count(name_of(producer)) == 0 && loses_by_itself(producer)) {
      return {producer};
    }
    return code_readers(value);
  }

  /// Nodes on integers, layers that read signs, and those that got their grids here.
  bool loses_by_itself(int node) const {
    if (settled_.plan.on_integers[static_cast<size_t>(node)] || per_token_.count(node) != 0)
      return true;
    const LayerPlan* layer = layer_at(node);
    return layer != nullptr && layer->reads_signs();
  }

  const std::string& name_of(int node) const {
    return prepared_.nodes[static_cast<size_t>(node)].name;
  }

  const Graph& prepared_;
  GraphIndex index_;
  const std::vector<Shape>& shapes_;
  const Progress& progress_;
  const Options& request_;
  Guarded settled_;
  std::map<int, const LayerPlan*> layers_;  // by node
  std::set<int> per_token_;                 // layers that got a grid a token
  std::set<std::string> widened_;           // nodes of pieces that were too noisy
};

}  // namespace

Guarded guard_plan(const Graph& prepared, const Options& options, const std::vector<Shape>& shapes,
                   InputSource& source, const Progress& progress) {
  return Guard(prepared, options, shapes, progress).run(source);
}

}  // namespace ounce::quantize
