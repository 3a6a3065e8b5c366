#include <sstream>

#include "quantize/plan/plan.h"
#include "quantize/plan/plan_notes.h"

namespace ounce::quantize {
namespace {

void write_layer(std::ostream& out, const Graph& graph, const Plan& plan, const LayerPlan& layer) {
  const Node& node = graph.nodes[static_cast<size_t>(layer.node)];
  const WeightOptions& weights = layer.settings.weights;
  out << "layer " << node.name << " (" << node.op << "): ";
  if (layer.weights) {
    out << "weights " << bits_phrase(weights.bits, weights.ternary) << " per "
        << name_of(weights.granularity);
    if (weights.granularity == Granularity::kGroup) out << " of " << weights.group_size;
    out << ' ' << name_of(rule_of(weights)) << ", ";
  }
  if (layer.weight_only) {
    out << "activations float";
  } else {
    out << "activations "
        << bits_phrase(layer.settings.activation_bits, layer.settings.ternary_activations);
    if (layer.reads_dynamic_grid()) {
      out << " dynamic per " << name_of(layer.settings.activation_grid);
    }
  }
  if (layer.map_bits > 0) {
    out << ", softmax map " << name_of(plan.softmax) << ' ' << layer.map_bits << " bit";
  }
  out << (layer.is_end ? ", first or last layer\n" : "\n");
}

void write_binarizer(std::ostream& out, const Graph& graph, const BinarizerPlan& binarizer) {
  out << "binarize " << graph.value(binarizer.value).name << ": "
      << (binarizer.is_unsigned ? "0 and 1" : "signs") << '\n';
}

void write_grid(std::ostream& out, const Graph& graph, const GridPlan& grid) {
  out << "grid " << graph.value(grid.values.front()).name;
  if (grid.values.size() > 1) out << " and " << grid.values.size() - 1 << " more";
  out << ": " << bits_phrase(grid.bits, grid.ternary) << ' ';
  if (grid.table >= 0) {
    out << "index of the table of " << graph.nodes[static_cast<size_t>(grid.table)].op << '\n';
    return;
  }
  out << name_of(rule_of(grid.range, grid.ternary));
  if (grid.lower_bound) {
    out << ", at least " << grid.lower_bound->value << (grid.lower_bound->tight ? "" : " (loose)");
  }
  out << '\n';
}

}  // namespace

std::string to_text(const Graph& graph, const Plan& plan) {
  std::ostringstream out;
  for (const LayerPlan& layer : plan.layers) write_layer(out, graph, plan, layer);
  for (const GridPlan& grid : plan.grids) write_grid(out, graph, grid);
  for (const BinarizerPlan& binarizer : plan.binarizers) write_binarizer(out, graph, binarizer);
  for (const ValueId id : plan.embeddings) {
    out << "store " << graph.value(id).name << ": 8 bit per row\n";
  }
  for (const KeptFloat& kept : plan.kept_float) {
    out << "float " << kept.node << " (" << kept.op << "): " << kept.reason << '\n';
  }
  for (const PlanNote& note : plan_notes(graph, plan)) {
    out << note.topic << ": " << note.text << '\n';
  }
  return out.str();
}

}  // namespace ounce::quantize
