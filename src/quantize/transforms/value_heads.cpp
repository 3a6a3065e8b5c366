#include "quantize/transforms/value_heads.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>

#include "engine/reference/reference.h"
#include "graph/error.h"
#include "graph/operator.h"
#include "graph/passes/passes.h"
#include "quantize/node_kind.h"

namespace ounce::quantize {
namespace {

using Channels = std::vector<std::vector<int64_t>>;  // [heads][channels of a head]

const Node& at(const Graph& graph, int node) {
  return graph.nodes[static_cast<size_t>(node)];
}

/// Whether a node hands elements on as they are.
bool moves(const Graph& graph, const GraphIndex& index, int node) {
  const NodeKind kind = kind_of(graph, index, node);
  const std::string& op = at(graph, node).op;
  return op == "Identity" || op == "Expand" || op == "Tile" || kind == NodeKind::kMover ||
         kind == NodeKind::kSelector;
}

/// A part of a graph that moves elements: from one value to others.
struct Moves {
  std::vector<ValueId> values;  // all on the way, the first one included
  std::vector<ValueId> ends;    // those that anything else reads
};

Moves moves_behind(const Graph& graph, const GraphIndex& index, ValueId start) {
  Moves result;
  std::vector<ValueId> open = {start};
  while (!open.empty()) {
    const ValueId value = open.back();
    open.pop_back();
    result.values.push_back(value);
    bool ends = index.is_output(value);
    for (const int reader : index.consumers(value)) {
      const Node& node = at(graph, reader);
      if (node.op == "Shape" || node.op == "Size") continue;
      if (node.input(0) != value || !moves(graph, index, reader)) {
        ends = true;
        continue;
      }
      for (const ValueId output : node.outputs) {
        if (output != kNoValue) open.push_back(output);
      }
    }
    if (ends) result.ends.push_back(value);
  }
  return result;
}

/// A tensor in which every element is the number of its channel (the last axis; with `groups` the
/// axes before the last two count, too, as a product's batches).
Tensor numbered(const Shape& shape, bool with_groups) {
  Tensor result(DType::f32, shape);
  const std::span<float> numbers = result.mutable_data<float>();
  const auto width = static_cast<size_t>(shape.back());
  const size_t tokens =
      with_groups && shape.size() > 1 ? static_cast<size_t>(shape[shape.size() - 2]) : 0;
  for (size_t i = 0; i < numbers.size(); ++i) {
    const size_t group = tokens > 0 ? i / (width * tokens) : 0;
    numbers[i] = static_cast<float>(group * width + i % width);
  }
  return result;
}

/// The graph with open dimensions of its inputs set to 1, and what is known of shapes then. Throws
/// `Error` where it cannot be run at such a size (images of open height).
Graph with_known_shapes(const Graph& graph) {
  Graph known = graph;
  for (const ValueId id : known.inputs) {
    if (!known.value(id).shape) continue;
    for (Dim& dim : *known.value(id).shape) dim = dim.known() ? dim.value : 1;
  }
  for (const Node& node : known.nodes) {
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) known.value(id).shape.reset();
    }
  }
  InferOptions inference;
  inference.evaluator = &engine::reference::evaluator();
  infer_shapes(known, inference);
  fold_constants(known, engine::reference::evaluator());
  return known;
}

/// What the graph makes of `tensor` in the place of `from`, at `ends`, by its reference operators.
/// nullopt where it cannot be computed from that alone.
std::optional<std::vector<Tensor>> moved(const Graph& graph, const std::string& from,
                                         const Tensor& tensor,
                                         const std::vector<std::string>& ends) {
  Graph part = graph;
  const ValueId start = part.find_value(from);
  part.outputs.clear();
  for (const std::string& end : ends) part.outputs.push_back(part.find_value(end));
  if (start == kNoValue ||
      std::find(part.outputs.begin(), part.outputs.end(), kNoValue) != part.outputs.end()) {
    return std::nullopt;
  }
  part.inputs = {start};
  std::erase_if(part.nodes, [&](const Node& node) {
    return std::find(node.outputs.begin(), node.outputs.end(), start) != node.outputs.end();
  });
  try {
    part.remove_dead();
    const std::vector<Tensor> inputs = {tensor};
    return engine::reference::run(part, inputs);
  } catch (const Error&) {  // shapes that hang on other inputs
    return std::nullopt;
  }
}

