#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "engine/reference/reference.h"
#include "graph/operator.h"
#include "graph/passes/passes.h"
#include "quantize/plan.h"

namespace ounce::quantize {
namespace {

bool narrow_activations(const Options& options) {
  if (options.layer.activation_bits < kMaxBits) return true;
  return std::any_of(options.overrides.begin(), options.overrides.end(),
                     [](const Override& setting) { return setting.key == "activations"; });
}

/// Readers that take `value` at the layers' own bits, where another reader adds it.
std::vector<int> narrow_readers(const Graph& graph, const GraphIndex& index, ValueId value) {
  bool added = false;
  std::vector<int> readers;
  for (const int reader : index.consumers(value)) {
    const NodeKind kind = kind_of(graph, index, reader);
    if (kind == NodeKind::kAdd || kind == NodeKind::kMul) {
      added = true;
    } else if (kind == NodeKind::kProduct || kind == NodeKind::kConcat ||
               kind == NodeKind::kSelector) {
      readers.push_back(reader);
    }
  }
  return added ? readers : std::vector<int>{};
}

void separate_narrow_inputs(Graph& graph) {
  std::vector<std::pair<ValueId, std::vector<int>>> split;
  {
    const GraphIndex index(graph);
    for (ValueId id = 0; id < static_cast<ValueId>(graph.values.size()); ++id) {
      auto readers = narrow_readers(graph, index, id);
      if (!readers.empty()) split.emplace_back(id, std::move(readers));
    }
  }
  for (const auto& [value, readers] : split) {
    const std::string name = graph.value(value).name + "_narrow";
    const ValueId narrow = graph.add_node("Identity", {value}, {}, name);
    graph.value(narrow).dtype = graph.value(value).dtype;
    graph.value(narrow).shape = graph.value(value).shape;
    for (const int reader : readers) {
      for (ValueId& input : graph.nodes[static_cast<size_t>(reader)].inputs) {
        if (input == value) input = narrow;
      }
    }
  }
  if (!split.empty()) graph.sort_topologically();
}

}  // namespace

Graph prepare(const Graph& graph, const Options& options) {
  Graph prepared = graph;
  InferOptions inference;
  inference.evaluator = &engine::reference::evaluator();
  infer_shapes(prepared, inference);
  fold_constants(prepared, engine::reference::evaluator());
  // As `optimize`, without the fusion of attention: its two products are quantized one by one.
  for (const auto pass :
       {eliminate_no_ops, merge_common_subexpressions, fold_batch_norm, lower_batch_norm,
        fuse_layer_norm, fuse_rms_norm, fuse_gelu, fuse_hard_swish, fuse_mish, fuse_silu,
        eliminate_no_ops, remove_dead_nodes}) {
    pass(prepared);
  }
  infer_shapes(prepared, inference);
  if (narrow_activations(options)) separate_narrow_inputs(prepared);
  return prepared;
}

}  // namespace ounce::quantize
