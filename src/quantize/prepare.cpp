#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "engine/reference/reference.h"
#include "graph/operator.h"
#include "graph/passes/passes.h"
#include "quantize/plan/plan.h"

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

bool sign_activations(const Options& options) {
  if (options.layer.activation_bits == 1) return true;
  return std::any_of(
      options.overrides.begin(), options.overrides.end(),
      [](const Override& setting) { return setting.key == "activations" && setting.value == "1"; });
}

/// Pads of a Conv input made by a Pad node that adds zeros around the pixels: begins, then ends of
/// the spatial axes. Empty when the convolution cannot take them over.
std::vector<int64_t> spatial_zero_pads(const Graph& graph, const Node& pad, const Node& conv) {
  const Tensor* amounts = graph.constant(pad.input(1));
  const auto& shape = graph.value(pad.input(0)).shape;
  if (amounts == nullptr || !shape || shape->size() < 3 || pad.input(3) != kNoValue ||
      conv.attributes.get_string("auto_pad", "NOTSET") != "NOTSET") {
    return {};
  }
  const size_t rank = shape->size();
  const std::vector<int64_t> pads = amounts->to_i64();
  if (pads.size() != 2 * rank || *std::min_element(pads.begin(), pads.end()) < 0 || pads[0] != 0 ||
      pads[1] != 0 || pads[rank] != 0 || pads[rank + 1] != 0) {
    return {};
  }
  std::vector<int64_t> spatial(pads.begin() + 2, pads.begin() + static_cast<int64_t>(rank));
  spatial.insert(spatial.end(), pads.begin() + static_cast<int64_t>(rank) + 2, pads.end());
  return spatial;
}

/// Zeros around the input of a convolution become its own: they have no sign, and a Pad before the
/// signs are taken would give them one.
void absorb_zero_pads(Graph& graph) {
  const GraphIndex index(graph);
  for (Node& conv : graph.nodes) {
    const int producer = conv.op == "Conv" ? index.producer(conv.input(0)) : -1;
    if (producer < 0 || kind_of(graph, index, producer) != NodeKind::kMover) continue;
    const Node& pad = graph.nodes[static_cast<size_t>(producer)];
    if (pad.op != "Pad") continue;
    std::vector<int64_t> pads = spatial_zero_pads(graph, pad, conv);
    if (pads.empty()) continue;
    const std::vector<int64_t> own =
        conv.attributes.get_ints("pads", std::vector<int64_t>(pads.size(), 0));
    if (own.size() != pads.size()) continue;
    for (size_t i = 0; i < pads.size(); ++i) pads[i] += own[i];
    conv.attributes.set("pads", std::move(pads));
    conv.inputs[0] = pad.input(0);
  }
  graph.remove_dead();
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
  if (sign_activations(options)) absorb_zero_pads(prepared);
  if (narrow_activations(options)) separate_narrow_inputs(prepared);
  return prepared;
}

}  // namespace ounce::quantize
