#include <algorithm>
#include <map>

#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/quantized_view.h"
#include "engine/reference/reference.h"
#include "engine/session.h"
#include "graph/operator.h"
#include "graph/passes/passes.h"

namespace ounce::engine {
namespace {

bool is_quantizer(const Node& node) {
  return node.op == "QuantizeLinear" || node.op == "DequantizeLinear";
}

/// Values that are DequantizeLinear of something, or such a value with its elements moved.
std::vector<bool> dequantized_values(const Graph& graph) {
  std::vector<bool> result(graph.values.size(), false);
  for (const Node& node : graph.nodes) {
    const ValueId source = node.input(0);
    const bool moved =
        moves_elements(node) && source != kNoValue && result[static_cast<size_t>(source)];
    if (node.op != "DequantizeLinear" && !moved) continue;
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) result[static_cast<size_t>(id)] = true;
    }
  }
  return result;
}

bool reads_any(const Node& node, const std::vector<bool>& values) {
  return std::any_of(node.inputs.begin(), node.inputs.end(),
                     [&](ValueId id) { return id != kNoValue && values[static_cast<size_t>(id)]; });
}

/// Nodes of the original graph that stages up to the integer fusion turned into integer work.
std::map<std::string, std::string> integer_kernels(const Graph& lowered) {
  std::map<std::string, std::string> kernels;
  for (const Node& node : lowered.nodes) {
    const bool on_codes =
        node.op.starts_with("engine.") || (!is_quantizer(node) && node.input(0) != kNoValue &&
                                           lowered.value(node.input(0)).dtype == DType::u8);
    if (!on_codes) continue;
    for (const std::string& name : fused_nodes(node)) kernels[name] = node.op;
  }
  return kernels;
}

std::string why_float(const Graph& graph, const Rewriter& rewriter, const Node& node) {
  if (node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul") {
    if (!dequantized(rewriter, graph, node.input(0))) {
      return "its input is not quantized per tensor to 8 bits";
    }
    if (!dequantized_weight(rewriter, graph, node.input(1))) {
      return "its weights are not symmetric signed codes with one scale an output channel";
    }
    return "its weight scales do not lie along the output channels";
  }
  return "there is no integer kernel for " + node.op + " in this surrounding";
}

}  // namespace

std::vector<IntegerSupport> integer_support(const Graph& qdq_graph) {
  Graph optimized = qdq_graph;
  optimize(optimized, reference::evaluator());
  Graph lowered = optimized;
  lower_quantized(lowered);
  const std::map<std::string, std::string> kernels = integer_kernels(lowered);

  const std::vector<bool> dequantized = dequantized_values(optimized);
  const Rewriter rewriter(optimized);
  std::vector<IntegerSupport> result;
  for (const Node& node : optimized.nodes) {
    if (is_quantizer(node) || !reads_any(node, dequantized)) continue;
    IntegerSupport support{node.name, node.op, false, {}, {}};
    if (const auto found = kernels.find(node.name); found != kernels.end()) {
      support.integer = true;
      support.kernel = found->second;
    } else {
      support.reason = why_float(optimized, rewriter, node);
    }
    result.push_back(std::move(support));
  }
  return result;
}

}  // namespace ounce::engine
