#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/output_chain.h"
#include "graph/product.h"

// MatMul / Gemm whose weights are codes that no integer accumulator takes: f32 activations
// (weight-only quantization), activations on a grid of their own (DynamicFakeQuant), or weights
// with scales of groups along the reduction.
namespace ounce::engine {
namespace {

/// Groups that the packed kernels take.
constexpr int64_t kGroupUnit = 32;

/// Signed weight codes of rank 2 with one scale a column or a group of its reduction.
struct CodeWeights {
  Tensor codes;
  Tensor scales;       // f32: [groups, n] or, with n_by_k, [n, groups]
  Tensor zero_points;  // i8, likewise, or undefined: all 0
  int64_t group = 0;   // 0: one group
};

Tensor repeated(const Tensor& scale, int64_t count) {
  return Tensor::of(std::vector<float>(static_cast<size_t>(count), scale.to_f32()[0]), {count});
}

std::optional<CodeWeights> code_weights(const Rewriter& rewriter, ValueId value, bool n_by_k) {
  const Graph& graph = rewriter.graph();
  const int i = rewriter.producer(value, "DequantizeLinear");
  if (i < 0) return std::nullopt;
  const Node& node = rewriter.node(i);
  const Tensor* codes = graph.constant(node.input(0));
  const Tensor* scale = graph.constant(node.input(1));
  if (codes == nullptr || scale == nullptr || codes->rank() != 2 || scale->dtype() != DType::f32) {
    return std::nullopt;
  }
  if (!holds_weight_codes(*codes)) return std::nullopt;
  CodeWeights weights;
  weights.codes = *codes;
  weights.group = node.attributes.get_int("block_size", 0);
  const int64_t axis = normalize_axis(node.attributes.get_int("axis", 1), 2);
  const int64_t column_axis = n_by_k ? 0 : 1;
  const int64_t columns = codes->shape()[static_cast<size_t>(column_axis)];
  if (weights.group != 0) {
    if (axis == column_axis || weights.group % kGroupUnit != 0) return std::nullopt;
    weights.scales = *scale;
  } else if (scale->size() == 1) {
    weights.scales = repeated(*scale, columns);
  } else {
    if (axis != column_axis) return std::nullopt;
    weights.scales = *scale;
  }
  if (are_zero(graph, node.input(2))) return weights;
  const Tensor* zero_points = graph.constant(node.input(2));
  if (zero_points == nullptr || zero_points->size() != weights.scales.size()) return std::nullopt;
  weights.zero_points = cast(*zero_points, DType::i8);
  return weights;
}

void fuse(Rewriter& rewriter, int i) {
  Graph& graph = rewriter.graph();
  const Node& node = rewriter.node(i);
  const bool n_by_k = weights_are_n_by_k(node);
  const auto weights = code_weights(rewriter, node.input(1), n_by_k);
  if (!weights || graph.value(node.input(0)).dtype != DType::f32) return;
  const int64_t columns = weights->codes.shape()[n_by_k ? 0 : 1];

  Node fused;
  fused.op = internal::kCodeMatMul;
  fused.name = node.name;
  fused.scope = node.scope;
  fused.attributes.set("n_by_k", int64_t{n_by_k});
  fused.attributes.set("scales", weights->scales);
  fused.attributes.set("group", weights->group);
  if (weights->zero_points.defined()) fused.attributes.set("zero_points", weights->zero_points);
  ValueId x = node.input(0);
  if (const int rounding = rewriter.producer(x, "DynamicFakeQuant"); rounding >= 0) {
    const Node& dynamic = rewriter.node(rounding);
    x = dynamic.input(0);
    fused.attributes.set("dynamic_bits", dynamic.attributes.get_int("bits", 8));
    fused.attributes.set("dynamic_per_token", dynamic.attributes.get_int("per_token", 0));
    fused.attributes.set("dynamic_symmetric", dynamic.attributes.get_int("symmetric", 0));
  } else if (const auto input = dequantized(rewriter, graph, x)) {
    x = input->codes;
    fused.attributes.set("x_scale", input->quantization.scale);
    fused.attributes.set("x_zero_point", int64_t{input->quantization.zero_point});
  }
  const bool has_bias = node.op == "Gemm" && node.input(2) != kNoValue;
  const OutputChain chain = follow_float(rewriter, node.output(0), has_bias ? 0 : columns);
  const ValueId bias = has_bias ? node.input(2) : chain.bias;
  fused.inputs = {x, graph.add_constant(node.name + ".weight", weights->codes)};
  replace_with_chain(rewriter, {i}, std::move(fused), bias, columns, chain);
}

}  // namespace

void fuse_code_products(Graph& graph) {
  Rewriter rewriter(graph);
  for (int i = 0; i < rewriter.node_count(); ++i) {
    if (rewriter.absorbed(i)) continue;
    if (is_plain_product(rewriter.node(i))) fuse(rewriter, i);
  }
  rewriter.finish();
}

}  // namespace ounce::engine
