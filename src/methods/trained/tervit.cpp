#include "methods/trained/tervit.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "methods/trained/attention.h"
#include "train/quantizers/running_range.h"
#include "train/quantizers/symmetric.h"
#include "train/quantizers/ternary.h"

namespace ounce::methods {
namespace {

constexpr int kActivationBits = 8;

bool is_one_of(std::string_view op, std::initializer_list<std::string_view> ops) {
  return std::find(ops.begin(), ops.end(), op) != ops.end();
}

/// Which input of a node has the node's values (moved, scaled or shifted); -1 of other nodes.
int carried_input(const Graph& graph, const Node& node) {
  if (is_one_of(node.op, {"Reshape", "Transpose", "Gather", "Slice", "Split", "Squeeze",
                          "Unsqueeze", "Flatten", "Identity"})) {
    return 0;
  }
  return scaled_input(graph, node);
}

/// Whether a value lies around 0, as norms, layers and sums leave it, and normalised pixels are.
/// GELU and softmax do not.
bool lies_around_zero(const Graph& graph, const GraphIndex& index, ValueId value) {
  for (int n = index.producer(value); n >= 0; n = index.producer(value)) {
    const Node& node = graph.nodes[static_cast<size_t>(n)];
    const int carried = carried_input(graph, node);
    if (carried < 0) {
      return is_one_of(node.op, {"LayerNormalization", "MatMul", "Gemm", "Conv", "Add"});
    }
    value = node.input(static_cast<size_t>(carried));
  }
  return true;
}

/// Puts the quantizers of all layers into a graph.
class TervitInserter {
 public:
  TervitInserter(const Graph& graph, const TervitSettings& settings)
      : graph_(graph),
        index_(graph),
        settings_(settings),
        ends_(end_layers(graph)),
        inserter_(graph) {}

  train::Student run() {
    for (const train::ProductLayer& layer : train::product_layers(graph_)) {
      const bool is_end = ends_[static_cast<size_t>(layer.node)];
      if (is_end && settings_.ends == Ends::kFloat) continue;
      activation(layer.node, 0);
      if (!layer.has_weights) {
        activation(layer.node, 1);
        continue;
      }
      inserter_.quantize(layer.node, 1, inserter_.shared_name(layer.node, 1),
                         [&] { return weight(layer, is_end); });
    }
    return inserter_.finish();
  }

 private:
  void activation(int node, size_t operand) {
    const ValueId value = graph_.nodes[static_cast<size_t>(node)].input(operand);
    inserter_.quantize(node, operand, inserter_.shared_name(node, operand), [&] {
      train::RunningRangeOptions options;
      options.bits = kActivationBits;
      options.symmetric = lies_around_zero(graph_, index_, value);
      return std::make_shared<train::RunningRange>(options);
    });
  }

  std::shared_ptr<train::Quantizer> weight(const train::ProductLayer& layer, bool is_end) const {
    const train::Slices channels = {layer.channel_axis, layer.channels};
    if (is_end || settings_.weights == TervitSettings::Weights::kEightBits) {
      return std::make_shared<train::SymmetricWeight>(train::SymmetricWeightOptions{
          .bits = 8, .channels = channels, .clip_value = settings_.clip});
    }
    const bool by_channel = settings_.scales == TervitSettings::Scales::kChannel;
    return std::make_shared<train::Ternary>(train::TernaryOptions{
        .channels = by_channel ? channels : train::Slices{}, .clip_value = settings_.clip});
  }

  const Graph& graph_;
  GraphIndex index_;
  TervitSettings settings_;
  std::vector<bool> ends_;  // by node
  train::FakeQuantInserter inserter_;
};

class Tervit final : public TrainedMethod {
 public:
  explicit Tervit(const TervitSettings& settings) : settings_(settings) {}

  train::Student student(const Graph& network) override { return tervit(network, settings_); }

  /// What is deployed is static: the network learns with its final ranges for a while.
  void after_step(train::Module& module, const train::Progress& progress) override {
    const auto done = static_cast<double>(progress.step + 1);
    if (done < static_cast<double>(progress.steps) * (1.0 - settings_.hold)) return;
    for (const auto& [name, quantizer] : module.quantizers()) {
      auto* range = dynamic_cast<train::FollowsData*>(quantizer.get());
      if (range != nullptr && !range->held()) range->hold(true);
    }
  }

 private:
  TervitSettings settings_;
};

}  // namespace

train::Student tervit(const Graph& graph, const TervitSettings& settings) {
  return TervitInserter(graph, settings).run();
}

TervitSettings read_tervit_settings(Settings& stage) {
  using Weights = TervitSettings::Weights;
  TervitSettings settings;
  settings.ends = read_ends(stage, settings.ends);
  if (stage.is_integer("weights")) {
    if (stage.integer("weights", 2, 8) != 8) {
      throw stage.error("weights", "are ternary or have 8 bits", "weights = \"ternary\"");
    }
    settings.weights = Weights::kEightBits;
  } else {
    stage.choice("weights", {"ternary"});
  }
  if (const auto scales = stage.choice("scales", {"channel", "layer"})) {
    settings.scales = static_cast<TervitSettings::Scales>(*scales);
    if (settings.weights != Weights::kTernary) {
      throw stage.error("scales", "are those of ternary weights; 8-bit ones have one a channel",
                        "weights = \"ternary\"");
    }
  }
  settings.clip = stage.number("clip", 1e-6, 1e6).value_or(settings.clip);
  settings.hold = stage.number("hold", 0, 1).value_or(settings.hold);
  return settings;
}

std::unique_ptr<TrainedMethod> read_tervit(Settings& stage) {
  return std::make_unique<Tervit>(read_tervit_settings(stage));
}

}  // namespace ounce::methods
