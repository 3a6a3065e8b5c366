#include "quantize/analysis/weight_diagnosis.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>

#include "quantize/node_kind.h"

namespace ounce::quantize {
namespace {

/// As for activations: three bits go to the widest channel, and fewer than three are left.
constexpr double kOutlierRatio = 8.0;
constexpr double kFewCodes = 8.0;
/// Sums are held in 32 bits with a sign.
constexpr double kLargestSum = 2147483647.0;

/// A constant that is stored as codes.
struct Codes {
  std::vector<int64_t> codes;
  std::vector<float> scales;
  Shape shape;
  int64_t axis = 0;  // that scales count, where there are several
  int highest = 127;
};

std::optional<Codes> codes_of(const Graph& graph, const GraphIndex& index, ValueId id) {
  const int producer = id == kNoValue ? -1 : index.producer(id);
  if (producer < 0) return std::nullopt;
  const Node& node = graph.nodes[static_cast<size_t>(producer)];
  const Tensor* codes = graph.constant(node.input(0));
  const Tensor* scales = graph.constant(node.input(1));
  if (node.op != "DequantizeLinear" || codes == nullptr || scales == nullptr ||
      node.attributes.get_int("block_size", 0) != 0) {
    return std::nullopt;
  }
  Codes result{codes->to_i64(), scales->to_f32(), codes->shape(),
               node.attributes.get_int("axis", 1)};
  if (codes->dtype() == DType::i4) result.highest = 7;
  return result;
}

/// Step of the grid that a layer reads; nullopt where it reads floats.
std::optional<float> input_step(const Graph& graph, const GraphIndex& index, ValueId id) {
  const int producer = index.producer(id);
  if (producer < 0) return std::nullopt;
  const Node& node = graph.nodes[static_cast<size_t>(producer)];
  const Tensor* scale = graph.constant(node.input(1));
  if (node.op != "DequantizeLinear" || scale == nullptr || scale->size() != 1) return std::nullopt;
  return scale->to_f32()[0];
}

/// The largest code of each output channel, and the sum of all its codes' magnitudes.
struct ChannelCodes {
  std::vector<double> largest;
  std::vector<double> sums;
};
ChannelCodes channel_codes(const Codes& weights, int64_t axis) {
  const auto channels = static_cast<size_t>(weights.shape[static_cast<size_t>(axis)]);
  size_t inner = 1;
  for (size_t i = static_cast<size_t>(axis) + 1; i < weights.shape.size(); ++i) {
    inner *= static_cast<size_t>(weights.shape[i]);
  }
  ChannelCodes result{std::vector<double>(channels, 0.0), std::vector<double>(channels, 0.0)};
  for (size_t i = 0; i < weights.codes.size(); ++i) {
    const size_t channel = i / inner % channels;
    const auto magnitude = static_cast<double>(std::abs(weights.codes[i]));
    result.largest[channel] = std::max(result.largest[channel], magnitude);
    result.sums[channel] += magnitude;
  }
  return result;
}

std::optional<Diagnosis> outlier_weights(const Codes& weights, const ChannelCodes& channels,
                                         const std::string& layer) {
  if (weights.scales.size() != 1 || channels.largest.size() < 2) return std::nullopt;
  std::vector<double> widths = channels.largest;
  std::sort(widths.begin(), widths.end());
  const double middling = widths[widths.size() / 2];
  const double most = widths.back();
  if (middling <= 0.0 || most < kOutlierRatio * middling || 2 * middling >= kFewCodes) {
    return std::nullopt;
  }
  char words[160];
  std::snprintf(words, sizeof words,
                "the weights of one output channel are %.0f times as large as those of a middling "
                "one, which is left with %.0f codes",
                most / middling, 2 * middling + 1);
  return Diagnosis{Disease::kOutlierWeights, layer, {}, words, "--option granularity=channel"};
}

/// The bias of a layer in steps of its accumulator, one a channel.
std::vector<double> bias_steps(const Graph& graph, const GraphIndex& index, const Node& node,
                               const Codes& weights, float step) {
  if (const auto codes = codes_of(graph, index, node.input(2))) {
    return {codes->codes.begin(), codes->codes.end()};
  }
  // A MatMul's stands in the Add behind it, as floats.
  std::vector<double> steps;
  for (const int reader : index.consumers(node.output(0))) {
    const Node& add = graph.nodes[static_cast<size_t>(reader)];
    const Tensor* bias = graph.constant(add.input(1));
    if (bias == nullptr) bias = graph.constant(add.input(0));
    if (add.op != "Add" || bias == nullptr || bias->dtype() != DType::f32) continue;
    const std::vector<float> numbers = bias->to_f32();
    for (size_t c = 0; c < numbers.size(); ++c) {
      const float scale =
          weights.scales[weights.scales.size() == 1 ? 0 : c % weights.scales.size()];
      steps.push_back(static_cast<double>(numbers[c]) / (static_cast<double>(step) * scale));
    }
  }
  return steps;
}

std::optional<Diagnosis> saturated_accumulator(const Codes& weights, const ChannelCodes& channels,
                                               const std::vector<double>& bias,
                                               const std::string& layer) {
  constexpr double kLargestInput = 255.0;
  for (size_t c = 0; c < channels.largest.size(); ++c) {
    const double own = c < bias.size() ? std::abs(bias[c]) : 0.0;
    const double most = own + kLargestInput * channels.sums[c];
    char words[200];
    if (most >= kLargestSum) {
      std::snprintf(words, sizeof words,
                    "sums of output channel %zu can reach %.3g, of which its bias is %.3g; an "
                    "accumulator of 32 bits ends at %.3g",
                    c, most, own, kLargestSum);
      return Diagnosis{
          Disease::kSaturatedAccumulator, layer, {}, words, "--set '" + layer + ":weights=float'"};
    }
    // A scale of its own uses all codes, unless it was raised for the bias to fit.
    if (weights.scales.size() == 1 || channels.largest[c] == 0.0 || own < 0.25 * kLargestSum ||
        channels.largest[c] * kOutlierRatio > weights.highest) {
      continue;
    }
    std::snprintf(
        words, sizeof words,
        "the bias of output channel %zu is so large beside its weights that 32 bits hold it "
        "only in coarse steps: its weights keep codes up to %.0f of %d",
        c, channels.largest[c], weights.highest);
    return Diagnosis{
        Disease::kSaturatedAccumulator, layer, {}, words, "--set '" + layer + ":weights=float'"};
  }
  return std::nullopt;
}

}  // namespace

std::vector<Diagnosis> diagnose_weights(const Graph& quantized, const GraphIndex& index,
                                        int layer) {
  if (layer < 0) return {};
  const Node& node = quantized.nodes[static_cast<size_t>(layer)];
  if (node.op != "Conv" && node.op != "Gemm" && node.op != "MatMul") return {};
  const auto weights = codes_of(quantized, index, node.input(1));
  if (!weights || weights->shape.size() < 2) return {};
  const bool outputs_first =
      node.op == "Conv" || (node.op == "Gemm" && node.attributes.get_int("transB", 0) != 0);
  const ChannelCodes channels = channel_codes(*weights, outputs_first ? 0 : 1);
  std::vector<Diagnosis> result;
  if (auto found = outlier_weights(*weights, channels, node.name)) result.push_back(*found);
  if (const auto step = input_step(quantized, index, node.input(0))) {
    const std::vector<double> bias = bias_steps(quantized, index, node, *weights, *step);
    if (auto found = saturated_accumulator(*weights, channels, bias, node.name)) {
      result.push_back(*found);
    }
  }
  return result;
}

}  // namespace ounce::quantize
