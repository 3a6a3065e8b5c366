#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/quantized_view.h"

namespace ounce::engine {
namespace {

/// Operators that move elements of input 0 without computing with them.
constexpr std::array<std::string_view, 16> kMovers = {
    "Reshape",  "Transpose", "Slice",  "Squeeze",       "Unsqueeze",    "Flatten",
    "Expand",   "Tile",      "Gather", "MaxPool",       "DepthToSpace", "SpaceToDepth",
    "Identity", "Dropout",   "Split",  "GatherElements"};

bool is_nearest_resize(const Node& node) {
  return node.op == "Resize" && node.attributes.get_string("mode", "nearest") == "nearest";
}

Tensor scalar_code(const TensorQuantization& quantization) {
  return cast(Tensor::scalar(static_cast<int64_t>(quantization.zero_point)), quantization.dtype);
}

Node dequantize_node(Graph& graph, ValueId codes, ValueId result, const TensorQuantization& q) {
  Node node;
  node.op = "DequantizeLinear";
  node.name = graph.unique_node_name(graph.value(result).name + ".dequantize");
  node.inputs = {codes, graph.add_constant("scale", Tensor::scalar(q.scale)),
                 graph.add_constant("zero_point", scalar_code(q))};
  node.outputs = {result};
  return node;
}

/// Lets node `i` read codes instead of dequantized values and dequantizes its outputs.
void move_behind(Rewriter& rewriter, int i, const TensorQuantization& quantization) {
  Graph& graph = rewriter.graph();
  std::vector<ValueId> results = rewriter.node(i).outputs;
  for (ValueId& result : results) {
    if (result == kNoValue) continue;
    const ValueId codes = graph.add_value(graph.value(result).name + ".codes", quantization.dtype,
                                          graph.value(result).shape);
    rewriter.insert_after(i, dequantize_node(graph, codes, result, quantization));
    result = codes;
  }
  rewriter.node(i).outputs = results;
}

bool sink_through_mover(Rewriter& rewriter, int i) {
  const auto source = dequantized(rewriter, rewriter.graph(), rewriter.node(i).input(0));
  if (!source || rewriter.graph().value(rewriter.node(i).output(0)).is_constant()) return false;
  rewriter.node(i).inputs[0] = source->codes;
  move_behind(rewriter, i, source->quantization);
  return true;
}

/// Zero padding of dequantized values is padding with the zero point.
bool sink_through_pad(Rewriter& rewriter, int i) {
  Graph& graph = rewriter.graph();
  Node& node = rewriter.node(i);
  const auto source = dequantized(rewriter, graph, node.input(0));
  if (!source || node.attributes.get_string("mode", "constant") != "constant") return false;
  if (node.input(2) != kNoValue) {
    const Tensor* fill = graph.constant(node.input(2));
    if (fill == nullptr || fill->to_f32()[0] != 0.0F) return false;
  }
  node.inputs.resize(std::max<size_t>(node.inputs.size(), 3), kNoValue);
  node.inputs[0] = source->codes;
  const ValueId zero = graph.add_constant("pad_code", scalar_code(source->quantization));
  rewriter.node(i).inputs[2] = zero;
  move_behind(rewriter, i, source->quantization);
  return true;
}

/// Concatenation of dequantized values that share one grid.
bool sink_through_concat(Rewriter& rewriter, int i) {
  Graph& graph = rewriter.graph();
  std::vector<ValueId> codes;
  std::optional<TensorQuantization> common;
  for (const ValueId input : rewriter.node(i).inputs) {
    const auto source = dequantized(rewriter, graph, input);
    if (!source || (common && !(*common == source->quantization))) return false;
    common = source->quantization;
    codes.push_back(source->codes);
  }
  if (!common) return false;
  rewriter.node(i).inputs = codes;
  move_behind(rewriter, i, *common);
  return true;
}

bool sink_once(Graph& graph) {
  Rewriter rewriter(graph);
  for (int i = 0; i < rewriter.node_count(); ++i) {
    const Node& node = rewriter.node(i);
    if (moves_elements(node)) {
      sink_through_mover(rewriter, i);
    } else if (node.op == "Pad") {
      sink_through_pad(rewriter, i);
    } else if (node.op == "Concat") {
      sink_through_concat(rewriter, i);
    }
  }
  return rewriter.finish();
}

/// DQ -> Q with equal parameters is the identity on codes.
void cancel_pairs(Graph& graph) {
  std::vector<std::pair<ValueId, ValueId>> equal;
  {
    const Rewriter rewriter(graph);
    for (const Node& node : graph.nodes) {
      if (node.op != "QuantizeLinear") continue;
      const DType dtype = graph.value(node.output(0)).dtype;
      const auto target = tensor_quantization(graph, node, dtype);
      const auto source = dequantized(rewriter, graph, node.input(0));
      if (target && source && *target == source->quantization) {
        equal.emplace_back(node.output(0), source->codes);
      }
    }
  }
  // A chain of pairs maps through earlier replacements.
  std::map<ValueId, ValueId> replaced;
  for (auto [from, to] : equal) {
    if (const auto found = replaced.find(to); found != replaced.end()) to = found->second;
    graph.replace_uses(from, to, /*and_outputs=*/false);
    replaced[from] = to;
  }
}

}  // namespace

bool moves_elements(const Node& node) {
  if (is_nearest_resize(node)) return true;
  if (node.op == "MaxPool") return node.outputs.size() == 1;
  return std::find(kMovers.begin(), kMovers.end(), node.op) != kMovers.end();
}

void make_activations_unsigned(Graph& graph) {
  const GraphIndex index(graph);
  const auto only_feeds_dequantize = [&](ValueId codes) {
    const auto readers = index.consumers(codes);
    return !index.is_output(codes) && !readers.empty() &&
           std::all_of(readers.begin(), readers.end(), [&](int reader) {
             const Node& node = graph.nodes[static_cast<size_t>(reader)];
             return node.op == "DequantizeLinear" &&
                    tensor_quantization(graph, node, DType::i8).has_value();
           });
  };
  const auto shift_zero_point = [&](Node& node) {
    const int32_t zero_point = tensor_quantization(graph, node, DType::i8)->zero_point;
    node.inputs.resize(3, kNoValue);
    node.inputs[2] =
        graph.add_constant("zero_point", Tensor::scalar(static_cast<uint8_t>(zero_point + 128)));
  };
  const size_t count = graph.nodes.size();
  for (size_t i = 0; i < count; ++i) {
    Node& node = graph.nodes[i];
    const ValueId codes = node.output(0);
    if (node.op != "QuantizeLinear" || graph.value(codes).dtype != DType::i8 ||
        !tensor_quantization(graph, node, DType::i8) || !only_feeds_dequantize(codes)) {
      continue;
    }
    shift_zero_point(node);
    node.attributes.erase("output_dtype");
    graph.value(codes).dtype = DType::u8;
    for (const int reader : index.consumers(codes)) {
      shift_zero_point(graph.nodes[static_cast<size_t>(reader)]);
    }
  }
}

void sink_dequantize(Graph& graph) {
  // Each sweep moves a DQ behind one more operator; a DQ -> Q pair it meets frees the next one.
  constexpr int kMaxSweeps = 64;
  for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
    const bool moved = sink_once(graph);
    cancel_pairs(graph);
    graph.remove_dead();
    if (!moved) return;
  }
}

}  // namespace ounce::engine
