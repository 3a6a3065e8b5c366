#include "engine/lowering/binary_operand.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "graph/pattern.h"

namespace ounce::engine {
namespace {

/// Follows `value` up through Transpose nodes, of which `perm` gathers what they do.
ValueId before_transposes(const Rewriter& rewriter, ValueId value, std::vector<int64_t>& perm) {
  for (int i = rewriter.producer(value, "Transpose"); i >= 0;
       i = rewriter.producer(value, "Transpose")) {
    const std::vector<int64_t> inner = rewriter.node(i).attributes.get_ints("perm");
    if (inner.size() != perm.size()) break;
    for (int64_t& axis : perm) axis = inner[static_cast<size_t>(axis)];
    value = rewriter.node(i).input(0);
  }
  return value;
}

/// The same through products with positive numbers, which `factor` gathers.
ValueId before_scaling(const Rewriter& rewriter, ValueId value, std::vector<int64_t>& perm,
                       double& factor) {
  for (;;) {
    value = before_transposes(rewriter, value, perm);
    const auto scaled = scaling(rewriter, value);
    if (!scaled || !(scaled->factor > 0.0) || !std::isfinite(scaled->factor)) return value;
    factor *= scaled->factor;
    value = scaled->x;
  }
}

}  // namespace

std::optional<Scales> scales_of(const Graph& graph, const Node& binarize, int64_t head_axis) {
  if (binarize.input(1) == kNoValue) return Scales{1.0};
  const Tensor* scale = graph.constant(binarize.input(1));
  if (scale == nullptr || scale->dtype() != DType::f32) return std::nullopt;
  if (scale->size() != 1 &&
      (head_axis < 0 || binarize.attributes.get_int("axis", 1) != head_axis)) {
    return std::nullopt;
  }
  const std::vector<float> values = scale->to_f32();
  const auto usable = [](float s) { return s > 0.0F && std::isfinite(s); };
  if (values.empty() || !std::all_of(values.begin(), values.end(), usable)) return std::nullopt;
  return Scales(values.begin(), values.end());
}

Scales product(const Scales& a, const Scales& b) {
  Scales result(std::max(a.size(), b.size()));
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] = a[a.size() == 1 ? 0 : i] * b[b.size() == 1 ? 0 : i];
  }
  return result;
}

Tensor scales_tensor(const Scales& scales) {
  const std::vector<float> values(scales.begin(), scales.end());
  return Tensor::of(values, {static_cast<int64_t>(values.size())});
}

std::optional<Scaling> scaling(const Rewriter& rewriter, ValueId value) {
  const Graph& graph = rewriter.graph();
  const int times = rewriter.producer(value, "Mul");
  const int i = times >= 0 ? times : rewriter.producer(value, "Div");
  if (i < 0) return std::nullopt;
  const Node& node = rewriter.node(i);
  const size_t input = times >= 0 && graph.constant(node.input(0)) != nullptr ? 1 : 0;
  const auto number = scalar_constant(graph, node.input(1 - input));
  if (!number) return std::nullopt;
  return Scaling{i, node.input(input), times >= 0 ? double{*number} : 1.0 / double{*number}};
}

std::optional<BinaryOperand> binary_operand(const Rewriter& rewriter, ValueId value) {
  const Graph& graph = rewriter.graph();
  if (!graph.value(value).shape) return std::nullopt;
  const size_t rank = graph.value(value).shape->size();
  if (rank < 2) return std::nullopt;
  BinaryOperand result;
  result.perm.resize(rank);
  std::iota(result.perm.begin(), result.perm.end(), 0);
  double after = 1.0;
  value = before_scaling(rewriter, value, result.perm, after);
  const int i = rewriter.producer(value, "Binarize");
  if (i < 0) return std::nullopt;
  const Node& binarize = rewriter.node(i);
  const auto scales = scales_of(graph, binarize, rank < 3 ? -1 : result.perm[rank - 3]);
  if (!scales) return std::nullopt;
  result.scales = product(*scales, {after});
  result.x = binarize.input(0);
  if (binarize.attributes.get_int("unsigned", 0) != 0) {
    result.map_scales = *scales;
  } else {
    double before = 1.0;
    result.x = before_scaling(rewriter, result.x, result.perm, before);
  }
  const Value& x = graph.value(result.x);
  if (x.dtype != DType::f32 || !x.shape || !concrete(*x.shape) || x.shape->size() != rank ||
      element_count(shape_of(graph, result)) == 0) {
    return std::nullopt;
  }
  return result;
}

Shape shape_of(const Graph& graph, const BinaryOperand& operand) {
  const Shape source = *concrete(*graph.value(operand.x).shape);
  Shape shape;
  for (const int64_t axis : operand.perm) shape.push_back(source[static_cast<size_t>(axis)]);
  return shape;
}

ValueId arranged(Rewriter& rewriter, int root, const BinaryOperand& operand,
                 std::string_view suffix) {
  if (std::is_sorted(operand.perm.begin(), operand.perm.end())) return operand.x;
  return rewriter.insert_transpose(root, operand.x, operand.perm, suffix);
}

}  // namespace ounce::engine
