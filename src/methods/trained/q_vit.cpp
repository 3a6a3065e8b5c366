#include "methods/trained/q_vit.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "graph/error.h"
#include "graph/operator.h"
#include "methods/trained/attention.h"
#include "methods/trained/attention_measures.h"
#include "methods/trained/similarity.h"
#include "train/quantizers/lsq.h"

namespace ounce::methods {
namespace {

constexpr int kEndBits = 8;
constexpr float kIrmEpsilon = 1e-5F;

// --- IRM: q~ = gamma (q - mean) / sqrt(var + eps) + beta ---

bool is_normalised(const Graph& graph, const GraphIndex& index, const AttentionOperand& operand) {
  const int n = index.producer(operand.value);
  if (n < 0 || operand.transposed) return false;
  const Node& node = graph.nodes[static_cast<size_t>(n)];
  const auto& shape = graph.value(operand.value).shape;
  const int64_t axis = node.attributes.get_int("axis", -1);
  return node.op == "LayerNormalization" &&
         (axis == -1 || (shape && axis == static_cast<int64_t>(shape->size()) - 1));
}

ValueId swap_last_two(Graph& graph, ValueId x, const std::string& name) {
  const size_t rank = graph.value(x).shape->size();
  std::vector<int64_t> perm;
  for (size_t i = 0; i < rank; ++i) perm.push_back(static_cast<int64_t>(i));
  std::swap(perm[rank - 1], perm[rank - 2]);
  AttributeMap attributes;
  attributes.set("perm", perm);
  return graph.add_node("Transpose", {x}, std::move(attributes), name);
}

Tensor filled(int64_t count, float number) {
  Tensor tensor(DType::f32, {count});
  for (float& value : tensor.mutable_data<float>()) value = number;
  return tensor;
}

void normalise(Graph& graph, const AttentionOperand& operand, const std::string& name,
               const std::string& scope) {
  const auto& shape = graph.value(operand.value).shape;
  const size_t from_end = operand.transposed ? 2 : 1;
  if (!shape || shape->size() < 2 || !(*shape)[shape->size() - from_end].known()) {
    throw Error("has an unknown number of features, which " + name + " would normalise",
                graph.value(operand.value).name, "a model with known shapes");
  }
  const int64_t features = (*shape)[shape->size() - from_end].value;
  const size_t first = graph.nodes.size();
  ValueId x = operand.value;
  if (operand.transposed) x = swap_last_two(graph, x, name + ".rows");
  AttributeMap attributes;
  attributes.set("axis", int64_t{-1});
  attributes.set("epsilon", kIrmEpsilon);
  x = graph.add_node("LayerNormalization",
                     {x, graph.add_constant(name + ".weight", filled(features, 1.0F)),
                      graph.add_constant(name + ".bias", filled(features, 0.0F))},
                     std::move(attributes), name);
  if (operand.transposed) {
    graph.value(x).shape = graph.value(operand.value).shape;  // its rank is what is needed
    x = swap_last_two(graph, x, name + ".columns");
  }
  for (size_t n = first; n < graph.nodes.size(); ++n) graph.nodes[n].scope = scope;
  graph.nodes[static_cast<size_t>(operand.reader)].inputs[operand.input] = x;
}

// --- Quantizers ---

std::shared_ptr<train::Quantizer> weight(int bits, const train::ProductLayer& layer) {
  train::LsqOptions options;
  options.bits = bits;
  options.slices = {layer.channel_axis, layer.channels};
  return std::make_shared<train::LsqWeight>(options);
}

/// Puts the quantizers of all layers into a graph.
class QVitInserter {
 public:
  QVitInserter(const Graph& graph, const QVitSettings& settings)
      : settings_(settings), ends_(end_layers(graph)), inserter_(graph) {
    for (const Attention& attention : attentions(graph)) mixes_.push_back(attention.mix);
  }

  train::Student run() {
    for (const train::ProductLayer& layer : train::product_layers(inserter_.graph())) {
      if (layer.has_weights) {
        quantize_layer(layer);
      } else {
        quantize_product(layer.node);
      }
    }
    return inserter_.finish();
  }

 private:
  void quantize_layer(const train::ProductLayer& layer) {
    const bool end = ends_[static_cast<size_t>(layer.node)];
    const int bits = end ? kEndBits : settings_.weight_bits;
    // An end reads its own, finer grid of a value that others read too.
    activation(layer.node, 0, end ? kEndBits : settings_.activation_bits, {}, true, end ? "8" : "");
    inserter_.quantize(layer.node, 1, inserter_.shared_name(layer.node, 1),
                       [&] { return weight(bits, layer); });
  }

  /// Both matrices are activations. A map begins at 0 and has no use for another zero point.
  void quantize_product(int node) {
    const int bits =
        settings_.attention_bits == 0 ? settings_.activation_bits : settings_.attention_bits;
    const bool is_mix = std::find(mixes_.begin(), mixes_.end(), node) != mixes_.end();
    for (const size_t operand : {size_t{0}, size_t{1}}) {
      const Graph& graph = inserter_.graph();
      const ValueId value = graph.nodes[static_cast<size_t>(node)].input(operand);
      const bool is_map = is_mix && operand == 0;
      activation(node, operand, bits, settings_.per_head ? heads_of(graph, value) : train::Slices{},
                 !is_map);
    }
  }

