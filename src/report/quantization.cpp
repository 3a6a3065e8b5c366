#include "report/quantization.h"

#include <algorithm>
#include <map>
#include <string>

#include "graph/operator.h"

namespace ounce::report {
namespace {

constexpr int kFloatBits = 32;
/// Bars of a histogram on the page; the observers count in finer bins.
constexpr int kShownBins = 128;

std::map<std::string, const quantize::LayerRecord*> records_by_node(
    const std::vector<quantize::LayerRecord>& layers) {
  std::map<std::string, const quantize::LayerRecord*> records;
  for (const quantize::LayerRecord& record : layers) records[record.node] = &record;
  return records;
}

Layer layer_of(const Node& node, const quantize::LayerRecord* record, int64_t macs) {
  Layer layer;
  layer.name = node.name;
  layer.op = node.op;
  layer.macs = macs;
  if (record == nullptr) return layer;
  layer.parameters = record->parameters;
  // A product of two activations has no weights: its second operand has the activations' bits.
  const int activation_bits = record->activation_bits > 0 ? record->activation_bits : kFloatBits;
  layer.weight_bits = record->weight_bits > 0 ? record->weight_bits : activation_bits;
  layer.ternary = record->ternary;
  layer.activation_bits = activation_bits;
  layer.ternary_activations = record->ternary_activations;
  layer.is_end = record->is_end;
  return layer;
}

int64_t macs_of(const Graph& graph, const Node& node) {
  const auto known = [&](ValueId id) {
    if (id == kNoValue) return true;
    const Value& value = graph.value(id);
    return value.is_constant() || (value.shape && concrete(*value.shape));
  };
  const bool all_known = std::all_of(node.inputs.begin(), node.inputs.end(), known) &&
                         std::all_of(node.outputs.begin(), node.outputs.end(), known);
  return all_known ? cost_of(graph, node).macs : 0;
}

TensorError error_of(const quantize::TensorComparison& tensor) {
  return {.name = tensor.node,
          .op = tensor.op,
          .tensor = tensor.value,
          .own_sqnr_db = tensor.own.sqnr_db,
          .accumulated_sqnr_db = tensor.accumulated.sqnr_db,
          .own_cosine = tensor.own.cosine,
          .accumulated_cosine = tensor.accumulated.cosine,
          .own_relative = tensor.own.relative_l2,
          .accumulated_relative = tensor.accumulated.relative_l2};
}

Histogram histogram_of(const quantize::TensorHistogram& tensor) {
  Histogram shown;
  shown.tensor = tensor.value;
  shown.low = tensor.data.low;
  shown.high = tensor.data.high;
  shown.range_low = tensor.chosen.low;
  shown.range_high = tensor.chosen.high;
  shown.bits = tensor.bits;
  shown.sqnr_db = tensor.own_sqnr_db;
  const std::vector<uint64_t>& counts = tensor.counts;
  const size_t together = std::max<size_t>(1, counts.size() / kShownBins);
  // Bins must be equally wide: a remainder that fills no bar is added to the last one.
  for (size_t i = 0; i < counts.size(); ++i) {
    const size_t bar = i / together;
    if (bar == shown.counts.size() && counts.size() - i >= together) shown.counts.push_back(0);
    shown.counts.back() += static_cast<double>(counts[i]);
  }
  return shown;
}

}  // namespace

std::vector<Layer> layers_of(const Graph& prepared,
                             const std::vector<quantize::LayerRecord>& records) {
  const auto by_node = records_by_node(records);
  std::vector<Layer> layers;
  for (const Node& node : prepared.nodes) {
    const auto record = by_node.find(node.name);
    if (record == by_node.end() && !quantize::is_heavy(node)) continue;
    layers.push_back(layer_of(node, record == by_node.end() ? nullptr : record->second,
                              macs_of(prepared, node)));
  }
  return layers;
}

void add_quantization(Compression& report, const quantize::QuantizeResult& result) {
  report.layers = layers_of(result.prepared, result.layers);
  for (const quantize::KeptFloat& kept : result.kept_float) {
    report.kept_float.push_back({kept.node, kept.op, kept.reason});
  }
}

std::vector<TensorError> errors_of(const quantize::Comparison& comparison) {
  std::vector<TensorError> errors;
  for (const quantize::TensorComparison& tensor : comparison.tensors) {
    errors.push_back(error_of(tensor));
  }
  return errors;
}

Examination examination_of(const quantize::Comparison& comparison,
                           const std::vector<quantize::Diagnosis>& diagnoses,
                           const quantize::Sensitivity& sensitivity) {
  Examination result;
  for (const quantize::TensorComparison& tensor : comparison.tensors) {
    if (tensor.value == comparison.first_broken) result.first_broken = error_of(tensor);
  }
  for (const quantize::Diagnosis& one : diagnoses) {
    result.diagnoses.push_back(
        {std::string(quantize::name_of(one.disease)), one.node, one.value, one.words, one.flag});
  }
  for (const quantize::LayerSensitivity& layer : sensitivity.layers) {
    result.layers.push_back({layer.node, layer.op, layer.alone_db, layer.restored_db});
  }
  result.all_db = sensitivity.all_db;
  result.runs = sensitivity.runs;
  return result;
}

std::vector<Histogram> histograms_of(const quantize::Comparison& comparison,
                                     const quantize::QuantizeResult& result) {
  std::map<std::string, std::string> rules;
  for (const quantize::GridRecord& grid : result.grids) {
    for (const std::string& value : grid.values) rules.emplace(value, grid.rule);
  }
  std::vector<Histogram> histograms;
  for (const quantize::TensorHistogram& tensor : comparison.histograms) {
    histograms.push_back(histogram_of(tensor));
    histograms.back().rule = rules[tensor.value];
  }
  return histograms;
}

void add_latency(Compression& report, const quantize::LatencyComparison& latency,
                 const Graph& graph) {
  std::map<std::string, size_t> position;
  for (size_t i = 0; i < graph.nodes.size(); ++i) position[graph.nodes[i].name] = i;
  std::vector<std::pair<size_t, PieceTime>> pieces;
  for (const quantize::PieceTime& piece : latency.pieces) {
    PieceTime row;
    row.name = !piece.layers.empty() ? piece.layers[0] : !piece.nodes.empty() ? piece.nodes[0] : "";
    row.nodes = static_cast<int>(piece.nodes.size());
    row.float_ms = piece.float_ms;
    row.quantized_ms = piece.quantized_ms;
    const auto at = position.find(row.name);
    if (at != position.end()) row.op = graph.nodes[at->second].op;
    pieces.emplace_back(at != position.end() ? at->second : graph.nodes.size(), std::move(row));
  }
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [at, row] : pieces) report.pieces.push_back(std::move(row));
}

}  // namespace ounce::report
