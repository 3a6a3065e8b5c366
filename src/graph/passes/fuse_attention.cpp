#include <algorithm>
#include <cmath>

#include "graph/passes/passes.h"
#include "graph/rewrite.h"

namespace ounce {
namespace {

using namespace pattern;

/// x itself, or x times or over a constant number, captured as `<name>_times` / `<name>_over`.
Pattern maybe_scaled(const Pattern& x, const std::string& name) {
  return either(
      {commutative("Mul", x, scalar(name + "_times")), op("Div", {x, scalar(name + "_over")}), x});
}

/// The factor that a match of `maybe_scaled` stands for.
double factor(const Graph& graph, const Match& match, const std::string& name) {
  if (const auto times = scalar_constant(graph, match.value(name + "_times"))) return *times;
  if (const auto over = scalar_constant(graph, match.value(name + "_over"))) return 1.0 / *over;
  return 1.0;
}

/// Exchanges the last two axes: on top of `perm`, or of the identity of this rank.
std::vector<int64_t> swap_last_two(std::vector<int64_t> perm) {
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return perm;
}

std::vector<int64_t> identity(size_t rank) {
  std::vector<int64_t> perm(rank);
  for (size_t i = 0; i < rank; ++i) perm[i] = static_cast<int64_t>(i);
  return perm;
}

/// k [..., keys, head_dim], of which the match holds the transposed form.
ValueId untransposed_key(GraphEditor& editor, const Match& match) {
  const Graph& graph = editor.graph();
  std::vector<int64_t> perm;
  ValueId source = match.value("k");
  if (const int n = match.node("kt"); n >= 0) {
    perm = graph.nodes[static_cast<size_t>(n)].attributes.get_ints("perm");
  } else {
    source = match.value("k_product");
    const Value& value = graph.value(source);
    if (!value.shape || value.shape->size() < 2) return kNoValue;
    perm = identity(value.shape->size());
  }
  if (perm.size() < 2) return kNoValue;
  perm = swap_last_two(perm);
  if (perm == identity(perm.size())) return source;
  AttributeMap attributes;
  attributes.set("perm", perm);
  return editor.insert(match.root, "key", "Transpose", {source}, std::move(attributes));
}

bool is_over_last_axis(const Graph& graph, const Node& node) {
  const int64_t axis = node.attributes.get_int("axis", -1);
  const Value& x = graph.value(node.inputs[0]);
  return axis == -1 || (x.shape && axis == static_cast<int64_t>(x.shape->size()) - 1);
}

/// A mask must not be wider than the map: then the product with v would be too.
bool fits_map(const Graph& graph, ValueId mask, ValueId map) {
  if (mask == kNoValue) return true;
  const Value& m = graph.value(mask);
  const Value& y = graph.value(map);
  if (!m.shape || !y.shape) return false;
  if (m.shape->size() > y.shape->size()) return false;
  const size_t offset = y.shape->size() - m.shape->size();
  for (size_t i = 0; i < m.shape->size(); ++i) {
    const Dim& dim = (*m.shape)[i];
    if (!(dim == Dim(1)) && !(dim == (*y.shape)[offset + i])) return false;
  }
  return true;
}

bool is_dequantized(const Graph& graph, ValueId id) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(), [&](const Node& node) {
    return node.op == "DequantizeLinear" && node.output(0) == id;
  });
}

/// Attention stands for two-dimensional products over any batch; vectors and constants (a Linear
/// layer's weight) are something else. Operands that are dequantized belong to integer products.
bool is_attention(const Graph& graph, const Match& match, ValueId key) {
  for (const ValueId id : {match.value("q"), key, match.value("v")}) {
    const Value& value = graph.value(id);
    if (value.is_constant() || (value.shape && value.shape->size() < 2)) return false;
    if (is_dequantized(graph, id)) return false;
  }
  return fits_map(graph, match.value("mask"), match.value("product"));
}

Pattern attention_pattern() {
  const Pattern q = any("q");
  const Pattern transposed =
      where(op("Transpose", {maybe_scaled(any("k"), "k_inner")}, "kt"),
            [](const Graph&, const Node& node) { return node.attributes.has("perm"); });
  const Pattern k = either({maybe_scaled(transposed, "k"), maybe_scaled(any("k_product"), "k")});
  const Pattern scores =
      maybe_scaled(op("MatMul", {maybe_scaled(q, "q"), k}, "product"), "product");
  const Pattern masked = either({commutative("Add", scores, any("mask")), scores});
  const Pattern map = where(op("Softmax", {masked}), is_over_last_axis);
  return op("MatMul", {map, any("v")});
}

}  // namespace

int fuse_attention(Graph& graph) {
  return rewrite_matches(graph, attention_pattern(), [](GraphEditor& editor, const Match& match) {
    Graph& g = editor.graph();
    const ValueId stored = match.node("kt") >= 0 ? match.value("k") : match.value("k_product");
    if (!is_attention(g, match, stored)) return false;
    const ValueId key = untransposed_key(editor, match);
    if (key == kNoValue) return false;
    const double scale = factor(g, match, "q") * factor(g, match, "k") *
                         factor(g, match, "k_inner") * factor(g, match, "product");
    if (!std::isfinite(scale)) return false;
    AttributeMap attributes;
    attributes.set("scale", static_cast<float>(scale));
    std::vector<ValueId> inputs = {match.value("q"), key, match.value("v")};
    if (match.value("mask") != kNoValue) inputs.push_back(match.value("mask"));
    editor.replace(match.root, "Attention", std::move(inputs), std::move(attributes));
    return true;
  });
}

}  // namespace ounce
