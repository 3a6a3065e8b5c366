#include <algorithm>
#include <utility>

#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/output_chain.h"
#include "engine/reference/reference.h"
#include "graph/ops/window.h"
#include "graph/product.h"

namespace ounce::engine {
namespace {

bool is_constant_f32(const Graph& graph, ValueId id) {
  const Tensor* constant = graph.constant(id);
  return constant != nullptr && constant->dtype() == DType::f32;
}

/// A product with a constant right operand, before its surroundings are looked at.
struct FloatProduct {
  Node node;            // internal node with data, weight and bias inputs
  int64_t columns = 0;  // length of a bias that may follow as Add; 0: none
};

std::optional<FloatProduct> conv_product(const Graph& graph, const Node& node) {
  if (!is_constant_f32(graph, node.input(1)) ||
      (node.input(2) != kNoValue && !is_constant_f32(graph, node.input(2)))) {
    return std::nullopt;
  }
  const int64_t rank = graph.constant(node.input(1))->rank();
  if (rank != 3 && rank != 4) return std::nullopt;
  FloatProduct product;
  product.node.op = internal::kConv;
  product.node.attributes = node.attributes;
  product.node.inputs = {node.input(0), node.input(1), node.input(2)};
  return product;
}

/// The padding that pads, auto_pad or output_shape amount to, made explicit.
std::optional<FloatProduct> conv_transpose_product(const Graph& graph, const Node& node) {
  std::optional<FloatProduct> product = conv_product(graph, node);
  const auto& symbolic_shape = graph.value(node.input(0)).shape;
  const std::optional<Shape> in = symbolic_shape ? concrete(*symbolic_shape) : std::nullopt;
  if (!product || !in) return std::nullopt;
  const Shape& weight = graph.constant(node.input(1))->shape();
  const size_t axes = weight.size() - 2;
  if (in->size() != weight.size()) return std::nullopt;
  const ops::Window window = ops::read_window(node, axes, Shape(weight.begin() + 2, weight.end()));
  const std::vector<int64_t> wanted = ops::wanted_output_shape(node, axes);
  std::vector<int64_t> strides, dilations, pads(2 * axes, 0);
  for (size_t i = 0; i < axes; ++i) {
    ops::WindowAxis axis = window.axes[i];
    ops::resolve_transposed(window, axis, (*in)[i + 2], wanted[i]);
    strides.push_back(axis.stride);
    dilations.push_back(axis.dilation);
    pads[i] = axis.pad_begin;
  }
  AttributeMap attributes;
  attributes.set("strides", strides);
  attributes.set("dilations", dilations);
  attributes.set("pads", pads);
  attributes.set("group", node.attributes.get_int("group", 1));
  product->node.op = internal::kConvTranspose;
  product->node.attributes = std::move(attributes);
  return product;
}

std::optional<FloatProduct> matmul_product(const Graph& graph, const Node& node) {
  const Tensor* weight = graph.constant(node.input(1));
  if (!is_plain_product(node) || !is_constant_f32(graph, node.input(1)) || weight->rank() != 2 ||
      graph.value(node.input(0)).dtype != DType::f32) {
    return std::nullopt;
  }
  FloatProduct product;
  product.node.op = internal::kMatMul;
  product.node.inputs = {node.input(0), node.input(1), kNoValue};
  const bool n_by_k = weights_are_n_by_k(node);
  product.node.attributes.set("n_by_k", int64_t{n_by_k});
  product.columns = weight->shape()[n_by_k ? 0 : 1];
  if (node.op == "Gemm" && node.input(2) != kNoValue) {
    const Tensor* bias = graph.constant(node.input(2));
    const bool is_row = bias != nullptr && bias->size() == product.columns &&
                        !bias->shape().empty() && bias->shape().back() == product.columns;
    if (!is_row) return std::nullopt;
    product.node.inputs[2] = node.input(2);
    product.columns = 0;
  }
  return product;
}

void fuse_product(Rewriter& rewriter, int i, FloatProduct product) {
  const Node& original = rewriter.node(i);
  const OutputChain chain = follow_float(rewriter, original.output(0), product.columns);
  Node node = std::move(product.node);
  node.name = original.name;
  node.scope = original.scope;
  if (chain.bias != kNoValue) node.inputs[2] = chain.bias;
  node.inputs.push_back(chain.residual);
  node.outputs = {chain.result};
  store_activation(node.attributes, chain.activation);
  node.attributes.set("activation_first", int64_t{chain.activation_first});
  std::vector<int> absorbed = {i};
  absorbed.insert(absorbed.end(), chain.nodes.begin(), chain.nodes.end());
  rewriter.replace(absorbed, std::move(node));
}

/// MatMul of two activations.
void name_batch_matmul(Rewriter& rewriter, int i) {
  const Graph& graph = rewriter.graph();
  Node& node = rewriter.node(i);
  const auto is_matrix = [&](ValueId id) {
    const Value& value = graph.value(id);
    return value.dtype == DType::f32 && value.shape && value.shape->size() >= 2;
  };
  if (is_matrix(node.input(0)) && is_matrix(node.input(1))) {
    node.op = internal::kBatchMatMul;
  }
}

}  // namespace

void fold_dequantized_constants(Graph& graph) {
  // In their order: codes become floats before something is added to these.
  const auto is_folded = [](const Node& node) {
    return node.op == "DequantizeLinear" || node.op == "Add";
  };
  for (const Node& node : graph.nodes) {
    const auto is_constant = [&](ValueId id) {
      return id == kNoValue || graph.constant(id) != nullptr;
    };
    if (!is_folded(node) || !std::all_of(node.inputs.begin(), node.inputs.end(), is_constant)) {
      continue;
    }
    std::vector<Tensor> operands;
    for (const ValueId input : node.inputs) {
      operands.push_back(input == kNoValue ? Tensor() : *graph.constant(input));
    }
    graph.value(node.output(0)).constant = reference::evaluate(node, operands)[0];
  }
  std::erase_if(graph.nodes, [&](const Node& node) {
    return is_folded(node) && graph.value(node.output(0)).is_constant();
  });
}

void fuse_float(Graph& graph) {
  Rewriter rewriter(graph);
  for (int i = 0; i < rewriter.node_count(); ++i) {
    if (rewriter.absorbed(i)) continue;
    const Node& node = rewriter.node(i);
    std::optional<FloatProduct> product;
    if (node.op == "Conv") {
      product = conv_product(graph, node);
    } else if (node.op == "ConvTranspose") {
      product = conv_transpose_product(graph, node);
    } else if (node.op == "MatMul" || node.op == "Gemm") {
      product = matmul_product(graph, node);
    }
    if (product) {
      fuse_product(rewriter, i, std::move(*product));
    } else if (node.op == "MatMul") {
      name_batch_matmul(rewriter, i);
    }
  }
  rewriter.finish();
}

}  // namespace ounce::engine
