#include "quantize/transforms/equalization.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

#include "quantize/node_kind.h"
#include "quantize/transforms/channel_axis.h"
#include "quantize/transforms/layer_edits.h"
#include "quantize/transforms/window_trial.h"

namespace ounce::quantize {
namespace {

const Node& at(const Graph& graph, int node) {
  return graph.nodes[static_cast<size_t>(node)];
}

/// The channels that a layer's weights take in along their rows: input channel c of a convolution
/// of g groups lies at row c % (C / g) of the outputs of its group.
struct LayerChannels {
  ProductWeights product;
  int64_t outputs = 0;
  int64_t inputs = 0;  // of all groups
  int64_t taps = 1;    // weights of one output for one input
};

LayerChannels channels_of(const Graph& graph, const ProductWeights& product) {
  const Tensor& weights = graph.value(product.weights).constant;
  LayerChannels layer{product};
  layer.outputs = weights.shape()[static_cast<size_t>(product.axes.channel)];
  const int64_t reduction = weights.shape()[static_cast<size_t>(product.axes.reduction)];
  layer.inputs = reduction * product.groups;
  layer.taps = weights.size() / (layer.outputs * reduction);
  return layer;
}

/// Calls `use(weight, output, input)` for every weight of a layer.
template <class Weights, class Use>
void for_each_weight(const LayerChannels& layer, Weights weights, const Use& use) {
  const int64_t reduction = layer.inputs / layer.product.groups;
  const int64_t group_outputs = layer.outputs / layer.product.groups;
  const bool outputs_first = layer.product.axes.channel == 0;
  const int64_t rows = outputs_first ? layer.outputs : reduction;
  const int64_t columns = outputs_first ? reduction : layer.outputs;
  size_t i = 0;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t output = outputs_first ? row : column;
      const int64_t input = (outputs_first ? column : row) + output / group_outputs * reduction;
      for (int64_t tap = 0; tap < layer.taps; ++tap) use(weights[i++], output, input);
    }
  }
}

enum class Side { kOutputs, kInputs };

/// max |w| of each channel.
std::vector<float> ranges_of(const Graph& graph, int node, Side side) {
  const LayerChannels layer = channels_of(graph, *product_weights(graph, GraphIndex(graph), node));
  std::vector<float> ranges(
      static_cast<size_t>(side == Side::kOutputs ? layer.outputs : layer.inputs), 0.0F);
  for_each_weight(layer, graph.value(layer.product.weights).constant.data<float>(),
                  [&](float weight, int64_t output, int64_t input) {
                    float& range =
                        ranges[static_cast<size_t>(side == Side::kOutputs ? output : input)];
                    range = std::max(range, std::abs(weight));
                  });
  return ranges;
}

/// Whether f(s x) = s f(x) for every s > 0 of a channel.
bool is_homogeneous(const Graph& graph, const GraphIndex& index, int node) {
  const std::string_view op = at(graph, node).op;
  if (op == "Relu" || op == "LeakyRelu" || op == "MaxPool" || op == "Identity") return true;
  if (op == "PRelu") return graph.value(at(graph, node).input(1)).is_constant();
  const NodeKind kind = kind_of(graph, index, node);
  return kind == NodeKind::kMover || kind == NodeKind::kAverage ||
         (op == "ReduceMean" && graph.value(at(graph, node).input(1)).is_constant());
}

/// Where channels come to lie behind a node between two layers.
std::optional<int64_t> scaled_axis(const Graph& graph, const Node& node, int64_t axis) {
  if (node.op == "Relu" || node.op == "LeakyRelu" || node.op == "PRelu") return axis;
  if (node.op == "MaxPool" || node.op == "Pad" || node.op == "Resize") {
    return axis == 1 && extent_of(graph, node.input(0), 1) == extent_of(graph, node.output(0), 1)
               ? std::optional(axis)
               : std::nullopt;
  }
  return axis_behind(graph, node, axis);
}

