#include <algorithm>
#include <array>
#include <numeric>
#include <string>

#include "graph/passes/passes.h"
#include "graph/pattern.h"

namespace ounce {
namespace {

bool all_equal(const Tensor* tensor, int64_t wanted) {
  if (tensor == nullptr || is_float(tensor->dtype())) return false;
  const std::vector<int64_t> values = tensor->to_i64();
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == wanted; });
}

/// Both known in full: concrete or named dimensions only.
bool same_known_shape(const Value& a, const Value& b) {
  if (!a.shape || !b.shape || *a.shape != *b.shape) return false;
  return std::all_of(a.shape->begin(), a.shape->end(),
                     [](const Dim& dim) { return dim.known() || !dim.symbol.empty(); });
}

bool is_identity_permutation(const std::vector<int64_t>& perm) {
  for (size_t i = 0; i < perm.size(); ++i) {
    if (perm[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

template <size_t N>
bool is_one_of(const std::string& op, const std::array<const char*, N>& names) {
  return std::find(names.begin(), names.end(), op) != names.end();
}

/// Operators that keep the element order: with the same shape before and after, they do nothing.
constexpr std::array kReshaping = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile"};
/// Operators over any number of operands that return a single one unchanged.
constexpr std::array kVariadicNames = {"Concat", "Sum", "Max", "Min", "Mean"};

bool is_dropout_without_effect(const Graph& graph, const GraphIndex& index, const Node& node) {
  if (node.output(1) != kNoValue &&
      (!index.consumers(node.output(1)).empty() || index.is_output(node.output(1)))) {
    return false;
  }
  return node.input(2) == kNoValue || all_equal(graph.constant(node.input(2)), 0);
}

bool is_whole_slice(const Graph& graph, const Node& node) {
  const bool steps_forward =
      node.input(4) == kNoValue || all_equal(graph.constant(node.input(4)), 1);
  const Value& x = graph.value(node.inputs[0]);
  const Value& y = graph.value(node.outputs[0]);
  return steps_forward && x.shape && concrete(*x.shape) && same_known_shape(x, y);
}

/// Does the node hand its first input on unchanged?
bool is_no_op(const Graph& graph, const GraphIndex& index, const Node& node) {
  if (node.input(0) == kNoValue || node.output(0) == kNoValue) return false;
  const Value& x = graph.value(node.inputs[0]);
  const Value& y = graph.value(node.outputs[0]);
  if (node.op == "Identity") return true;
  if (node.op == "Dropout") return is_dropout_without_effect(graph, index, node);
  if (node.op == "Cast") return x.dtype != DType::undefined && x.dtype == y.dtype;
  if (node.op == "Transpose") {
    return node.attributes.has("perm") && is_identity_permutation(node.attributes.get_ints("perm"));
  }
  if (node.op == "Slice") return is_whole_slice(graph, node);
  if (node.op == "Pad") return all_equal(graph.constant(node.input(1)), 0);
  if (is_one_of(node.op, kVariadicNames)) return node.inputs.size() == 1;
  return is_one_of(node.op, kReshaping) && same_known_shape(x, y);
}

/// Skips nodes that do nothing, in one sweep: what stands for what is noted, and put in at the end.
class NoOpRemoval {
 public:
  explicit NoOpRemoval(Graph& graph)
      : graph_(graph),
        index_(graph),
        is_output_(graph.values.size(), false),
        is_input_(graph.values.size(), false),
        stands_for_(graph.values.size()) {
    std::iota(stands_for_.begin(), stands_for_.end(), ValueId{0});
    for (const ValueId id : graph.outputs) is_output_[static_cast<size_t>(id)] = true;
    for (const ValueId id : graph.inputs) is_input_[static_cast<size_t>(id)] = true;
  }

  int run() {
    int count = 0;
    for (Node& node : graph_.nodes) {
      substitute(node.inputs);
      if (is_no_op(graph_, index_, node) && bypass(node.outputs[0], node.inputs[0])) ++count;
    }
    for (Node& node : graph_.nodes) substitute(node.inputs);
    substitute(graph_.outputs);
    return count;
  }

 private:
  /// Lets readers of `output` read `source` instead. A graph output keeps its name, so the names
  /// change places; not possible when `source` has a name that is seen outside too.
  bool bypass(ValueId output, ValueId source) {
    const auto from = static_cast<size_t>(output);
    const auto to = static_cast<size_t>(source);
    if (output == source || (index_.consumers(output).empty() && !is_output_[from])) return false;
    if (is_output_[from]) {
      if (index_.producer(source) < 0 || is_output_[to] || is_input_[to]) return false;
      std::swap(graph_.value(source).name, graph_.value(output).name);
      is_output_[from] = false;
      is_output_[to] = true;
    }
    stands_for_[from] = source;
    return true;
  }

  void substitute(std::vector<ValueId>& ids) const {
    for (ValueId& id : ids) {
      if (id != kNoValue) id = stands_for_[static_cast<size_t>(id)];
    }
  }

  Graph& graph_;
  const GraphIndex index_;
  std::vector<bool> is_output_;
  std::vector<bool> is_input_;
  std::vector<ValueId> stands_for_;
};

/// y = Transpose(Transpose(x)) becomes one Transpose.
int join_transposes(Graph& graph) {
  const GraphIndex index(graph);
  int count = 0;
  for (Node& node : graph.nodes) {
    if (node.op != "Transpose" || !node.attributes.has("perm")) continue;
    const int maker = index.producer(node.inputs[0]);
    if (maker < 0) continue;
    const Node& before = graph.nodes[static_cast<size_t>(maker)];
    if (before.op != "Transpose" || !before.attributes.has("perm")) continue;
    const std::vector<int64_t> first = before.attributes.get_ints("perm");
    std::vector<int64_t> perm = node.attributes.get_ints("perm");
    const auto rank = static_cast<int64_t>(first.size());
    const bool fits =
        perm.size() == first.size() &&
        std::all_of(perm.begin(), perm.end(), [&](int64_t p) { return p >= 0 && p < rank; });
    if (!fits) continue;
    for (int64_t& axis : perm) axis = first[static_cast<size_t>(axis)];
    node.attributes.set("perm", perm);
    node.inputs[0] = before.inputs[0];
    ++count;
  }
  return count;
}

/// y = Reshape(Reshape(x)): the first is superfluous unless the second copies a dimension of it.
int join_reshapes(Graph& graph) {
  const GraphIndex index(graph);
  int count = 0;
  for (Node& node : graph.nodes) {
    if (node.op != "Reshape") continue;
    const int maker = index.producer(node.inputs[0]);
    if (maker < 0) continue;
    const Node& before = graph.nodes[static_cast<size_t>(maker)];
    const bool keeps_order = before.op == "Reshape" || before.op == "Flatten" ||
                             before.op == "Squeeze" || before.op == "Unsqueeze";
    const Tensor* target = graph.constant(node.input(1));
    if (!keeps_order || target == nullptr) continue;
    const std::vector<int64_t> dims = target->to_i64();
    const bool copies = std::find(dims.begin(), dims.end(), 0) != dims.end();
    if (copies) continue;
    node.inputs[0] = before.inputs[0];
    ++count;
  }
  return count;
}

}  // namespace

int eliminate_no_ops(Graph& graph) {
  int total = 0;
  while (true) {
    const int count = NoOpRemoval(graph).run() + join_transposes(graph) + join_reshapes(graph);
    graph.remove_dead();
    if (count == 0) return total;
    total += count;
  }
}

}  // namespace ounce
