#include "report/quantization.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <string>

#include "graph/operator.h"

namespace ounce::report {
namespace {

constexpr int kFloatBits = 32;
/// Bars of a histogram on the page; the observers count in finer bins.
constexpr int kShownBins = 128;

std::map<std::string, const quantize::LayerRecord*> records_by_node(
    const quantize::QuantizeResult& result) {
  std::map<std::string, const quantize::LayerRecord*> records;
  for (const quantize::LayerRecord& record : result.layers) records[record.node] = &record;
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
  layer.activation_bits = activation_bits;
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

Histogram histogram_of(const quantize::GridRecord& grid) {
  Histogram shown;
  shown.tensor = grid.value;
  shown.low = grid.histogram.interval().low;
  shown.high = shown.low + grid.histogram.width() * grid.histogram.bins();
  shown.range_low = grid.chosen.low;
  shown.range_high = grid.chosen.high;
  shown.bits = grid.bits;
  shown.rule = grid.rule;
  shown.sqnr_db = grid.sqnr_db;
  const std::span<const uint64_t> counts = grid.histogram.counts();
  const size_t together = (counts.size() + kShownBins - 1) / kShownBins;
  for (size_t begin = 0; begin < counts.size(); begin += together) {
    const size_t end = std::min(begin + together, counts.size());
    shown.counts.push_back(static_cast<double>(
        std::accumulate(counts.begin() + static_cast<std::ptrdiff_t>(begin),
                        counts.begin() + static_cast<std::ptrdiff_t>(end), uint64_t{0})));
  }
  return shown;
}

void add_histograms(Compression& report, const quantize::QuantizeResult& result, size_t worst) {
  std::vector<const quantize::GridRecord*> grids;
  for (const quantize::GridRecord& grid : result.grids) {
    if (grid.histogram.total() > 0) grids.push_back(&grid);
  }
  std::stable_sort(grids.begin(), grids.end(),
                   [](const auto* a, const auto* b) { return a->sqnr_db < b->sqnr_db; });
  grids.resize(std::min(grids.size(), worst));
  for (const quantize::GridRecord* grid : grids) report.histograms.push_back(histogram_of(*grid));
}

}  // namespace

void add_quantization(Compression& report, const quantize::QuantizeResult& result, size_t worst) {
  const auto records = records_by_node(result);
  for (const Node& node : result.prepared.nodes) {
    const auto record = records.find(node.name);
    if (record == records.end() && !quantize::is_heavy(node)) continue;
    report.layers.push_back(layer_of(node, record == records.end() ? nullptr : record->second,
                                     macs_of(result.prepared, node)));
  }
  for (const quantize::KeptFloat& kept : result.kept_float) {
    report.kept_float.push_back({kept.node, kept.op, kept.reason});
  }
  add_histograms(report, result, worst);
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
