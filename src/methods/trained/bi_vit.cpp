#include "methods/trained/bi_vit.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "graph/error.h"
#include "methods/trained/attention.h"
#include "methods/trained/attention_measures.h"
#include "methods/trained/q_vit.h"
#include "methods/trained/ranking.h"
#include "train/quantizers/sign_activation.h"
#include "train/quantizers/sign_weight.h"

namespace ounce::methods {
namespace {

/// What attentions mix their values to, and the same in other places and shapes.
std::set<ValueId> mixed_values(const Graph& graph, const std::vector<Attention>& found) {
  std::set<ValueId> mixed;
  for (const Attention& attention : found) {
    mixed.insert(graph.nodes[static_cast<size_t>(attention.mix)].output(0));
  }
  for (const Node& node : graph.nodes) {  // in order
    const bool moves = node.op == "Transpose" || node.op == "Reshape";
    if (moves && mixed.contains(node.input(0))) mixed.insert(node.output(0));
  }
  return mixed;
}

/// Puts the quantizers of all layers into a graph.
class BiVitInserter {
 public:
  BiVitInserter(const Graph& graph, const BiVitSettings& settings)
      : settings_(settings), ends_(end_layers(graph)), inserter_(graph) {}

  train::Student run() {
    const Graph& graph = inserter_.graph();
    const std::vector<Attention> found = attentions(graph);
    mixes_ = mixed_values(graph, found);
    for (const train::ProductLayer& layer : train::product_layers(graph)) {
      if (layer.has_weights && !ends_[static_cast<size_t>(layer.node)]) binarize_layer(layer);
    }
    if (settings_.activations == BiVitSettings::Activations::kBinary) {
      for (const Attention& attention : found) binarize_attention(attention);
    }
    return inserter_.finish();
  }

 private:
  /// Section 4.1 of the sheet: y = sign(x) (s sign(W))^T + b.
  void binarize_layer(const train::ProductLayer& layer) {
    if (settings_.activations == BiVitSettings::Activations::kBinary) {
      const ValueId input = inserter_.graph().nodes[static_cast<size_t>(layer.node)].input(0);
      const auto kind = mixes_.contains(input) ? train::SignActivation::Input::kSumsOfSigns
                                               : train::SignActivation::Input::kAny;
      inserter_.quantize(layer.node, 0, inserter_.shared_name(layer.node, 0) + ".sign", [&] {
        return std::make_shared<train::SignActivation>(train::Slope::kPolynomial, kind);
      });
    }
    inserter_.quantize(layer.node, 1, inserter_.shared_name(layer.node, 1), [&] {
      return std::make_shared<train::MeanSignWeight>(
          train::MeanSignOptions{.channels = {layer.channel_axis, layer.channels}});
    });
  }

  /// Section 4.2. Queries and keys are rounded before they are transposed, where heads lie whole in
  /// memory.
  void binarize_attention(const Attention& attention) {
    binarize_operand(attention.q.reader, attention.q.input, /*is_map=*/false);
    binarize_operand(attention.k.reader, attention.k.input, /*is_map=*/false);
    binarize_operand(attention.mix, 0, /*is_map=*/true);
    binarize_operand(attention.mix, 1, /*is_map=*/false);
  }

  void binarize_operand(int node, size_t operand, bool is_map) {
    const Graph& graph = inserter_.graph();
    const ValueId value = graph.nodes[static_cast<size_t>(node)].input(operand);
    inserter_.quantize(
        node, operand, inserter_.shared_name(node, operand),
        [&]() -> std::shared_ptr<train::Quantizer> {
          if (settings_.scale == BiVitSettings::Scale::kNone) {
            return std::make_shared<train::SignActivation>(train::Slope::kClip);
          }
          return std::make_shared<train::LearnedBinarizer>(
              train::LearnedBinarizerOptions{.heads = heads_of(graph, value), .is_map = is_map});
        });
  }

  BiVitSettings settings_;
  std::vector<bool> ends_;   // by node
  std::set<ValueId> mixes_;  // what attentions end in
  train::FakeQuantInserter inserter_;
};

/// Names of the scores of all attentions, in order.
std::vector<std::string> scores_of(const Graph& graph) {
  std::vector<std::string> names;
  for (const Attention& attention : attentions_of(graph)) {
    names.push_back(graph.value(attention.logits).name);
  }
  return names;
}

class BiVit final : public TrainedMethod {
 public:
  explicit BiVit(const BiVitSettings& settings) : settings_(settings) {}

  train::Student student(const Graph& network) override { return bi_vit(network, settings_); }

  std::vector<std::string> student_taps(const Graph& student) override {
    if (settings_.rad == 0) return {};
    student_ = scores_of(train::without_fake_quant(student));
    return student_;
  }

  std::vector<std::string> teacher_taps(const Graph& teacher) override {
    if (settings_.rad == 0) return {};
    teacher_ = scores_of(teacher);
    return teacher_;
  }

  /// Section 4.4: the mean over the layers.
  at::Tensor loss(train::Module& /*module*/, const train::Module::Result& student,
                  const train::Module::Result* teacher) override {
    if (settings_.rad == 0) return {};
    if (teacher == nullptr) {
      throw Error("the ranking-aware distillation of bi-vit has no teacher", "rad",
                  "a stage of method float before this one, or rad = 0");
    }
    if (student_.size() != teacher_.size()) {
      throw Error("student and teacher have " + std::to_string(student_.size()) + " and " +
                      std::to_string(teacher_.size()) + " attentions",
                  "rad", "a teacher of the student's architecture, or rad = 0");
    }
    at::Tensor sum;
    for (size_t i = 0; i < student_.size(); ++i) {
      const at::Tensor term =
          ranking_loss(student.taps.at(student_[i]), teacher->taps.at(teacher_[i]));
      sum = sum.defined() ? sum + term : term;
    }
    return sum * (settings_.rad / static_cast<double>(student_.size()));
  }

  std::map<std::string, double> measures_of(const at::Tensor& pictures, train::Module& student,
                                            train::Module* teacher) override {
    if (teacher == nullptr) return {};
    return attention_measures(student, *teacher, pictures);
  }

 private:
  BiVitSettings settings_;
  std::vector<std::string> student_;  // names of scores
  std::vector<std::string> teacher_;
};

}  // namespace

train::Student bi_vit(const Graph& graph, const BiVitSettings& settings) {
  attentions_of(graph);  // throws where there is none
  return BiVitInserter(settings.qk_norm ? insert_irm(graph) : graph, settings).run();
}

BiVitSettings read_bi_vit_settings(Settings& stage) {
  BiVitSettings settings;
  if (const auto bits = stage.integer("activations", 1, 32)) {
    if (*bits != 1 && *bits != 32) {
      throw stage.error("activations", "have 1 bit or stay float (32)", "activations = 1");
    }
    using Activations = BiVitSettings::Activations;
    settings.activations = *bits == 1 ? Activations::kBinary : Activations::kFloat;
  }
  if (const auto scale = stage.choice("scale", {"learned", "none"})) {
    settings.scale = static_cast<BiVitSettings::Scale>(*scale);
  }
  settings.qk_norm = stage.flag("qk_norm").value_or(settings.qk_norm);
  settings.rad = stage.number("rad", 0, 1e6).value_or(settings.rad);
  return settings;
}

std::unique_ptr<TrainedMethod> read_bi_vit(Settings& stage) {
  return std::make_unique<BiVit>(read_bi_vit_settings(stage));
}

}  // namespace ounce::methods
