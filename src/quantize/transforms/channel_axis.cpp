#include "quantize/transforms/channel_axis.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include "graph/ops/shape_rules.h"

namespace ounce::quantize {
namespace {

bool one_of(std::string_view op, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), op) != list.end();
}

/// Elements behind an axis, -1 where they are not known.
int64_t stride_of(const Graph& graph, ValueId id, int64_t axis) {
  int64_t stride = 1;
  for (int64_t i = axis + 1; i < rank_of(graph, id); ++i) {
    const int64_t extent = extent_of(graph, id, i);
    if (extent < 0) return -1;
    stride *= extent;
  }
  return stride;
}

/// The axis of `to` that has the extent and the stride of `axis` of `from`: elements keep their
/// order, so that equal strides make it the same axis.
std::optional<int64_t> same_stride(const Graph& graph, ValueId from, ValueId to, int64_t axis) {
  const int64_t extent = extent_of(graph, from, axis);
  const int64_t stride = stride_of(graph, from, axis);
  if (extent < 1 || stride < 0) return std::nullopt;
  for (int64_t i = 0; i < rank_of(graph, to); ++i) {
    if (extent_of(graph, to, i) == extent && stride_of(graph, to, i) == stride) return i;
  }
  return std::nullopt;
}

/// Axes that an operator works along, normalised; nullopt where they are not known.
std::optional<std::vector<int64_t>> axes_of(const Graph& graph, const Node& node) {
  std::vector<int64_t> axes;
  if (one_of(node.op, {"Gather", "Split", "Concat"})) {
    axes = {node.attributes.get_int("axis", 0)};
  } else {
    const Tensor* constant = graph.constant(node.input(node.op == "Slice" ? 3 : 1));
    if (constant == nullptr) return std::nullopt;
    axes = constant->to_i64();
  }
  for (int64_t& axis : axes) axis = normalize_axis(axis, rank_of(graph, node.input(0)));
  return axes;
}

/// How many axes come in before the channels minus how many go out, for operators that leave the
/// channels alone; nullopt where they do not, or another operator.
std::optional<int64_t> removed_axes(const Graph& graph, const Node& node, int64_t axis) {
  if (!one_of(node.op, {"Gather", "Split", "Concat", "Slice", "ReduceMean"})) return std::nullopt;
  const auto axes = axes_of(graph, node);
  if (!axes || axes->empty() || std::find(axes->begin(), axes->end(), axis) != axes->end()) {
    return std::nullopt;
  }
  const auto before =
      std::count_if(axes->begin(), axes->end(), [&](int64_t other) { return other < axis; });
  if (node.op == "ReduceMean") return node.attributes.get_int("keepdims", 1) != 0 ? 0 : before;
  if (node.op == "Gather") {
    const int64_t indices = rank_of(graph, node.input(1));
    if (indices < 0) return std::nullopt;
    return before * (1 - indices);
  }
  return 0;
}

bool keeps_all_axes(std::string_view op) {
  return one_of(op, {"Identity", "Dropout"});
}
bool keeps_order(std::string_view op) {
  return one_of(op, {"Reshape", "Flatten", "Squeeze", "Unsqueeze"});
}
bool pools(std::string_view op) {
  return one_of(op, {"GlobalAveragePool", "AveragePool"});
}

}  // namespace

int64_t rank_of(const Graph& graph, ValueId id) {
  const auto& shape = graph.value(id).shape;
  return shape ? static_cast<int64_t>(shape->size()) : -1;
}

int64_t extent_of(const Graph& graph, ValueId id, int64_t axis) {
  const auto& shape = graph.value(id).shape;
  if (!shape || axis < 0 || axis >= static_cast<int64_t>(shape->size())) return -1;
  return (*shape)[static_cast<size_t>(axis)].value;
}

std::optional<int64_t> axis_behind(const Graph& graph, const Node& node, int64_t axis) {
  if (keeps_all_axes(node.op)) return axis;
  if (pools(node.op)) return axis == 1 ? std::optional(axis) : std::nullopt;
  if (keeps_order(node.op)) return same_stride(graph, node.input(0), node.output(0), axis);
  if (node.op == "Expand") {
    return axis + rank_of(graph, node.output(0)) - rank_of(graph, node.input(0));
  }
  if (node.op == "Transpose") {
    const auto perm = node.attributes.get_ints("perm", {});
    const auto found = std::find(perm.begin(), perm.end(), axis);
    return found == perm.end() ? std::nullopt : std::optional<int64_t>(found - perm.begin());
  }
  const auto removed = removed_axes(graph, node, axis);
  return removed ? std::optional(axis - *removed) : std::nullopt;
}

std::optional<int64_t> axis_before(const Graph& graph, const Node& node, int64_t axis) {
  if (keeps_order(node.op)) return same_stride(graph, node.output(0), node.input(0), axis);
  if (node.op == "Transpose") {
    const auto perm = node.attributes.get_ints("perm", {});
    if (axis >= static_cast<int64_t>(perm.size())) return std::nullopt;
    return perm[static_cast<size_t>(axis)];
  }
  // Of the others the input has few axes: the one that comes to lie there.
  for (int64_t i = 0; i < rank_of(graph, node.input(0)); ++i) {
    if (axis_behind(graph, node, i) == axis) return i;
  }
  return std::nullopt;
}

}  // namespace ounce::quantize
