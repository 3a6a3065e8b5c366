#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/lowering/internal_ops.h"
#include "engine/lowering/lower.h"
#include "engine/lowering/output_chain.h"
#include "graph/product.h"

namespace ounce::engine {
namespace {

/// How far from a unit of the sum a bias may lie, in units, that is taken to be on their grid.
constexpr double kGridSlack = 1e-3;

/// A product with integer operands, before its surroundings are looked at.
struct Product {
  std::vector<int> nodes;
  Node node;  // internal node: operator, data input and geometry attributes filled
  Tensor weight_codes;
  std::vector<float> w_scales;
  float x_scale = 1.0F;
  ValueId bias = kNoValue;  // bias operand of the original node
  int64_t channels = 0;     // output channels
  bool bias_may_follow = false;
};

/// The largest value that codes can have: what a Clip before their QuantizeLinear, or the clamp of
/// the node that makes them, leaves of the 256.
int64_t largest_code(const Rewriter& rewriter, ValueId codes) {
  constexpr int64_t kAny = 255;
  const Graph& graph = rewriter.graph();
  const int i = rewriter.index().producer(codes);
  if (i < 0) return kAny;
  const Node& node = rewriter.node(i);
  if (node.op == "Concat") {
    int64_t largest = 0;
    for (const ValueId id : node.inputs) largest = std::max(largest, largest_code(rewriter, id));
    return largest;
  }
  if (moves_elements(node) || node.op == "MaxPool") return largest_code(rewriter, node.input(0));
  if (node.attributes.has("y_scale")) return node.attributes.get_int("hi", kAny);
  if (node.op != "QuantizeLinear") return kAny;
  const auto quantization = tensor_quantization(graph, node, DType::u8);
  const int clip = rewriter.index().producer(node.input(0));
  if (!quantization || clip < 0) return kAny;
  const auto activation = activation_of(graph, rewriter.node(clip));
  return activation ? code_range(*activation, *quantization).hi : kAny;
}

float product_scale(const Product& product, size_t channel) {
  return product.x_scale * product.w_scales[product.w_scales.size() == 1 ? 0 : channel];
}

/// The bias as the kernels add it: to the sum of products, i32 in its units, where it is on that
/// grid and leaves room for the sum; else behind the scales, f32. At few bits a unit is coarse,
/// and half of one, rounded away in every layer, is another network than the trained one.
Tensor bias_constant(const Product& product, const std::vector<float>& bias) {
  constexpr double kLimit = std::numeric_limits<int32_t>::max() / 2.0;
  const Shape shape = {static_cast<int64_t>(bias.size())};
  std::vector<int32_t> codes(bias.size());
  for (size_t c = 0; c < bias.size(); ++c) {
    const double exact = static_cast<double>(bias[c]) / product_scale(product, c);
    const double code = std::nearbyint(exact);
    // A float that stands for a code is off by the roundings of itself and of its unit.
    const double slack = kGridSlack + std::abs(code) * std::numeric_limits<float>::epsilon();
    if (!(std::abs(code) <= kLimit) || std::abs(exact - code) > slack) {
      return Tensor::of(bias, shape);
    }
    codes[c] = static_cast<int32_t>(code);
  }
  return Tensor::of(codes, shape);
}

std::optional<Product> conv_product(const Rewriter& rewriter, int i) {
  const Graph& graph = rewriter.graph();
  const Node& node = rewriter.node(i);
  const auto input = dequantized(rewriter, graph, node.input(0));
  const auto weight = dequantized_weight(rewriter, graph, node.input(1));
  if (!input || !weight || (weight->scales.size() > 1 && weight->axis != 0)) return std::nullopt;
  if (weight->codes.rank() != 3 && weight->codes.rank() != 4) return std::nullopt;
  Product product;
  product.nodes = {i};
  product.node = rewriter.successor(i, internal::kQConv);
  product.node.attributes = node.attributes;
  product.node.attributes.set("x_zero_point", int64_t{input->quantization.zero_point});
  product.node.attributes.set("x_max", largest_code(rewriter, input->codes));
  product.node.inputs = {input->codes};
  product.weight_codes = weight->codes;
  product.w_scales = weight->scales;
  product.x_scale = input->quantization.scale;
  product.bias = node.input(2);
  product.channels = weight->codes.shape()[0];
  return product;
}

/// MatMul or Gemm with a constant right operand of rank 2.
std::optional<Product> matmul_product(const Rewriter& rewriter, int i) {
  const Graph& graph = rewriter.graph();
  const Node& node = rewriter.node(i);
  if (!is_plain_product(node)) return std::nullopt;
  const bool n_by_k = weights_are_n_by_k(node);
  const auto input = dequantized(rewriter, graph, node.input(0));
  const auto weight = dequantized_weight(rewriter, graph, node.input(1));
  if (!input || !weight || weight->codes.rank() != 2) return std::nullopt;
  const int64_t column_axis = n_by_k ? 0 : 1;
  if (weight->scales.size() > 1 && weight->axis != column_axis) return std::nullopt;
  Product product;
  product.nodes = {i};
  product.node = rewriter.successor(i, internal::kQMatMul);
  product.node.attributes.set("x_zero_point", int64_t{input->quantization.zero_point});
  product.node.attributes.set("n_by_k", int64_t{n_by_k});
  product.node.attributes.set("x_max", largest_code(rewriter, input->codes));
  product.node.inputs = {input->codes};
  product.weight_codes = weight->codes;
  product.w_scales = weight->scales;
  product.x_scale = input->quantization.scale;
  product.bias = node.op == "Gemm" ? node.input(2) : kNoValue;
  product.channels = weight->codes.shape()[static_cast<size_t>(column_axis)];
  product.bias_may_follow = product.bias == kNoValue;
  return product;
}

void set_output(Node& node, const Product& product, const OutputChain& chain) {
  AttributeMap& attributes = node.attributes;
  std::vector<float> scales(product.w_scales.size());
  for (size_t c = 0; c < scales.size(); ++c) scales[c] = product_scale(product, c);
  attributes.set("product_scales", Tensor::of(scales, {static_cast<int64_t>(scales.size())}));
  if (chain.output) {
    store_output(attributes, chain);
    if (chain.residual_quantization) {
      attributes.set("residual_scale", chain.residual_quantization->scale);
      attributes.set("residual_zero_point", int64_t{chain.residual_quantization->zero_point});
    }
  } else {
    store_activation(attributes, chain.activation);
    attributes.set("activation_first", int64_t{chain.activation_first});
  }
}

void fuse_product(Rewriter& rewriter, Product product) {
  Graph& graph = rewriter.graph();
  const ValueId result = rewriter.node(product.nodes[0]).output(0);
  const OutputChain chain =
      follow_integer(rewriter, result, product.bias_may_follow ? product.channels : 0);
  std::vector<float> bias;
  const ValueId bias_value = chain.bias != kNoValue ? chain.bias : product.bias;
  if (bias_value != kNoValue) {
    bias = constant_values(rewriter, bias_value);
    if (static_cast<int64_t>(bias.size()) != product.channels) return;  // stays float
  }
  Node node = product.node;
  set_output(node, product, chain);
  node.inputs.push_back(graph.add_constant(node.name + ".weight", product.weight_codes));
  node.inputs.push_back(
      bias.empty() ? kNoValue
                   : graph.add_constant(node.name + ".bias", bias_constant(product, bias)));
  node.inputs.push_back(chain.residual);
  node.outputs = {chain.result};
  std::vector<int> absorbed = product.nodes;
  absorbed.insert(absorbed.end(), chain.nodes.begin(), chain.nodes.end());
  rewriter.replace(absorbed, std::move(node));
}

/// MatMul whose operands are both activations (attention).
void fuse_batch_matmul(Rewriter& rewriter, int i) {
  Graph& graph = rewriter.graph();
  const Node& node = rewriter.node(i);
  const auto a = dequantized(rewriter, graph, node.input(0));
  const auto b = dequantized(rewriter, graph, node.input(1));
  if (!a || !b || graph.value(a->codes).shape->size() < 2 ||
      graph.value(b->codes).shape->size() < 2) {
    return;
  }
  std::vector<int> absorbed = {i};
  ValueId result = node.output(0);
  float alpha = 1.0F;
  if (const int mul = rewriter.only_consumer(result, "Mul"); mul >= 0) {
    const Node& scale = rewriter.node(mul);
    const Tensor* factor = graph.constant(scale.input(scale.input(0) == result ? 1 : 0));
    if (factor != nullptr && factor->size() == 1 && factor->dtype() == DType::f32) {
      alpha = factor->data<float>()[0];
      absorbed.push_back(mul);
      result = scale.output(0);
    }
  }
  Node fused = rewriter.successor(i, internal::kQBatchMatMul);
  fused.inputs = {a->codes, b->codes};
  AttributeMap& attributes = fused.attributes;
  attributes.set("product_scale", a->quantization.scale * b->quantization.scale * alpha);
  attributes.set("a_zero_point", int64_t{a->quantization.zero_point});
  attributes.set("b_zero_point", int64_t{b->quantization.zero_point});
  end_in_codes(rewriter, result, absorbed, attributes);
  fused.outputs = {result};
  rewriter.replace(absorbed, std::move(fused));
}

}  // namespace

void fuse_integer_products(Graph& graph) {
  Rewriter rewriter(graph);
  for (int i = 0; i < rewriter.node_count(); ++i) {
    if (rewriter.absorbed(i)) continue;
    const std::string& op = rewriter.node(i).op;
    std::optional<Product> product;
    if (op == "Conv") {
      product = conv_product(rewriter, i);
    } else if (op == "MatMul" || op == "Gemm") {
      product = matmul_product(rewriter, i);
    }
    if (product) {
      fuse_product(rewriter, std::move(*product));
    } else if (op == "MatMul") {
      fuse_batch_matmul(rewriter, i);
    }
  }
  rewriter.finish();
}

}  // namespace ounce::engine
