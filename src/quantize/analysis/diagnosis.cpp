#include "quantize/analysis/diagnosis.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <optional>

#include "quantize/analysis/weight_diagnosis.h"
#include "quantize/isolate.h"
#include "quantize/node_kind.h"
#include "quantize/transforms/equalization.h"
#include "quantize/transforms/norm_fold.h"
#include "quantize/transforms/value_heads.h"

namespace ounce::quantize {
namespace {

/// Half of a bit: a range that would halve the noise is worth naming, one that saves less is not.
constexpr double kMuchBetter = 2.0;
/// Three bits of every code go to telling the largest channel from the others.
constexpr double kOutlierRatio = 8.0;
/// Of fewer codes a normal distribution over its range keeps less than about 14 dB.
constexpr double kFewCodes = 8.0;
/// So much of what attention hands on is noise of its own, were the rest perfect: 10 dB
/// (kBrokenDb).
constexpr double kLostAttention = 0.1;
/// Of fewer values, or fewer a channel, extents and shares are chance.
constexpr double kLeastValues = 256.0;
constexpr double kLeastValuesOfChannel = 16.0;
/// A range that reaches beyond the data by more was not chosen for them alone (a concatenation's).
constexpr float kSharedRange = 1.25F;

[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...) {
  char buffer[256];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

std::string setting(const std::string& layer, std::string_view key_and_value) {
  return "--set '" + layer + ":" + std::string(key_and_value) + "'";
}

/// More bits where there are more, else none at all.
std::string more_bits(const std::string& layer, int bits) {
  return setting(layer, bits < kMaxBits ? "activations=8" : "activations=float");
}

double width_of(Range range) {
  return std::max(0.0, static_cast<double>(range.high) - range.low);
}

/// How wide channels are, and which is the widest.
struct Spread {
  size_t widest = 0;
  double most = 0.0;
  double middling = 0.0;
};
Spread spread_of(const std::vector<Range>& channels) {
  Spread spread;
  std::vector<double> widths;
  for (size_t c = 0; c < channels.size(); ++c) {
    widths.push_back(width_of(channels[c]));
    if (widths.back() <= spread.most) continue;
    spread.most = widths.back();
    spread.widest = c;
  }
  const auto middle = widths.begin() + static_cast<int64_t>(widths.size() / 2);
  std::nth_element(widths.begin(), middle, widths.end());
  spread.middling = *middle;
  return spread;
}

std::optional<Diagnosis> asymmetric_softmax(const TensorStatistics& tensor,
                                            const std::string& layer) {
  const double lost = tensor.magnitude_at_zero / tensor.magnitude;
  if (lost < kLostAttention) return std::nullopt;
  Diagnosis found{Disease::kAsymmetricSoftmax, {}, {}, {}, {}};
  found.words = text(
      "%.0f %% of the entries of the softmax map round to 0 on %d bits, and with them %.0f %% of "
      "the "
      "attention",
      100 * tensor.at_zero / tensor.count, tensor.grid.bits, 100 * lost);
  const double logarithmic = std::min(tensor.log2_noise, tensor.log_sqrt2_noise);
  if (logarithmic < tensor.noise() || tensor.grid.bits <= kMostLogBits) {
    found.flag =
        tensor.log2_noise < tensor.log_sqrt2_noise ? "--softmax log2" : "--softmax log-sqrt2";
  } else {
    found.flag = more_bits(layer, tensor.grid.bits);
  }
  return found;
}

std::optional<Diagnosis> clipped_tail(const TensorStatistics& tensor, const std::string& layer) {
  const bool clipping_decides = tensor.clipping_noise > 0.5 * tensor.noise();
  if (!clipping_decides || tensor.widest_noise * kMuchBetter > tensor.noise()) return std::nullopt;
  Diagnosis found{Disease::kClippedTail, {}, {}, {}, {}};
  found.words = text(
      "%.2g %% of the values lie outside of %.4g .. %.4g and make %.0f %% of the noise; a range "
      "over "
      "all of them, %.4g .. %.4g, would have %.1f dB less",
      100 * tensor.clipped / tensor.count, static_cast<double>(tensor.grid.range.low),
      static_cast<double>(tensor.grid.range.high), 100 * tensor.clipping_noise / tensor.noise(),
      static_cast<double>(tensor.data.low), static_cast<double>(tensor.data.high),
      10.0 * std::log10(tensor.noise() / tensor.widest_noise));
  found.flag = layer.empty() ? "--method minmax" : setting(layer, "range=minmax");
  return found;
}

std::optional<Diagnosis> outlier_channel(const TensorStatistics& tensor, const std::string& layer) {
  const auto channels = static_cast<double>(tensor.channels.size());
  if (channels < 2 || tensor.count < kLeastValuesOfChannel * channels) return std::nullopt;
  const Spread spread = spread_of(tensor.channels);
  const double codes = spread.middling / tensor.grid.step;
  if (spread.middling <= 0.0 || spread.most < kOutlierRatio * spread.middling ||
      codes >= kFewCodes) {
    return std::nullopt;
  }
  Diagnosis found{Disease::kOutlierChannel, {}, {}, {}, {}};
  found.words = text(
      "channel %zu is %.0f times as wide (%.4g .. %.4g) as a middling one, which is left with %.1f "
      "of "
      "%d codes",
      spread.widest, spread.most / spread.middling,
      static_cast<double>(tensor.channels[spread.widest].low),
      static_cast<double>(tensor.channels[spread.widest].high), codes + 1, tensor.grid.codes());
  found.flag = layer.empty() ? "" : more_bits(layer, tensor.grid.bits);
  return found;
}

std::optional<Diagnosis> stretched_range(const TensorStatistics& tensor, const std::string& layer) {
  const bool is_shared =
      tensor.grid.range.high > kSharedRange * tensor.data.high + tensor.grid.step ||
      tensor.grid.range.low < kSharedRange * tensor.data.low - tensor.grid.step;
  if (is_shared || tensor.best_noise * kMuchBetter > tensor.noise()) return std::nullopt;
  Diagnosis found{Disease::kStretchedRange, {}, {}, {}, {}};
  found.words = text(
      "the range reaches out to %.4g .. %.4g for few values: %.0f %% round to 0, and a range that "
      "cuts "
      "them off would have %.1f dB less noise",
      static_cast<double>(tensor.grid.range.low), static_cast<double>(tensor.grid.range.high),
      100 * tensor.at_zero / tensor.count, 10.0 * std::log10(tensor.noise() / tensor.best_noise));
  found.flag = layer.empty() ? "--method mse" : setting(layer, "range=mse");
  return found;
}

/// The first layer behind a value that reads it, as it is or moved.
std::string reading_layer(const Graph& graph, const GraphIndex& index, ValueId value) {
  std::vector<ValueId> open = {value};
  for (size_t i = 0; i < open.size(); ++i) {
    for (const int reader : index.consumers(open[i])) {
      const Node& node = graph.nodes[static_cast<size_t>(reader)];
      if (is_heavy(node)) return node.name;
      const NodeKind kind = kind_of(graph, index, reader);
      const bool moves = kind == NodeKind::kMover || kind == NodeKind::kSelector ||
                         kind == NodeKind::kConcat || node.op == "Identity";
      if (!moves) continue;
      for (const ValueId output : node.outputs) {
        if (output != kNoValue) open.push_back(output);
      }
    }
  }
  return {};
}

bool is_softmax(const Graph& graph, const GraphIndex& index, const std::string& value) {
  const ValueId id = graph.find_value(value);
  const int producer = id == kNoValue ? -1 : index.producer(id);
  return producer >= 0 && graph.nodes[static_cast<size_t>(producer)].op == "Softmax";
}

/// Which transform moves the channels of each value about, as the option that asks for it.
std::map<ValueId, std::string> transforms_by_value(const Graph& graph) {
  std::map<ValueId, std::string> options;
  for (const ValueHeads& heads : value_heads(graph)) {
    for (const ValueId id : heads.values) options[id] = "--option rotation=hadamard";
  }
  for (const EqualizedPair& pair : equalized_pairs(graph)) {
    for (const ValueId id : pair.values) options[id] = "--option equalize=on";
  }
  for (const NormFold& fold : norm_folds(graph)) {
    for (const ValueId id : fold.values) options[id] = "--option norms=repq";
  }
  return options;
}

/// What a quantizer rounds, where its result is not only the index of tables.
std::vector<QuantizedValue> rounded_values(const Graph& exact, const Graph& quantized,
                                           const std::vector<SharedValue>& shared) {
  const GraphIndex index(quantized);
  const GraphIndex exact_index(exact);
  std::vector<QuantizedValue> values;
  for (const SharedValue& value : shared) {
    if (value.quantizer < 0 || value.seen == value.in_quantized) continue;
    const auto grid = chosen_grid(quantized, index, value.quantizer);
    if (!grid) continue;
    values.push_back({value.name, *grid, is_softmax(exact, exact_index, value.name)});
  }
  return values;
}

}  // namespace

std::string_view name_of(Disease disease) {
  constexpr std::string_view kNames[] = {"outlier channel",    "outlier weights",
                                         "clipped tail",       "stretched range",
                                         "asymmetric softmax", "saturated accumulator"};
  return kNames[static_cast<size_t>(disease)];
}

std::vector<Diagnosis> diagnose_tensor(const Graph& graph, const TensorStatistics& tensor,
                                       const std::string& layer) {
  if (tensor.count < kLeastValues || tensor.noise() <= 0.0 || tensor.signal <= 0.0) return {};
  std::optional<Diagnosis> found;
  if (is_softmax(graph, GraphIndex(graph), tensor.value)) {
    found = asymmetric_softmax(tensor, layer);
  } else {
    for (const auto test : {clipped_tail, outlier_channel, stretched_range}) {
      if (!found) found = test(tensor, layer);
    }
  }
  if (!found) return {};
  found->value = tensor.value;
  return {std::move(*found)};
}

std::vector<Diagnosis> diagnose(const Graph& exact, const Graph& quantized, InputSource& source,
                                int threads, const Progress& progress) {
  const std::vector<SharedValue> shared = shared_values(exact, quantized);
  const GraphIndex index(exact);
  const auto transforms = transforms_by_value(exact);
  std::map<std::string, std::vector<Diagnosis>, std::less<>> by_value;
  for (const TensorStatistics& tensor : measure_tensors(
           exact, rounded_values(exact, quantized, shared), source, threads, progress)) {
    const ValueId id = exact.find_value(tensor.value);
    by_value[tensor.value] = diagnose_tensor(exact, tensor, reading_layer(exact, index, id));
    for (Diagnosis& found : by_value[tensor.value]) {
      const auto transform = transforms.find(id);
      if (found.disease == Disease::kOutlierChannel && transform != transforms.end()) {
        found.flag = transform->second;
      }
    }
  }
  std::vector<Diagnosis> result;
  const GraphIndex quantized_index(quantized);
  for (const SharedValue& value : shared) {
    for (Diagnosis& found : by_value[value.name]) {
      found.node = value.node;
      result.push_back(std::move(found));
    }
    by_value[value.name].clear();
    const int producer = quantized_index.producer(value.in_quantized);
    for (Diagnosis& found : diagnose_weights(quantized, quantized_index, producer)) {
      found.value = value.name;
      result.push_back(std::move(found));
    }
  }
  return result;
}

}  // namespace ounce::quantize
