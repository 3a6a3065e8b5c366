#include "quantize/latency.h"

#include <map>
#include <numeric>
#include <set>

#include "engine/session.h"

namespace ounce::quantize {
namespace {

/// Which piece of work each node of the float graph belongs to: steps of either graph join the
/// nodes they compute.
class Pieces {
 public:
  explicit Pieces(const Graph& graph) {
    for (const Node& node : graph.nodes) number_.emplace(node.name, number_.size());
    parent_.resize(number_.size());
    std::iota(parent_.begin(), parent_.end(), size_t{0});
  }

  /// Number of a node of the float graph, or -1.
  int64_t find(const std::string& name) const {
    const auto found = number_.find(name);
    return found == number_.end() ? -1 : static_cast<int64_t>(found->second);
  }
  size_t root(size_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(size_t a, size_t b) { parent_[root(a)] = root(b); }

  void join_step(const engine::StepProfile& step) {
    int64_t first = -1;
    for (const std::string& name : step.nodes) {
      const int64_t node = find(name);
      if (node < 0) continue;
      if (first >= 0) join(static_cast<size_t>(first), static_cast<size_t>(node));
      first = node;
    }
  }

 private:
  std::map<std::string, size_t, std::less<>> number_;
  std::vector<size_t> parent_;
};

/// The first layer that reads the value a Q, DQ, Binarize or LogQuantize node converts: it asked
/// for the conversion.
std::map<std::string, std::string> conversion_owners(const Graph& prepared, const Plan& plan) {
  std::map<std::string, std::string> owners;
  const GraphIndex index(prepared);
  for (const GridPlan& grid : plan.grids) {
    for (const ValueId id : grid.values) {
      for (const int reader : index.consumers(id)) {
        if (!plan.reads_codes(index, reader, id)) continue;
        const std::string& value = prepared.value(id).name;
        const std::string& owner = prepared.nodes[static_cast<size_t>(reader)].name;
        for (const char* suffix : {"_QuantizeLinear", "_DequantizeLinear", "_Clip"}) {
          owners.emplace(value + suffix, owner);
        }
      }
    }
  }
  for (const LayerPlan& layer : plan.layers) {
    const Node& node = prepared.nodes[static_cast<size_t>(layer.node)];
    if (layer.map_bits > 0) {
      owners.emplace(prepared.value(node.input(0)).name + "_LogQuantize", node.name);
    }
    if (!layer.reads_signs()) continue;
    for (const ValueId id : node.inputs) {
      if (id != kNoValue) owners.emplace(prepared.value(id).name + "_Binarize", node.name);
    }
  }
  return owners;
}

/// Node of the float graph that a step's time is charged to, or -1.
int64_t owner_of(const Pieces& pieces, const engine::StepProfile& step,
                 const std::map<std::string, std::string>& conversions) {
  for (const std::string& name : step.nodes) {
    if (const int64_t node = pieces.find(name); node >= 0) return node;
  }
  for (const std::string& name : step.nodes) {
    const auto found = conversions.find(name);
    if (found != conversions.end()) return pieces.find(found->second);
  }
  return -1;
}

/// Fusion in the float graph names a step after the last node it computes (Attention after its
/// second product). What no float step names therefore belongs to the step that reads it.
void join_fused(Pieces& pieces, const Graph& prepared,
                std::span<const engine::StepProfile> float_steps) {
  std::set<size_t> timed;
  for (const engine::StepProfile& step : float_steps) {
    for (const std::string& name : step.nodes) {
      if (const int64_t node = pieces.find(name); node >= 0) {
        timed.insert(pieces.root(static_cast<size_t>(node)));
      }
    }
  }
  const GraphIndex index(prepared);
  for (size_t i = prepared.nodes.size(); i > 0; --i) {
    const size_t node = i - 1;
    const ValueId result = prepared.nodes[node].output(0);
    if (timed.count(pieces.root(node)) != 0 || result == kNoValue ||
        index.consumers(result).empty()) {
      continue;
    }
    const auto reader = static_cast<size_t>(index.consumers(result)[0]);
    const size_t reader_root = pieces.root(reader);
    pieces.join(node, reader);
    if (timed.count(reader_root) != 0) timed.insert(pieces.root(node));
  }
}

/// Planned layers of few bits whose step runs on a kernel of 8-bit weights.
std::vector<std::string> unpacked_layers(const Graph& prepared, const Plan& plan,
                                         std::span<const engine::StepProfile> steps) {
  std::set<std::string> on_bytes;
  for (const engine::StepProfile& step : steps) {
    if (step.kernel.find("_u8s8") == std::string::npos) continue;
    on_bytes.insert(step.nodes.begin(), step.nodes.end());
  }
  std::vector<std::string> names;
  for (const LayerPlan& layer : plan.layers) {
    const std::string& name = prepared.nodes[static_cast<size_t>(layer.node)].name;
    const bool narrow = layer.weights && layer.settings.weights.bits < kMaxBits;
    if (narrow && on_bytes.count(name) != 0) names.push_back(name);
  }
  return names;
}

}  // namespace

LatencyComparison compare_latency(const Graph& prepared, const Graph& quantized, const Plan& plan,
                                  std::span<const Tensor> inputs, int threads, int repetitions) {
  engine::SessionOptions options;
  options.threads = threads;
  options.profile = true;
  engine::Session exact(prepared, options);
  engine::Session integer(quantized, options);
  // The first runs build plans and warm caches; turns make disturbances hit both alike.
  for (int i = 0; i <= repetitions; ++i) {
    if (i == 1) {
      exact.reset_profile();
      integer.reset_profile();
    }
    exact.run(inputs);
    integer.run(inputs);
  }
  Pieces pieces(prepared);
  const auto exact_steps = exact.profile();
  const auto integer_steps = integer.profile();
  for (const auto& step : exact_steps) pieces.join_step(step);
  for (const auto& step : integer_steps) pieces.join_step(step);
  join_fused(pieces, prepared, exact_steps);

  LatencyComparison result;
  std::map<size_t, PieceTime> by_root;
  const auto conversions = conversion_owners(prepared, plan);
  const auto charge = [&](const engine::StepProfile& step, double PieceTime::*time, double& sum) {
    sum += step.median_ms;
    const int64_t node = owner_of(pieces, step, conversions);
    if (node >= 0) by_root[pieces.root(static_cast<size_t>(node))].*time += step.median_ms;
  };
  for (const auto& step : exact_steps) charge(step, &PieceTime::float_ms, result.float_ms);
  for (const auto& step : integer_steps)
    charge(step, &PieceTime::quantized_ms, result.quantized_ms);
  for (size_t i = 0; i < prepared.nodes.size(); ++i) {
    const auto found = by_root.find(pieces.root(i));
    if (found != by_root.end()) found->second.nodes.push_back(prepared.nodes[i].name);
  }
  for (const LayerPlan& layer : plan.layers) {
    const auto found = by_root.find(pieces.root(static_cast<size_t>(layer.node)));
    if (found == by_root.end()) continue;
    found->second.layers.push_back(prepared.nodes[static_cast<size_t>(layer.node)].name);
  }
  result.unpacked_layers = unpacked_layers(prepared, plan, integer_steps);
  for (auto& [root, piece] : by_root) result.pieces.push_back(std::move(piece));
  return result;
}

}  // namespace ounce::quantize
