#include <algorithm>
#include <array>
#include <numeric>
#include <string_view>

#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/output_chain.h"
#include "engine/reference/reference.h"

namespace ounce::engine {
namespace {

/// Functions of one value that a 256-entry table can hold; further operands must be scalar
/// constants.
constexpr std::array<std::string_view, 30> kTabulated = {
    "Relu",     "Clip",      "LeakyRelu",   "Sigmoid",    "Tanh",  "Silu",
    "Gelu",     "HardSwish", "HardSigmoid", "Elu",        "Selu",  "Celu",
    "Softplus", "Softsign",  "Mish",        "Erf",        "Exp",   "Log",
    "Sqrt",     "Abs",       "Neg",         "Reciprocal", "Floor", "Ceil",
    "Mul",      "Add",       "Sub",         "Div",        "Pow",   "ThresholdedRelu"};

/// The operand of `node` that is computed when all others are scalar constants, else -1.
int tabulated_operand(const Graph& graph, const Node& node) {
  if (std::find(kTabulated.begin(), kTabulated.end(), node.op) == kTabulated.end()) return -1;
  int operand = -1;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == kNoValue) continue;
    const Tensor* constant = graph.constant(node.inputs[i]);
    if (constant != nullptr && constant->size() == 1) continue;
    if (constant != nullptr || operand >= 0) return -1;
    operand = static_cast<int>(i);
  }
  return operand;
}

struct TableChain {
  std::vector<int> nodes;  // in order of computation, ending with the QuantizeLinear
  DequantizedValue source;
};

/// Walks backwards from a QuantizeLinear over tabulated functions to a dequantized value.
std::optional<TableChain> table_chain(const Rewriter& rewriter, int quantize) {
  const Graph& graph = rewriter.graph();
  TableChain chain;
  chain.nodes = {quantize};
  ValueId value = rewriter.node(quantize).input(0);
  for (;;) {
    if (const auto source = dequantized(rewriter, graph, value)) {
      chain.source = *source;
      return chain;
    }
    const int i = value == kNoValue ? -1 : rewriter.index().producer(value);
    if (i < 0 || rewriter.absorbed(i) || !rewriter.index().has_single_use(value)) {
      return std::nullopt;
    }
    const int operand = tabulated_operand(graph, rewriter.node(i));
    if (operand < 0) return std::nullopt;
    chain.nodes.insert(chain.nodes.begin(), i);
    value = rewriter.node(i).inputs[static_cast<size_t>(operand)];
  }
}

/// Runs all 256 codes through DQ, the functions and Q.
Tensor tabulate(const Rewriter& rewriter, const TableChain& chain) {
  const Graph& graph = rewriter.graph();
  std::vector<uint8_t> codes(256);
  std::iota(codes.begin(), codes.end(), uint8_t{0});
  Tensor current = Tensor::of(codes, {256});
  std::vector<int> nodes = {chain.source.node};
  nodes.insert(nodes.end(), chain.nodes.begin(), chain.nodes.end());
  for (const int i : nodes) {
    const Node& node = rewriter.node(i);
    std::vector<Tensor> operands;
    for (const ValueId input : node.inputs) {
      if (input == kNoValue) {
        operands.emplace_back();
      } else if (const Tensor* constant = graph.constant(input)) {
        operands.push_back(constant->size() == 1 ? constant->reshaped({}) : *constant);
      } else {
        operands.push_back(current);
      }
    }
    current = reference::evaluate(node, operands)[0];
  }
  return current;
}

void fuse_table(Rewriter& rewriter, int quantize) {
  const Graph& graph = rewriter.graph();
  const ValueId codes = rewriter.node(quantize).output(0);
  if (graph.value(codes).dtype != DType::u8) return;
  if (!tensor_quantization(graph, rewriter.node(quantize), DType::u8)) return;
  const auto chain = table_chain(rewriter, quantize);
  if (!chain) return;
  Node node = rewriter.successor(chain->nodes.front(), internal::kLookup);
  node.inputs = {chain->source.codes};
  node.outputs = {codes};
  node.attributes.set("table", tabulate(rewriter, *chain));
  rewriter.replace(chain->nodes, std::move(node));
}

/// The integer kernels take operands of one shape; a multiplication also a gate a channel.
bool shapes_fit(const Graph& graph, const Node& node) {
  const auto& a = graph.value(node.input(0)).shape;
  const auto& b = graph.value(node.input(1)).shape;
  if (!a || !b) return false;
  if (*a == *b) return true;
  const auto is_gate = [](const SymbolicShape& gate, const SymbolicShape& image) {
    return gate.size() == 4 && image.size() == 4 && gate[0] == image[0] && gate[1] == image[1] &&
           gate[2] == Dim(1) && gate[3] == Dim(1);
  };
  return node.op == "Mul" && (is_gate(*a, *b) || is_gate(*b, *a));
}

/// Add or Mul of two dequantized values, quantized again.
void fuse_binary(Rewriter& rewriter, int i) {
  const Graph& graph = rewriter.graph();
  const Node& node = rewriter.node(i);
  const auto a = dequantized(rewriter, graph, node.input(0));
  const auto b = dequantized(rewriter, graph, node.input(1));
  if (!a || !b || !shapes_fit(graph, node)) return;
  const OutputChain chain = follow_integer(rewriter, node.output(0), 0);
  if (!chain.output || chain.residual != kNoValue) return;
  Node fused = rewriter.successor(i, node.op == "Add" ? internal::kQAdd : internal::kQMul);
  fused.inputs = {a->codes, b->codes};
  fused.outputs = {chain.result};
  fused.attributes.set("a_scale", a->quantization.scale);
  fused.attributes.set("a_zero_point", int64_t{a->quantization.zero_point});
  fused.attributes.set("b_scale", b->quantization.scale);
  fused.attributes.set("b_zero_point", int64_t{b->quantization.zero_point});
  store_output(fused.attributes, chain);
  std::vector<int> absorbed = {i};
  absorbed.insert(absorbed.end(), chain.nodes.begin(), chain.nodes.end());
  rewriter.replace(absorbed, std::move(fused));
}

