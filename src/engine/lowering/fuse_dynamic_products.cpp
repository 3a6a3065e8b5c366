#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/output_chain.h"

// DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul by both scales, as dynamic quantization of
// ONNX models writes a linear layer.
namespace ounce::engine {
namespace {

/// The other operand of a node of two.
ValueId beside(const Node& node, ValueId value) {
  return node.input(0) == value ? node.input(1) : node.input(0);
}

/// The constant that `product`, a Mul, multiplies `scale` with: one number or one a column.
std::optional<Tensor> weight_scales(const Rewriter& rewriter, ValueId product, ValueId scale,
                                    int64_t columns) {
  const int i = rewriter.producer(product, "Mul");
  if (i < 0) return std::nullopt;
  const Node& node = rewriter.node(i);
  if (node.input(0) != scale && node.input(1) != scale) return std::nullopt;
  const Tensor* scales = rewriter.graph().constant(beside(node, scale));
  if (scales == nullptr || scales->dtype() != DType::f32) return std::nullopt;
  if (scales->size() != 1 && scales->size() != columns) return std::nullopt;
  std::vector<float> values = scales->to_f32();
  values.resize(static_cast<size_t>(columns), values[0]);
  return Tensor::of(values, {columns});
}

void fuse(Rewriter& rewriter, int i) {
  const Graph& graph = rewriter.graph();
  const Node& node = rewriter.node(i);
  const Tensor* weights = graph.constant(node.input(1));
  // Unsigned weights, and those with zero points, do not fit signed bytes once these are taken off.
  if (weights == nullptr || weights->dtype() != DType::i8 || weights->rank() != 2) return;
  if (!are_zero(graph, node.input(3))) return;
  const int64_t columns = weights->shape()[1];
  const int quantizer = rewriter.producer(node.input(0), "DynamicQuantizeLinear");
  if (quantizer < 0) return;
  const Node& quantize = rewriter.node(quantizer);
  if (quantize.output(0) != node.input(0) || quantize.output(2) != node.input(2)) return;

  const int cast = rewriter.only_consumer(node.output(0), "Cast");
  if (cast < 0) return;
  const ValueId sums = rewriter.node(cast).output(0);
  const int scaling = rewriter.only_consumer(sums, "Mul");
  if (scaling < 0 || graph.value(sums).dtype != DType::f32) return;
  const auto scales =
      weight_scales(rewriter, beside(rewriter.node(scaling), sums), quantize.output(1), columns);
  if (!scales) return;

  Node fused;
  fused.op = internal::kCodeMatMul;
  fused.name = node.name;
  fused.scope = node.scope;
  fused.attributes.set("dynamic_bits", int64_t{8});
  fused.attributes.set("scales", *scales);
  const OutputChain chain = follow_float(rewriter, rewriter.node(scaling).output(0), columns);
  fused.inputs = {quantize.input(0), node.input(1)};
  replace_with_chain(rewriter, {i, cast, scaling}, std::move(fused), chain.bias, columns, chain);
}

}  // namespace

void fuse_dynamic_products(Graph& graph) {
  Rewriter rewriter(graph);
  for (int i = 0; i < rewriter.node_count(); ++i) {
    if (!rewriter.absorbed(i) && rewriter.node(i).op == "MatMulInteger") fuse(rewriter, i);
  }
  rewriter.finish();
}

}  // namespace ounce::engine
