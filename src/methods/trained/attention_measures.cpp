#include "methods/trained/attention_measures.h"

#include <cmath>
#include <tuple>
#include <vector>

#include "graph/error.h"
#include "methods/trained/attention.h"
#include "methods/trained/ranking.h"
#include "methods/trained/similarity.h"
#include "train/insert.h"

namespace ounce::methods {
namespace {

/// Names of the values of one attention; the rounded ones are empty where they are not rounded.
struct Names {
  std::string q, k, logits, map;
  bool q_transposed = false;
  bool k_transposed = false;
  std::string rounded_q, rounded_k, rounded_map;
};

const Node* node_named(const Graph& graph, const std::string& name) {
  for (const Node& node : graph.nodes) {
    if (node.name == name) return &node;
  }
  return nullptr;
}

/// The value that operand `operand` of `node` reads, if a FakeQuant node makes it.
std::string rounded(const Graph& graph, const GraphIndex& index, const Node* node, size_t operand) {
  if (node == nullptr) return {};
  const ValueId id = node->input(operand);
  const int producer = index.producer(id);
  if (producer < 0 || graph.nodes[static_cast<size_t>(producer)].op != "FakeQuant") return {};
  return graph.value(id).name;
}

std::vector<Names> names_of(const Graph& graph) {
  const Graph plain = train::without_fake_quant(graph);
  const GraphIndex index(graph);
  std::vector<Names> names;
  for (const Attention& attention : attentions(plain)) {
    const auto node = [&](int n) -> const Node& { return plain.nodes[static_cast<size_t>(n)]; };
    const Node* scores = node_named(graph, node(attention.scores).name);
    const Node* mix = node_named(graph, node(attention.mix).name);
    names.push_back({.q = plain.value(attention.q.value).name,
                     .k = plain.value(attention.k.value).name,
                     .logits = plain.value(attention.logits).name,
                     .map = plain.value(node(attention.softmax).output(0)).name,
                     .q_transposed = attention.q.transposed,
                     .k_transposed = attention.k.transposed,
                     .rounded_q = rounded(graph, index, scores, 0),
                     .rounded_k = rounded(graph, index, scores, 1),
                     .rounded_map = rounded(graph, index, mix, 0)});
  }
  return names;
}

train::Module::Result run(train::Module& module, const std::vector<Names>& names,
                          const at::Tensor& pictures) {
  std::vector<std::string> taps;
  for (const Names& name : names) {
    for (const std::string& tap : {name.q, name.k, name.logits, name.map, name.rounded_q,
                                   name.rounded_k, name.rounded_map}) {
      if (!tap.empty()) taps.push_back(tap);
    }
  }
  const bool was_training = module.training();
  module.set_training(false);
  train::Module::Result result = module.forward({&pictures, 1}, taps);
  module.set_training(was_training);
  return result;
}

/// Bits of the distribution of the values of a rounded tensor [batch, heads, ..], mean over the
/// heads, which may have steps of their own.
double entropy(const at::Tensor& rounded) {
  double sum = 0.0;
  for (const at::Tensor& head : rounded.unbind(1)) {
    const at::Tensor counts = std::get<2>(at::_unique2(head, true, false, true));
    const at::Tensor shares = counts.to(at::kDouble) / static_cast<double>(head.numel());
    sum -= (shares * shares.log2()).sum().item<double>();
  }
  return sum / static_cast<double>(rounded.size(1));
}

double divergence(const at::Tensor& student, const at::Tensor& teacher) {
  constexpr double kLeast = 1e-12;
  const at::Tensor logs = teacher.clamp_min(kLeast).log() - student.clamp_min(kLeast).log();
  return (teacher * logs).sum(-1).mean().item<double>();
}

at::Tensor rows(const at::Tensor& value, bool transposed) {
  return transposed ? value.transpose(-1, -2) : value;
}

/// Sums and how many went into each.
class Means {
 public:
  void add(const std::string& name, double value) {
    sums_[name] += value;
    ++counts_[name];
  }
  std::map<std::string, double> result() const {
    std::map<std::string, double> means = sums_;
    for (auto& [name, mean] : means) mean /= counts_.at(name);
    return means;
  }

 private:
  std::map<std::string, double> sums_;
  std::map<std::string, int> counts_;
};

}  // namespace

std::map<std::string, double> attention_measures(train::Module& student, train::Module& teacher,
                                                 const at::Tensor& pictures) {
  const at::NoGradGuard no_grad;
  const std::vector<Names> own = names_of(student.graph());
  const std::vector<Names> theirs = names_of(teacher.graph());
  if (own.size() != theirs.size()) {
    throw Error("student and teacher have " + std::to_string(own.size()) + " and " +
                std::to_string(theirs.size()) + " attentions");
  }
  const train::Module::Result s = run(student, own, pictures);
  const train::Module::Result t = run(teacher, theirs, pictures);
  Means means;
  for (size_t i = 0; i < own.size(); ++i) {
    const Names& a = own[i];
    const Names& b = theirs[i];
    for (const std::string& codes : {a.rounded_q, a.rounded_k}) {
      if (!codes.empty() && s.taps.at(codes).dim() > 2)
        means.add("code_entropy", entropy(s.taps.at(codes)));
    }
    means.add("similarity_distance", similarity_distance(rows(s.taps.at(a.q), a.q_transposed),
                                                         rows(t.taps.at(b.q), b.q_transposed))
                                         .item<double>());
    means.add("similarity_distance", similarity_distance(rows(s.taps.at(a.k), a.k_transposed),
                                                         rows(t.taps.at(b.k), b.k_transposed))
                                         .item<double>());
    means.add("map_divergence", divergence(s.taps.at(a.map), t.taps.at(b.map)));
    means.add("order_agreement", order_agreement(s.taps.at(a.logits), t.taps.at(b.logits)));
    if (!a.rounded_map.empty()) {
      means.add("constant_rows", constant_rows(s.taps.at(a.rounded_map)));
    }
  }
  return means.result();
}

}  // namespace ounce::methods