/// Rows of a tensor [..., tokens, channels] with one number in every row of a group; nullopt where
/// tokens differ.
std::optional<Channels> channels_of(const Tensor& tensor, bool with_groups) {
  if (tensor.rank() < 2) return std::nullopt;
  const auto width = static_cast<size_t>(tensor.shape().back());
  const size_t rows = width == 0 ? 0 : static_cast<size_t>(tensor.size()) / width;
  const size_t tokens =
      with_groups ? static_cast<size_t>(tensor.shape()[tensor.shape().size() - 2]) : rows;
  if (rows == 0 || tokens == 0) return std::nullopt;
  const auto numbers = tensor.data<float>();
  Channels result;
  for (size_t row = 0; row < rows; ++row) {
    const std::vector<int64_t> channels(numbers.begin() + static_cast<int64_t>(row * width),
                                        numbers.begin() + static_cast<int64_t>((row + 1) * width));
    if (row % tokens == 0) {
      result.push_back(channels);
    } else if (result.back() != channels) {
      return std::nullopt;
    }
  }
  return result;
}

/// Finds both sides of one product.
class HeadFinder {
 public:
  HeadFinder(const Graph& graph, const GraphIndex& index, Graph known)
      : graph_(graph), index_(index), known_(std::move(known)) {}

  std::optional<ValueHeads> find(int product) const {
    ValueHeads heads;
    heads.product = product;
    if (!find_from(heads) || !find_to(heads) || heads.columns.size() != heads.rows.size() ||
        heads.columns.front().size() != heads.rows.front().size()) {
      return std::nullopt;
    }
    return heads;
  }

 private:
  /// The linear layer that makes `value` (its bias included), or -1.
  int layer_before(ValueId value) const {
    int producer = index_.producer(value);
    if (producer >= 0 && kind_of(graph_, index_, producer) == NodeKind::kBias) {
      producer = index_.producer(data_operand(graph_, at(graph_, producer)));
    }
    const bool linear = producer >= 0 && at(graph_, producer).op != "Conv" &&
                        kind_of(graph_, index_, producer) == NodeKind::kProduct;
    return linear ? producer : -1;
  }

  bool find_from(ValueHeads& heads) const {
    const ValueId v = at(graph_, heads.product).input(1);
    ValueId made = v;
    heads.values.push_back(made);
    while (index_.producer(made) >= 0 && moves(graph_, index_, index_.producer(made))) {
      made = at(graph_, index_.producer(made)).input(0);
      heads.values.push_back(made);
    }
    heads.from = layer_before(made);
    if (heads.from < 0) return false;
    // The product without its bias, too.
    const ValueId raw = at(graph_, heads.from).output(0);
    if (raw != made) heads.values.push_back(raw);
    if (raw != made && !index_.has_single_use(raw)) return false;
    const Moves behind = moves_behind(graph_, index_, made);
    const auto result = follow(made, behind, false);
    if (!result) return false;
    std::set<float> mine;
    for (size_t i = 0; i < behind.ends.size(); ++i) {
      if (behind.ends[i] != v) continue;
      const auto columns = channels_of((*result)[i], true);
      if (!columns || !index_.has_single_use(v)) return false;
      heads.columns = *columns;
      const auto numbers = (*result)[i].data<float>();
      mine.insert(numbers.begin(), numbers.end());
    }
    for (size_t i = 0; i < behind.ends.size(); ++i) {
      if (behind.ends[i] == v) continue;
      const auto numbers = (*result)[i].data<float>();
      if (std::any_of(numbers.begin(), numbers.end(),
                      [&](float number) { return mine.count(number) != 0; })) {
        return false;
      }
    }
    return !heads.columns.empty();
  }

