#include "quantize/isolate.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <unordered_map>

#include "engine/reference/reference.h"
#include "graph/error.h"
#include "graph/operator.h"
#include "quantize/node_kind.h"

namespace ounce::quantize {
namespace {

using Names = std::unordered_map<std::string, ValueId>;

/// Values that a run computes or is given.
Names flowing_values(const Graph& graph) {
  Names names;
  for (const ValueId id : graph.inputs) names.emplace(graph.value(id).name, id);
  for (const Node& node : graph.nodes) {
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) names.emplace(graph.value(id).name, id);
    }
  }
  return names;
}

bool is_quantizer(const Node& node) {
  return node.op == "QuantizeLinear" || node.op == "DequantizeLinear";
}

/// What indexes a table is cut where the table is flat: only the table's result tells whether much
/// was lost.
bool only_tables_read(const Graph& graph, const GraphIndex& index, ValueId id) {
  const auto readers = index.consumers(id);
  return !readers.empty() && std::all_of(readers.begin(), readers.end(), [&](int reader) {
    return kind_of(graph, index, reader) == NodeKind::kTable;
  });
}

/// Follows value -> [Clip] -> QuantizeLinear -> DequantizeLinear. The Clip is one that quantization
/// put there; a function of the network that took over the range makes a value of its own.
void find_pair(const Graph& graph, const GraphIndex& index, const Names& exact_names,
               SharedValue& shared) {
  std::vector<ValueId> starts = {shared.in_quantized};
  for (const int reader : index.consumers(shared.in_quantized)) {
    const Node& node = graph.nodes[static_cast<size_t>(reader)];
    const bool inserted =
        node.op == "Clip" && exact_names.count(graph.value(node.output(0)).name) == 0;
    if (inserted) starts.push_back(node.output(0));
  }
  for (const ValueId start : starts) {
    for (const int reader : index.consumers(start)) {
      const Node& quantize = graph.nodes[static_cast<size_t>(reader)];
      if (quantize.op != "QuantizeLinear" || quantize.input(0) != start) continue;
      for (const int next : index.consumers(quantize.output(0))) {
        const Node& dequantize = graph.nodes[static_cast<size_t>(next)];
        if (dequantize.op != "DequantizeLinear") continue;
        shared.quantizer = reader;
        if (!only_tables_read(graph, index, dequantize.output(0))) {
          shared.seen = dequantize.output(0);
        }
        return;
      }
    }
  }
}

/// Copies cones of the quantized graph behind the exact one.
class Isolator {
 public:
  Isolator(const Graph& exact, const Graph& quantized)
      : graph_(exact),
        quantized_(quantized),
        index_(quantized_),
        exact_index_(exact),
        exact_names_(flowing_values(exact)),
        exact_count_(static_cast<int>(exact.nodes.size())) {}

  std::string add(const SharedValue& value) {
    copies_.clear();
    cone_after_ = -1;
    const std::set<int> cone = cone_of(value);
    for (const int i : cone) copy(quantized_.nodes[static_cast<size_t>(i)], value.name);
    copied_after_.resize(graph_.nodes.size() - static_cast<size_t>(exact_count_), cone_after_);
    const ValueId result = copies_.at(value.seen);
    graph_.outputs.push_back(result);  // keeps it alive; undone by `finish`
    return graph_.value(result).name;
  }

  Graph finish(size_t output_count) {
    graph_.outputs.resize(output_count);
    move_cones_forward();
    InferOptions inference;
    inference.evaluator = &engine::reference::evaluator();
    infer_shapes(graph_, inference);
    return std::move(graph_);
  }

