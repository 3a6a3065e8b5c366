#include "quantize/plan/plan_notes.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "quantize/plan/ends.h"

namespace ounce::quantize {
namespace {

/// "3 Concat, 6 Sigmoid"
std::string counted(const std::map<std::string, int>& counts) {
  std::string text;
  for (const auto& [name, count] : counts) {
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + name;
  }
  return text;
}

class Notes {
 public:
  Notes(const Graph& graph, const Plan& plan)
      : graph_(graph),
        plan_(plan),
        index_(graph),
        ends_(ends_of(graph, [&](int node) { return is_layer(node); })) {
    for (const LayerPlan& layer : plan.layers) layer_of_[layer.node] = &layer;
  }

  std::vector<PlanNote> all() {
    for (int i = 0; i < static_cast<int>(graph_.nodes.size()); ++i) {
      if (!is_layer(i)) continue;
      if (ends_.first[index_of(i)]) note("first layer", layer_text(i));
      if (ends_.last[index_of(i)]) note("last layer", layer_text(i));
    }
    note_additions();
    note_softmax();
    note_decoding();
    for (const ValueId id : graph_.outputs) note_picture(id);
    return std::move(notes_);
  }

 private:
  static size_t index_of(int node) { return static_cast<size_t>(node); }
  const Node& at(int node) const { return graph_.nodes[index_of(node)]; }

  bool is_layer(int node) const {
    const ValueId output = at(node).output(0);
    return is_heavy(at(node)) && output != kNoValue && graph_.value(output).dtype == DType::f32 &&
           !graph_.value(output).is_constant();
  }

  void note(const char* topic, std::string text) { notes_.push_back({topic, std::move(text)}); }

  std::string reason_of(const Node& node) const {
    const auto kept = std::find_if(plan_.kept_float.begin(), plan_.kept_float.end(),
                                   [&](const KeptFloat& one) { return one.node == node.name; });
    return kept == plan_.kept_float.end() ? "" : kept->reason;
  }

  std::string layer_text(int node) const {
    const std::string name = at(node).name + " (" + at(node).op + ")";
    const auto found = layer_of_.find(node);
    if (found == layer_of_.end()) return name + ": float, " + reason_of(at(node));
    const LayerPlan& layer = *found->second;
    std::string text = name + ": ";
    bool narrow = false;
    if (layer.weights) {
      const WeightOptions& weights = layer.settings.weights;
      text += "weights " + bits_phrase(weights.bits, weights.ternary) + ", ";
      narrow = weights.bits < kMaxBits;
    }
    if (layer.weight_only) {
      text += "activations float";
    } else {
      text += "activations " +
              bits_phrase(layer.settings.activation_bits, layer.settings.ternary_activations);
      narrow = narrow || layer.settings.activation_bits < kMaxBits;
    }
    return narrow ? text + " (--option keep-ends8=on: 8 bit)" : text;
  }

  void note_additions() {
    int codes = 0;
    std::map<std::string, int> reasons;
    for (int i = 0; i < static_cast<int>(graph_.nodes.size()); ++i) {
      // Behind the last layers additions decode.
      if (kind_of(graph_, index_, i) != NodeKind::kAdd || ends_.decodes(i)) continue;
      if (plan_.on_integers[index_of(i)]) {
        ++codes;
      } else {
        ++reasons[reason_of(at(i))];
      }
    }
    if (codes > 0) note("residual additions", std::to_string(codes) + " on codes");
    for (const auto& [reason, count] : reasons) {
      note("residual additions", std::to_string(count) + " in float: " + reason);
    }
  }

  /// How the product of attention behind a softmax reads its map; empty: none does.
  std::string map_text(int softmax) const {
    for (const int reader : index_.consumers(at(softmax).output(0))) {
      if (kind_of(graph_, index_, reader) != NodeKind::kActivationProduct) continue;
      const auto found = layer_of_.find(reader);
      if (found == layer_of_.end()) return "read as floats";
      const LayerPlan& layer = *found->second;
      const std::string bits = std::to_string(layer.settings.activation_bits) + " bit";
      if (layer.map_bits > 0) {
        return "read as " + std::string(name_of(plan_.softmax)) + " codes of " +
               std::to_string(layer.map_bits) + " bit";
      }
      return layer.reads_signs() ? "read as 0 and 1" : "read on a grid of " + bits;
    }
    return {};
  }

  void note_softmax() {
    std::map<std::string, int> counts;
    for (int i = 0; i < static_cast<int>(graph_.nodes.size()); ++i) {
      if (at(i).op != "Softmax") continue;
      const std::string text = map_text(i);
      if (!text.empty()) ++counts[text];
    }
    for (const auto& [text, count] : counts) {
      note("softmax maps", std::to_string(count) + " computed in float, " + text);
    }
  }

  void note_decoding() {
    std::map<std::string, int> counts;
    for (const KeptFloat& kept : plan_.kept_float) {
      for (int i = 0; i < static_cast<int>(graph_.nodes.size()); ++i) {
        if (at(i).name == kept.node && ends_.decodes(i) && !is_layer(i)) ++counts[kept.op];
      }
    }
    if (counts.empty()) return;
    note("decoding", counted(counts) + " behind the last layers stay in float");
  }

  /// An output [pictures, 1 or 3 channels, height, width] of a network that reads such pictures.
  void note_picture(ValueId id) {
    const auto is_picture = [&](ValueId value) {
      const auto& shape = graph_.value(value).shape;
      if (!shape || shape->size() != 4) return false;
      const int64_t channels = (*shape)[1].value;
      return channels == 1 || channels == 3;
    };
    const bool reads_one = std::any_of(graph_.inputs.begin(), graph_.inputs.end(), is_picture);
    if (!reads_one || !is_picture(id) || plan_.grid_of[static_cast<size_t>(id)] >= 0) return;
    note("picture", "output '" + graph_.value(id).name +
                        "' is handed out in float: no grid rounds it or cuts its range");
  }

  const Graph& graph_;
  const Plan& plan_;
  GraphIndex index_;
  Ends ends_;
  std::map<int, const LayerPlan*> layer_of_;
  std::vector<PlanNote> notes_;
};

}  // namespace

std::vector<PlanNote> plan_notes(const Graph& graph, const Plan& plan) {
  return Notes(graph, plan).all();
}

}  // namespace ounce::quantize