/// ReduceMean over height and width of an image with kept dimensions.
bool is_spatial_mean(const Graph& graph, const Node& node) {
  const Tensor* axes = graph.constant(node.input(1));
  const auto& shape = graph.value(node.input(0)).shape;
  if (axes == nullptr || !shape || shape->size() != 4 ||
      node.attributes.get_int("keepdims", 1) == 0) {
    return false;
  }
  std::vector<int64_t> list = axes->to_i64();
  for (int64_t& axis : list) axis = normalize_axis(axis, 4);
  std::sort(list.begin(), list.end());
  return list == std::vector<int64_t>{2, 3};
}

void fuse_average_pool(Rewriter& rewriter, int i) {
  const Graph& graph = rewriter.graph();
  const Node& node = rewriter.node(i);
  const bool global = node.op == "GlobalAveragePool" || node.op == "ReduceMean";
  if (node.op == "ReduceMean" && !is_spatial_mean(graph, node)) return;
  const auto source = dequantized(rewriter, graph, node.input(0));
  if (!source || graph.value(source->codes).shape->size() != 4) return;
  const OutputChain chain = follow_integer(rewriter, node.output(0), 0);
  if (!chain.output || chain.residual != kNoValue || chain.activation.kind != Activation::kNone) {
    return;
  }
  Node fused =
      rewriter.successor(i, global ? internal::kQGlobalAveragePool : internal::kQAveragePool);
  if (!global) fused.attributes = node.attributes;
  fused.inputs = {source->codes};
  fused.outputs = {chain.result};
  fused.attributes.set("x_scale", source->quantization.scale);
  fused.attributes.set("x_zero_point", int64_t{source->quantization.zero_point});
  store_output(fused.attributes, chain);
  std::vector<int> absorbed = {i};
  absorbed.insert(absorbed.end(), chain.nodes.begin(), chain.nodes.end());
  rewriter.replace(absorbed, std::move(fused));
}

/// Concat of dequantized values on different grids, quantized: each part is brought to the common
/// grid by a table, then the codes are joined.
void fuse_concat(Rewriter& rewriter, int i) {
  Graph& graph = rewriter.graph();
  const int quantize = rewriter.only_consumer(rewriter.node(i).output(0), "QuantizeLinear");
  if (quantize < 0) return;
  const ValueId codes = rewriter.node(quantize).output(0);
  const auto target = tensor_quantization(graph, rewriter.node(quantize), DType::u8);
  if (!target || graph.value(codes).dtype != DType::u8) return;
  std::vector<DequantizedValue> sources;
  for (const ValueId input : rewriter.node(i).inputs) {
    const auto source = dequantized(rewriter, graph, input);
    if (!source) return;
    sources.push_back(*source);
  }
  Node concat = rewriter.node(i);
  concat.outputs = {codes};
  for (size_t k = 0; k < sources.size(); ++k) {
    concat.inputs[k] = sources[k].codes;
    if (sources[k].quantization == *target) continue;
    const TableChain chain{{quantize}, sources[k]};
    Node requantize;
    requantize.op = internal::kLookup;
    requantize.name = concat.name + ".requantize." + std::to_string(k);
    requantize.inputs = {sources[k].codes};
    const ValueId part = graph.add_value(graph.value(sources[k].codes).name + ".requantized",
                                         DType::u8, graph.value(sources[k].codes).shape);
    requantize.outputs = {part};
    requantize.attributes.set("table", tabulate(rewriter, chain));
    requantize.attributes.set("fused_nodes", fused_nodes(concat));
    concat.inputs[k] = part;
    rewriter.insert_after(quantize, std::move(requantize));
  }
  rewriter.replace({i, quantize}, std::move(concat));
}

/// A table that only follows a product moves into its epilogue.
void merge_tables(Graph& graph) {
  Rewriter rewriter(graph);
  for (int i = 0; i < rewriter.node_count(); ++i) {
    const Node& node = rewriter.node(i);
    if (rewriter.absorbed(i) || (node.op != internal::kQConv && node.op != internal::kQMatMul) ||
        !node.attributes.has("y_scale") || node.attributes.has("table")) {
      continue;
    }
    const int lookup = rewriter.only_consumer(node.output(0), internal::kLookup);
    if (lookup < 0) continue;
    Node merged = node;
    merged.attributes.set("table", *rewriter.node(lookup).attributes.get_tensor("table"));
    merged.outputs = rewriter.node(lookup).outputs;
    rewriter.replace({i, lookup}, std::move(merged));
  }
  rewriter.finish();
}

}  // namespace

void fuse_integer_elementwise(Graph& graph) {
  Rewriter rewriter(graph);
  for (int i = 0; i < rewriter.node_count(); ++i) {
    if (rewriter.absorbed(i)) continue;
    const std::string& op = rewriter.node(i).op;
    if (op == "Add" || op == "Mul") {
      fuse_binary(rewriter, i);
    } else if (op == "AveragePool" || op == "GlobalAveragePool" || op == "ReduceMean") {
      fuse_average_pool(rewriter, i);
    } else if (op == "Concat") {
      fuse_concat(rewriter, i);
    }
  }
  for (int i = 0; i < rewriter.node_count(); ++i) {
    if (!rewriter.absorbed(i) && rewriter.node(i).op == "QuantizeLinear") fuse_table(rewriter, i);
  }
  rewriter.finish();
  merge_tables(graph);
}

}  // namespace ounce::engine
