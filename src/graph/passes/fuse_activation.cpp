#include "graph/passes/passes.h"
#include "graph/rewrite.h"

namespace ounce {
namespace {

using namespace pattern;

constexpr double kSqrt2 = 1.4142135623730951;
constexpr double kSqrt2OverPi = 0.7978845608028654;

/// a * b * c in any order and association.
Pattern product(const Pattern& a, const Pattern& b, const Pattern& c) {
  return either({commutative("Mul", commutative("Mul", a, b), c),
                 commutative("Mul", commutative("Mul", a, c), b),
                 commutative("Mul", commutative("Mul", b, c), a)});
}

/// x * value, written as a product or as a quotient.
Pattern scaled(const Pattern& x, double value) {
  return either({commutative("Mul", x, number(value)), op("Div", {x, number(1 / value)})});
}

/// x / 2 * tail, in any order.
Pattern half_product(const Pattern& x, const Pattern& tail) {
  return either({product(x, tail, number(0.5)), commutative("Mul", op("Div", {x, number(2)}), tail),
                 op("Div", {commutative("Mul", x, tail), number(2)})});
}

/// Fuses a pattern that has one input "x".
int fuse_unary(Graph& graph, const Pattern& pattern, std::string_view op,
               const AttributeMap& attributes = {}) {
  return rewrite_matches(graph, pattern, [&](GraphEditor& editor, const Match& match) {
    editor.replace(match.root, op, {match.value("x")}, attributes);
    return true;
  });
}

AttributeMap gelu_attributes(const char* approximate) {
  AttributeMap attributes;
  attributes.set("approximate", std::string(approximate));
  return attributes;
}

/// The 1 / 6 and 1 / 2 of HardSigmoid as in HardSwish.
AttributeMap hard_sigmoid_attributes() {
  AttributeMap attributes;
  attributes.set("alpha", 1.0f / 6.0f);
  attributes.set("beta", 0.5f);
  return attributes;
}

/// Clip(x + 3, 0, 6)
Pattern clipped(const Pattern& x) {
  const Pattern zero =
      constant({}, [](const Tensor& t) { return t.size() == 1 && t.to_f32()[0] == 0; });
  return op("Clip", {commutative("Add", x, number(3)), zero, number(6)});
}

bool is_hard_swish_slope(const Graph&, const Node& node) {
  return node.attributes.get_float("alpha", 0.2f) == 1.0f / 6.0f &&
         node.attributes.get_float("beta", 0.5f) == 0.5f;
}

}  // namespace

int fuse_gelu(Graph& graph) {
  const Pattern x = any("x");
  const Pattern erf = commutative("Add", op("Erf", {scaled(x, 1 / kSqrt2)}), number(1));
  int count = fuse_unary(graph, half_product(x, erf), "Gelu", gelu_attributes("none"));

  const Pattern square = either({op("Pow", {x, number(2)}), op("Mul", {x, x})});
  const Pattern cube = either({op("Pow", {x, number(3)}), commutative("Mul", square, x)});
  const Pattern cubic = number(0.044715);
  // x + 0.044715 x^3, or x (1 + 0.044715 x^2)
  const Pattern polynomial = either(
      {commutative("Add", x, either({commutative("Mul", cubic, cube), product(x, square, cubic)})),
       commutative("Mul", x, commutative("Add", commutative("Mul", square, cubic), number(1)))});
  const Pattern argument =
      either({commutative("Mul", polynomial, number(kSqrt2OverPi)),
              product(x, commutative("Add", commutative("Mul", square, cubic), number(1)),
                      number(kSqrt2OverPi))});
  const Pattern tanh = commutative("Add", op("Tanh", {argument}), number(1));
  count += fuse_unary(graph, half_product(x, tanh), "Gelu", gelu_attributes("tanh"));
  return count;
}

int fuse_silu(Graph& graph) {
  const Pattern x = any("x");
  return fuse_unary(graph, commutative("Mul", x, op("Sigmoid", {x})), "Silu");
}

int fuse_mish(Graph& graph) {
  const Pattern x = any("x");
  return fuse_unary(graph, commutative("Mul", x, op("Tanh", {op("Softplus", {x})})), "Mish");
}

int fuse_hard_swish(Graph& graph) {
  const Pattern x = any("x");
  // The product of x and the clip may come before the division: first, as it contains the other.
  int count = fuse_unary(graph, scaled(commutative("Mul", x, clipped(x)), 1.0 / 6), "HardSwish");
  count += fuse_unary(graph, scaled(clipped(x), 1.0 / 6), "HardSigmoid", hard_sigmoid_attributes());
  const Pattern gate = where(op("HardSigmoid", {x}), is_hard_swish_slope);
  count += fuse_unary(graph, commutative("Mul", x, gate), "HardSwish");
  return count;
}

}  // namespace ounce