 private:
  /// Puts each cone right behind the exact node whose result it waits for. At the end of the graph
  /// all cones together would keep every value they read in memory.
  void move_cones_forward() {
    std::vector<size_t> order(graph_.nodes.size());
    std::iota(order.begin(), order.end(), size_t{0});
    const auto position = [&](size_t i) {
      const int node = static_cast<int>(i);
      return node < exact_count_ ? node : copied_after_[i - static_cast<size_t>(exact_count_)];
    };
    // Exact nodes stand before copies, so that stability puts the node waited for first.
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return position(a) < position(b); });
    std::vector<Node> nodes;
    nodes.reserve(order.size());
    for (const size_t i : order) nodes.push_back(std::move(graph_.nodes[i]));
    graph_.nodes = std::move(nodes);
  }

  /// Node indices (ascending: in order of computation) from the nearest shared values to `value`.
  std::set<int> cone_of(const SharedValue& value) const {
    std::set<int> cone;
    std::vector<ValueId> open = {value.seen};
    while (!open.empty()) {
      const ValueId id = open.back();
      open.pop_back();
      const int producer = id == kNoValue ? -1 : index_.producer(id);
      if (producer < 0 || (id != value.seen && id != value.in_quantized && is_border(id))) continue;
      if (!cone.insert(producer).second) continue;
      const Node& node = quantized_.nodes[static_cast<size_t>(producer)];
      open.insert(open.end(), node.inputs.begin(), node.inputs.end());
    }
    return cone;
  }

  bool is_border(ValueId id) const { return exact_names_.count(quantized_.value(id).name) != 0; }

  ValueId copied(ValueId id) {
    if (id == kNoValue) return id;
    if (const auto found = copies_.find(id); found != copies_.end()) return found->second;
    const Value& value = quantized_.value(id);
    if (value.is_constant()) return copies_[id] = graph_.add_constant(value.name, value.constant);
    const ValueId exact = exact_names_.at(value.name);
    cone_after_ = std::max(cone_after_, exact_index_.producer(exact));
    return exact;
  }

  void copy(const Node& node, const std::string& prefix) {
    Node twin = node;
    twin.name = graph_.unique_node_name(prefix + ".alone." + node.name);
    for (ValueId& id : twin.inputs) id = copied(id);
    for (ValueId& id : twin.outputs) {
      if (id == kNoValue) continue;
      const Value& value = quantized_.value(id);
      const ValueId fresh =
          graph_.add_value(prefix + ".alone." + value.name, value.dtype, value.shape);
      copies_[id] = fresh;
      id = fresh;
    }
    graph_.nodes.push_back(std::move(twin));
  }

  Graph graph_;
  const Graph& quantized_;
  GraphIndex index_;
  GraphIndex exact_index_;
  Names exact_names_;
  int exact_count_;
  std::map<ValueId, ValueId> copies_;  // of the current cone
  int cone_after_ = -1;                // the last exact node that the current cone reads
  std::vector<int> copied_after_;      // the same for each copied node
};

}  // namespace

std::vector<SharedValue> shared_values(const Graph& exact, const Graph& quantized) {
  const Names names = flowing_values(exact);
  const GraphIndex index(quantized);
  std::vector<SharedValue> values;
  for (size_t i = 0; i < quantized.nodes.size(); ++i) {
    const Node& node = quantized.nodes[i];
    if (is_quantizer(node)) continue;
    const NodeKind kind = kind_of(quantized, index, static_cast<int>(i));
    if (kind == NodeKind::kMover || kind == NodeKind::kSelector) continue;
    for (const ValueId id : node.outputs) {
      if (id == kNoValue || quantized.value(id).dtype != DType::f32) continue;
      const auto found = names.find(quantized.value(id).name);
      if (found == names.end() || exact.value(found->second).dtype != DType::f32) continue;
      SharedValue shared{quantized.value(id).name, node.name, node.op, id, id, -1};
      find_pair(quantized, index, names, shared);
      values.push_back(std::move(shared));
    }
  }
  return values;
}

Graph isolate(const Graph& exact, const Graph& quantized, const std::vector<SharedValue>& values,
              std::vector<std::string>& names) {
  Isolator isolator(exact, quantized);
  names.clear();
  for (const SharedValue& value : values) names.push_back(isolator.add(value));
  return isolator.finish(exact.outputs.size());
}

Graph substitute(const Graph& base, const Graph& donor, const std::string& value) {
  const ValueId in_donor = donor.find_value(value);
  if (in_donor == kNoValue || base.find_value(value) == kNoValue) {
    throw Error("the two models do not both have it", "value '" + value + "'");
  }
  Isolator isolator(base, donor);
  const std::string copy = isolator.add({value, "", "", in_donor, in_donor, -1});
  Graph graph = isolator.finish(base.outputs.size());
  // The piece reads what comes before the value, never the value itself.
  graph.replace_uses(graph.find_value(value), graph.find_value(copy));
  graph.remove_dead();
  graph.sort_topologically();
  return graph;
}

}  // namespace ounce::quantize