/// The layer that alone reads what `first` makes.
std::optional<EqualizedPair> pair_behind(const Graph& graph, const GraphIndex& index, int first) {
  const auto product = product_weights(graph, index, first);
  if (!product) return std::nullopt;
  EqualizedPair pair;
  pair.first = first;
  pair.channels = channels_of(graph, *product).outputs;
  ValueId value = at(graph, first).output(0);
  pair.values.push_back(value);
  if (product->bias_node >= 0) {
    if (!index.has_single_use(value)) return std::nullopt;
    value = at(graph, product->bias_node).output(0);
    pair.values.push_back(value);
  }
  int64_t axis = at(graph, first).op == "Conv" ? 1 : rank_of(graph, value) - 1;
  while (index.has_single_use(value)) {
    const int reader = index.consumers(value)[0];
    const Node& node = at(graph, reader);
    if (node.input(0) != value) return std::nullopt;
    if (const auto second = product_weights(graph, index, reader)) {
      const bool fits = axis == (node.op == "Conv" ? 1 : rank_of(graph, value) - 1) &&
                        channels_of(graph, *second).inputs == pair.channels;
      if (!fits) return std::nullopt;
      pair.second = reader;
      return pair;
    }
    if (!is_homogeneous(graph, index, reader)) return std::nullopt;
    const auto behind = scaled_axis(graph, node, axis);
    if (!behind || node.outputs.size() != 1) return std::nullopt;
    axis = *behind;
    value = node.output(0);
    pair.values.push_back(value);
  }
  return std::nullopt;
}

/// Divides what a layer makes.
void divide_outputs(Graph& graph, int node, std::span<const float> scales) {
  const LayerChannels layer = channels_of(graph, *product_weights(graph, GraphIndex(graph), node));
  for_each_weight(layer, own_constant(graph, node, 1).mutable_data<float>(),
                  [&](float& weight, int64_t output, int64_t) {
                    weight /= scales[static_cast<size_t>(output)];
                  });
  if (layer.product.bias == kNoValue) return;
  const int holder = layer.product.bias_node >= 0 ? layer.product.bias_node : node;
  const std::vector<ValueId>& inputs = at(graph, holder).inputs;
  const auto input = std::find(inputs.begin(), inputs.end(), layer.product.bias);
  const std::span<float> bias =
      own_constant(graph, holder, static_cast<size_t>(input - inputs.begin()))
          .mutable_data<float>();
  for (size_t c = 0; c < bias.size(); ++c) bias[c] /= scales[c];
}

/// Which pairs end and which begin at a node.
struct Neighbours {
  int before = -1;
  int after = -1;
};

/// Trials of pairs: what a layer loses with its inputs and outputs scaled by the pairs kept so far.
class PairTrials {
 public:
  PairTrials(const Graph& graph, const Options& options, const std::vector<EqualizedPair>& pairs,
             const std::vector<std::vector<float>>& scales, const WindowTrials& windows)
      : graph_(graph),
        options_(options),
        pairs_(pairs),
        scales_(scales),
        windows_(windows),
        kept_(pairs.size(), true) {}

  /// Mean of both layers with and without the pair, all others as they are kept.
  void judge_pair(size_t i, const Progress& progress, TransformRecord& record) {
    std::vector<Strength> sides[2];
    for (const bool with : {false, true}) {
      kept_[i] = with;
      for (const int node : {pairs_[i].first, pairs_[i].second}) {
        if (const auto strength = strength_at(node)) sides[with ? 1 : 0].push_back(*strength);
      }
    }
    judge(mean_decibels(sides[0]), mean_decibels(sides[1]), progress, record);
    kept_[i] = record.kept;
  }

 private:
  std::vector<float> scales_at(int node, Side side) const {
    for (size_t i = 0; i < pairs_.size(); ++i) {
      const int mine = side == Side::kInputs ? pairs_[i].second : pairs_[i].first;
      if (mine == node && kept_[i]) return scales_[i];
    }
    return {};
  }