  void activation(int node, size_t operand, int bits, train::Slices slices, bool zero_point,
                  const std::string& suffix = "") {
    inserter_.quantize(node, operand, inserter_.shared_name(node, operand) + suffix, [&] {
      train::LsqOptions options;
      options.bits = bits;
      options.slices = slices;
      options.learn_zero_point = zero_point;
      return std::make_shared<train::LsqActivation>(options);
    });
  }

  QVitSettings settings_;
  std::vector<bool> ends_;  // by node
  std::vector<int> mixes_;
  train::FakeQuantInserter inserter_;
};

// --- DGD ---

/// q or k of one attention among the values of a graph.
struct Tap {
  std::string value;
  bool transposed = false;

  at::Tensor rows(const train::Module::Result& result) const {
    const at::Tensor& x = result.taps.at(value);
    return transposed ? x.transpose(-1, -2) : x;
  }
};

/// q and k of all attentions, in order.
std::vector<Tap> taps_of(const Graph& graph) {
  std::vector<Tap> taps;
  for (const Attention& attention : attentions_of(graph)) {
    for (const AttentionOperand& operand : {attention.q, attention.k}) {
      taps.push_back({graph.value(operand.value).name, operand.transposed});
    }
  }
  return taps;
}

std::vector<std::string> names_of(const std::vector<Tap>& taps) {
  std::vector<std::string> names;
  for (const Tap& tap : taps) names.push_back(tap.value);
  return names;
}

class QVit final : public TrainedMethod {
 public:
  explicit QVit(const QVitSettings& settings) : settings_(settings) {}

  train::Student student(const Graph& network) override { return q_vit(network, settings_); }

  std::vector<std::string> student_taps(const Graph& student) override {
    if (settings_.dgd == 0) return {};
    student_ = taps_of(train::without_fake_quant(student));
    return names_of(student_);
  }

  std::vector<std::string> teacher_taps(const Graph& teacher) override {
    if (settings_.dgd == 0) return {};
    teacher_ = taps_of(teacher);
    return names_of(teacher_);
  }

  at::Tensor loss(train::Module& /*module*/, const train::Module::Result& student,
                  const train::Module::Result* teacher) override {
    if (settings_.dgd == 0) return {};
    if (teacher == nullptr) {
      throw Error("the distillation of q-vit has no teacher", "dgd",
                  "a stage of method float before this one, or dgd = 0");
    }
    if (student_.size() != teacher_.size()) {
      throw Error("student and teacher have " + std::to_string(student_.size() / 2) + " and " +
                      std::to_string(teacher_.size() / 2) + " attentions",
                  "dgd", "a teacher of the student's architecture, or dgd = 0");
    }
    at::Tensor sum;
    for (size_t i = 0; i < student_.size(); ++i) {
      const at::Tensor term =
          similarity_distance(student_[i].rows(student), teacher_[i].rows(*teacher));
      sum = sum.defined() ? sum + term : term;
    }
    return settings_.dgd * sum;
  }

  std::map<std::string, double> measures_of(const at::Tensor& pictures, train::Module& student,
                                            train::Module* teacher) override {
    if (teacher == nullptr) return {};
    return attention_measures(student, *teacher, pictures);
  }

 private:
  QVitSettings settings_;
  std::vector<Tap> student_;
  std::vector<Tap> teacher_;
};

}  // namespace

Graph insert_irm(Graph graph) {
  const std::vector<Attention> found = attentions_of(graph);
  const GraphIndex index(graph);
  for (const Attention& attention : found) {
    const Node scores = graph.nodes[static_cast<size_t>(attention.scores)];
    for (const auto& [operand, suffix] :
         {std::pair(attention.q, ".q_irm"), std::pair(attention.k, ".k_irm")}) {
      if (is_normalised(graph, index, operand)) continue;
      normalise(graph, operand, scores.name + suffix, scores.scope);
    }
  }
  graph.sort_topologically();
  infer_shapes(graph);
  graph.validate();
  return graph;
}

train::Student q_vit(const Graph& graph, const QVitSettings& settings) {
  attentions_of(graph);
  return QVitInserter(settings.irm ? insert_irm(graph) : graph, settings).run();
}

std::unique_ptr<TrainedMethod> read_q_vit(Settings& stage) {
  QVitSettings settings;
  settings.weight_bits =
      static_cast<int>(stage.integer("weights", 2, 8).value_or(settings.weight_bits));
  settings.activation_bits =
      static_cast<int>(stage.integer("activations", 2, 8).value_or(settings.activation_bits));
  settings.attention_bits = static_cast<int>(stage.integer("attention", 2, 8).value_or(0));
  settings.irm = stage.flag("irm").value_or(settings.irm);
  settings.dgd = stage.number("dgd", 0, 1e6).value_or(settings.dgd);
  settings.per_head = stage.flag("per_head").value_or(settings.per_head);
  return std::make_unique<QVit>(settings);
}

}  // namespace ounce::methods
