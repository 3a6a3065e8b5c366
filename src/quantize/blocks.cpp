#include "quantize/blocks.h"

#include <algorithm>
#include <set>

#include "graph/error.h"
#include "quantize/node_kind.h"

namespace ounce::quantize {
namespace {

/// Counts, node by node, which computed values are still to be read.
class LiveValues {
 public:
  explicit LiveValues(const Graph& graph) : graph_(graph), readers_left_(graph.values.size(), 0) {
    for (const Node& node : graph.nodes) {
      for (const ValueId id : node.inputs) count(id);
    }
    for (const ValueId id : graph.outputs) count(id);
    for (const ValueId id : graph.inputs) add(id);
  }

  void run(const Node& node) {
    for (const ValueId id : node.inputs) {
      if (id == kNoValue || graph_.value(id).is_constant()) continue;
      if (--readers_left_[static_cast<size_t>(id)] == 0) live_.erase(id);
    }
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) add(id);
    }
  }

  /// The one value that what follows reads, or kNoValue when there are several.
  ValueId only() const { return live_.size() == 1 ? *live_.begin() : kNoValue; }

 private:
  void count(ValueId id) {
    if (id != kNoValue && !graph_.value(id).is_constant()) {
      ++readers_left_[static_cast<size_t>(id)];
    }
  }
  void add(ValueId id) {
    if (readers_left_[static_cast<size_t>(id)] > 0) live_.insert(id);
  }

  const Graph& graph_;
  std::vector<int> readers_left_;
  std::set<ValueId> live_;
};

}  // namespace

std::vector<Block> split_into_blocks(const Graph& graph, std::span<const int> layers) {
  std::vector<Block> blocks;
  if (graph.inputs.size() != 1 || graph.outputs.size() != 1 || layers.empty()) return blocks;
  LiveValues live(graph);
  Block block;
  block.input = graph.inputs[0];
  size_t next_layer = 0;
  // The last border so far, which biases, activations and pools push on up to the next layer or
  // branch.
  const auto close = [&] {
    if (block.output == kNoValue) return;
    blocks.push_back(block);
    block = {block.last, 0, block.output, kNoValue, {}};
  };
  const int count = static_cast<int>(graph.nodes.size());
  for (int i = 0; i < count; ++i) {
    if (next_layer < layers.size() && layers[next_layer] == i) {
      close();
      block.layers.push_back(i);
      ++next_layer;
    }
    live.run(graph.nodes[static_cast<size_t>(i)]);
    const ValueId border = live.only();
    if (block.layers.empty() || next_layer == layers.size()) continue;
    if (border == kNoValue) {
      close();
    } else {
      block.output = border;
      block.last = i + 1;
    }
  }
  block.output = graph.outputs[0];
  block.last = count;
  blocks.push_back(block);
  return blocks;
}

Block unit_of_layer(const Graph& graph, int layer) {
  const GraphIndex index(graph);
  const Node& node = graph.nodes[static_cast<size_t>(layer)];
  Block unit = {layer, layer + 1, node.input(0), node.output(0), {layer}};
  for (int maker = index.producer(unit.input); maker >= 0; maker = index.producer(unit.input)) {
    const Node& before = graph.nodes[static_cast<size_t>(maker)];
    if (before.op != "Identity") break;
    unit.input = before.input(0);
  }
  while (index.has_single_use(unit.output)) {
    const int reader = index.consumers(unit.output)[0];
    const NodeKind kind = kind_of(graph, index, reader);
    if (kind != NodeKind::kBias && kind != NodeKind::kClamp && kind != NodeKind::kTable) break;
    unit.output = graph.nodes[static_cast<size_t>(reader)].output(0);
    unit.last = reader + 1;
  }
  return unit;
}

Graph part_of(const Graph& graph, const std::vector<ValueId>& inputs,
              const std::vector<ValueId>& outputs) {
  const std::vector<ValueId> given = graph.inputs;
  Graph part = graph;
  part.inputs = inputs;
  part.outputs = outputs;
  std::erase_if(part.nodes, [&](const Node& node) {
    return std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId id) {
      return std::find(inputs.begin(), inputs.end(), id) != inputs.end();
    });
  });
  // What is still asked of the graph's own inputs shows once the dead are gone.
  std::vector<std::string> names;
  for (const ValueId id : given) {
    if (std::find(inputs.begin(), inputs.end(), id) == inputs.end()) {
      names.push_back(graph.value(id).name);
    }
  }
  part.remove_dead();
  for (const std::string& name : names) {
    if (part.find_value(name) != kNoValue) {
      throw Error("is needed, too", "input '" + name + "'", "a part that begins behind it");
    }
  }
  return part;
}

}  // namespace ounce::quantize