  bool find_to(ValueHeads& heads) const {
    const ValueId mixed = at(graph_, heads.product).output(0);
    const Moves behind = moves_behind(graph_, index_, mixed);
    const auto shape = shape_of(mixed);
    if (!shape || shape->empty() || behind.ends.size() != 1 ||
        !index_.has_single_use(behind.ends[0]))
      return false;
    heads.to = index_.consumers(behind.ends[0])[0];
    const auto product = product_weights(graph_, index_, heads.to);
    const bool linear = product && at(graph_, heads.to).op != "Conv" &&
                        at(graph_, heads.to).input(0) == behind.ends[0];
    if (!linear) return false;
    heads.values.insert(heads.values.end(), behind.values.begin(), behind.values.end());
    const auto result = follow(mixed, behind, true);
    const auto inputs = result ? channels_of((*result)[0], false) : std::nullopt;
    if (!inputs || inputs->size() != 1) return false;
    // Input c reads channel k of head h: turned around.
    const auto width = static_cast<size_t>(shape->back());
    const std::vector<int64_t>& numbers = inputs->front();
    if (width == 0 || numbers.size() % width != 0) return false;
    heads.rows.assign(numbers.size() / width, std::vector<int64_t>(width, -1));
    for (size_t c = 0; c < numbers.size(); ++c) {
      const auto number = static_cast<size_t>(numbers[c]);
      if (number >= numbers.size()) return false;
      heads.rows[number / width][number % width] = static_cast<int64_t>(c);
    }
    return std::all_of(heads.rows.begin(), heads.rows.end(), [](const auto& head) {
      return std::find(head.begin(), head.end(), -1) == head.end();
    });
  }

  /// The shape of a value for one input.
  std::optional<Shape> shape_of(ValueId value) const {
    const ValueId known = known_.find_value(graph_.value(value).name);
    if (known == kNoValue || !known_.value(known).shape) return std::nullopt;
    return concrete(*known_.value(known).shape);
  }

  /// Where numbered elements of `start` come to lie at the ends of the moves behind it.
  std::optional<std::vector<Tensor>> follow(ValueId start, const Moves& behind,
                                            bool with_groups) const {
    const auto shape = shape_of(start);
    if (!shape || shape->empty()) return std::nullopt;
    std::vector<std::string> ends;
    for (const ValueId end : behind.ends) ends.push_back(graph_.value(end).name);
    return moved(known_, graph_.value(start).name, numbered(*shape, with_groups), ends);
  }

  const Graph& graph_;
  const GraphIndex& index_;
  Graph known_;  // the same with known shapes
};

bool reads_a_map(const Graph& graph, const GraphIndex& index, int node) {
  ValueId map = at(graph, node).input(0);
  int producer = index.producer(map);
  while (producer >= 0 &&
         (at(graph, producer).op == "Identity" || at(graph, producer).op == "Dropout")) {
    map = at(graph, producer).input(0);
    producer = index.producer(map);
  }
  return producer >= 0 && at(graph, producer).op == "Softmax";
}

}  // namespace

std::vector<ValueHeads> value_heads(const Graph& graph) {
  const GraphIndex index(graph);
  std::vector<int> products;
  for (int i = 0; i < static_cast<int>(graph.nodes.size()); ++i) {
    const bool attends = kind_of(graph, index, i) == NodeKind::kActivationProduct;
    if (attends && reads_a_map(graph, index, i)) products.push_back(i);
  }
  std::vector<ValueHeads> result;
  if (products.empty()) return result;
  try {
    const HeadFinder finder(graph, index, with_known_shapes(graph));
    for (const int i : products) {
      if (auto heads = finder.find(i)) result.push_back(std::move(*heads));
    }
  } catch (const Error&) {
    result.clear();  // shapes hang on the size of the input
  }
  return result;
}

}  // namespace ounce::quantize