  std::optional<Strength> strength_at(int node) const {
    return windows_.strength(node, settings_for(options_, at(graph_, node)),
                             scales_at(node, Side::kInputs), scales_at(node, Side::kOutputs));
  }

  const Graph& graph_;
  const Options& options_;
  const std::vector<EqualizedPair>& pairs_;
  const std::vector<std::vector<float>>& scales_;
  const WindowTrials& windows_;
  std::vector<bool> kept_;
};

}  // namespace

std::vector<EqualizedPair> equalized_pairs(const Graph& graph) {
  const GraphIndex index(graph);
  std::vector<EqualizedPair> pairs;
  for (int i = 0; i < static_cast<int>(graph.nodes.size()); ++i) {
    if (kind_of(graph, index, i) != NodeKind::kProduct) continue;
    if (auto pair = pair_behind(graph, index, i)) pairs.push_back(std::move(*pair));
  }
  return pairs;
}

std::vector<std::vector<float>> equalizing_scales(const Graph& graph,
                                                  const std::vector<EqualizedPair>& pairs) {
  constexpr int kMostSweeps = 100;
  constexpr float kSettled = 1e-3F;
  Graph scratch = graph;
  std::vector<std::vector<float>> totals;
  for (const EqualizedPair& pair : pairs) {
    totals.emplace_back(static_cast<size_t>(pair.channels), 1.0F);
  }
  for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
    float most = 0.0F;
    for (size_t i = 0; i < pairs.size(); ++i) {
      const std::vector<float> made = ranges_of(scratch, pairs[i].first, Side::kOutputs);
      const std::vector<float> read = ranges_of(scratch, pairs[i].second, Side::kInputs);
      std::vector<float> scales(made.size(), 1.0F);
      for (size_t c = 0; c < scales.size(); ++c) {
        if (made[c] <= 0.0F || read[c] <= 0.0F) continue;
        scales[c] = std::sqrt(made[c] / read[c]);  // sqrt(r1 r2) / r2
        most = std::max(most, std::abs(std::log(scales[c])));
        totals[i][c] *= scales[c];
      }
      scale_pair(scratch, pairs[i], scales);
    }
    if (most < kSettled) break;
  }
  return totals;
}

void scale_pair(Graph& graph, const EqualizedPair& pair, std::span<const float> scales) {
  divide_outputs(graph, pair.first, scales);
  const LayerChannels layer =
      channels_of(graph, *product_weights(graph, GraphIndex(graph), pair.second));
  for_each_weight(
      layer, own_constant(graph, pair.second, 1).mutable_data<float>(),
      [&](float& weight, int64_t, int64_t input) { weight *= scales[static_cast<size_t>(input)]; });
}

void equalize(Graph& graph, const Options& options, InputSource& source, const Progress& progress,
              std::vector<TransformRecord>& records) {
  const std::vector<EqualizedPair> pairs = equalized_pairs(graph);
  if (pairs.empty()) return;
  const std::vector<std::vector<float>> scales = equalizing_scales(graph, pairs);
  std::vector<int> nodes;
  for (const EqualizedPair& pair : pairs) {
    nodes.push_back(pair.first);
    nodes.push_back(pair.second);
  }
  const WindowTrials windows(graph, nodes, source, options.threads, progress);
  // All are done first, and undone one by one: the middle of a chain of three would not let its
  // ends be judged one after the other.
  PairTrials trials(graph, options, pairs, scales, windows);
  for (size_t i = 0; i < pairs.size(); ++i) {
    TransformRecord& record = records.emplace_back();
    record.node = at(graph, pairs[i].first).name;
    record.kind = "equalization";
    trials.judge_pair(i, progress, record);
    if (!record.kept) continue;
    scale_pair(graph, pairs[i], scales[i]);
    for (const ValueId id : pairs[i].values) mark_changed(graph, id);
  }
}

}  // namespace ounce::quantize
