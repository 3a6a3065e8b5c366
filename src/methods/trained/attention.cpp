#include "methods/trained/attention.h"

#include <algorithm>
#include <cstdint>

#include "graph/error.h"
#include "graph/pattern.h"
#include "quantize/plan/ends.h"
#include "train/insert.h"

namespace ounce::methods {
namespace {

using namespace pattern;

bool is_number(const Graph& graph, ValueId id) {
  const auto& shape = graph.value(id).shape;
  return shape &&
         std::all_of(shape->begin(), shape->end(), [](const Dim& d) { return d == Dim(1); });
}

Pattern maybe_scaled(const Pattern& x) {
  const auto by_a_number = [](const Graph& graph, const Node& node) {
    return scaled_input(graph, node) >= 0;
  };
  return either({where(commutative("Mul", x, any()), by_a_number),
                 where(op("Div", {x, any()}), by_a_number), x});
}

bool is_over_last_axis(const Graph& graph, const Node& node) {
  const int64_t axis = node.attributes.get_int("axis", -1);
  const Value& x = graph.value(node.input(0));
  return axis == -1 || (x.shape && axis == static_cast<int64_t>(x.shape->size()) - 1);
}

bool reads_no_constant(const Graph& graph, const Node& node) {
  return graph.constant(node.input(0)) == nullptr && graph.constant(node.input(1)) == nullptr;
}

Pattern attention_pattern() {
  const Pattern product = where(op("MatMul", {any(), any()}, "scores"), reads_no_constant);
  const Pattern scores = maybe_scaled(product);
  const Pattern masked = either({commutative("Add", scores, any()), scores});
  const Pattern map = where(op("Softmax", {masked}, "softmax"), is_over_last_axis);
  return where(op("MatMul", {map, any()}, "mix"), reads_no_constant);
}

/// A Transpose that exchanges the last two axes and nothing else.
bool swaps_last_two(const Node& node) {
  std::vector<int64_t> perm = node.attributes.get_ints("perm");
  if (node.op != "Transpose" || perm.size() < 2) return false;
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  for (size_t i = 0; i < perm.size(); ++i) {
    if (perm[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

/// Operand `input` of the MatMul `scores`, followed up through scalings and the transposition.
AttentionOperand source(const Graph& graph, const GraphIndex& index, int scores, size_t input) {
  AttentionOperand found = {graph.nodes[static_cast<size_t>(scores)].input(input), scores, input,
                            input == 1};
  for (int n = index.producer(found.value); n >= 0; n = index.producer(found.value)) {
    if (!index.has_single_use(found.value)) break;  // others read it scaled or transposed
    const Node& node = graph.nodes[static_cast<size_t>(n)];
    if (const int scaled = scaled_input(graph, node); scaled >= 0) {
      found.input = static_cast<size_t>(scaled);
    } else if (found.transposed && swaps_last_two(node)) {
      found.input = 0;
      found.transposed = false;
    } else {
      break;
    }
    found.reader = n;
    found.value = node.input(found.input);
  }
  return found;
}

/// What reads the scores last before a mask is added: they themselves, or these times a number.
ValueId logits_before(const Graph& graph, const GraphIndex& index, const Attention& attention) {
  const Node& softmax = graph.nodes[static_cast<size_t>(attention.softmax)];
  const ValueId scores = graph.nodes[static_cast<size_t>(attention.scores)].output(0);
  if (softmax.input(0) == scores || !index.has_single_use(scores)) return scores;
  const Node& reader = graph.nodes[static_cast<size_t>(index.consumers(scores)[0])];
  return scaled_input(graph, reader) < 0 ? scores : reader.output(0);
}

}  // namespace

int scaled_input(const Graph& graph, const Node& node) {
  if (node.op != "Mul" && node.op != "Div") return -1;
  if (is_number(graph, node.input(1))) return 0;
  return node.op == "Mul" && is_number(graph, node.input(0)) ? 1 : -1;
}

std::vector<Attention> attentions(const Graph& graph) {
  const Matcher matcher(graph);
  const Pattern pattern = attention_pattern();
  std::vector<Attention> found;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const auto match = matcher.match(pattern, static_cast<int>(n));
    if (!match) continue;
    Attention attention;
    attention.scores = match->node("scores");
    attention.softmax = match->node("softmax");
    attention.mix = match->node("mix");
    attention.logits = logits_before(graph, matcher.index(), attention);
    attention.q = source(graph, matcher.index(), attention.scores, 0);
    attention.k = source(graph, matcher.index(), attention.scores, 1);
    found.push_back(attention);
  }
  return found;
}

std::vector<Attention> attentions_of(const Graph& graph) {
  std::vector<Attention> found = attentions(graph);
  if (found.empty()) {
    throw Error("has no attention, softmax(q k^T) v", graph.name,
                "a vision transformer, or another method");
  }
  return found;
}

train::Slices heads_of(const Graph& graph, ValueId value) {
  const auto& shape = graph.value(value).shape;
  if (!shape || shape->size() < 4) return {};
  const size_t axis = shape->size() - 3;
  if (!(*shape)[axis].known()) return {};
  return {static_cast<int64_t>(axis), (*shape)[axis].value};
}

std::vector<bool> end_layers(const Graph& graph) {
  std::vector<bool> is_layer(graph.nodes.size(), false);
  for (const train::ProductLayer& layer : train::product_layers(graph)) {
    is_layer[static_cast<size_t>(layer.node)] = layer.has_weights;
  }
  const quantize::Ends found =
      quantize::ends_of(graph, [&](int node) { return is_layer[static_cast<size_t>(node)]; });
  std::vector<bool> ends(graph.nodes.size(), false);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    ends[n] = is_layer[n] && (found.first[n] || found.last[n]);
  }
  return ends;
}

}  // namespace ounce::methods
