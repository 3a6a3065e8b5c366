#include "quantize/transforms/layer_edits.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "quantize/node_kind.h"

namespace ounce::quantize {
namespace {

const Node& at(const Graph& graph, int node) {
  return graph.nodes[static_cast<size_t>(node)];
}

void scale_rows(Tensor& weights, WeightAxes axes, std::span<const float> scales) {
  const int64_t columns = weights.shape()[1];
  float* w = weights.mutable_data<float>().data();
  for (int64_t i = 0; i < weights.size(); ++i) {
    w[i] *= scales[static_cast<size_t>(axes.reduction == 0 ? i / columns : i % columns)];
  }
}

/// sum over c of offsets[c] W[c, :], one a channel of the result.
std::vector<float> offset_sums(const Tensor& weights, WeightAxes axes,
                               std::span<const float> offsets) {
  const int64_t columns = weights.shape()[1];
  std::vector<double> sums(static_cast<size_t>(weights.shape()[static_cast<size_t>(axes.channel)]),
                           0.0);
  const auto w = weights.data<float>();
  for (int64_t i = 0; i < weights.size(); ++i) {
    const int64_t row = i / columns;
    const int64_t column = i % columns;
    const auto [channel, input] =
        axes.channel == 0 ? std::pair(row, column) : std::pair(column, row);
    sums[static_cast<size_t>(channel)] +=
        static_cast<double>(offsets[static_cast<size_t>(input)]) * w[static_cast<size_t>(i)];
  }
  return {sums.begin(), sums.end()};
}

/// Puts an Add of `bias` behind a MatMul that has none.
void insert_bias(Graph& graph, int layer, const Tensor& bias) {
  const ValueId product = at(graph, layer).output(0);
  const std::string name = at(graph, layer).name;
  const ValueId constant = graph.add_constant(name + ".shift", bias);
  const ValueId sum = graph.add_value(graph.value(product).name + "_shifted", DType::f32,
                                      graph.value(product).shape);
  graph.replace_uses(product, sum);
  Node add;
  add.op = "Add";
  add.name = graph.unique_node_name(name + ".shift");
  add.scope = at(graph, layer).scope;
  add.inputs = {product, constant};
  add.outputs = {sum};
  graph.nodes.insert(graph.nodes.begin() + layer + 1, std::move(add));
}

void add_to_bias(Graph& graph, int layer, const ProductWeights& product,
                 const std::vector<float>& addend) {
  const auto channels = static_cast<int64_t>(addend.size());
  if (product.bias == kNoValue) {
    const Tensor bias = Tensor::of(addend, {channels});
    if (at(graph, layer).op == "MatMul") return insert_bias(graph, layer, bias);
    const ValueId constant = graph.add_constant(at(graph, layer).name + ".shift", bias);
    Node& node = graph.nodes[static_cast<size_t>(layer)];
    node.inputs.resize(3, kNoValue);
    node.inputs[2] = constant;
    return;
  }
  const int holder = product.bias_node >= 0 ? product.bias_node : layer;
  const Node& node = at(graph, holder);
  const auto input = std::find(node.inputs.begin(), node.inputs.end(), product.bias);
  Tensor& bias = own_constant(graph, holder, static_cast<size_t>(input - node.inputs.begin()));
  const std::span<float> values = bias.mutable_data<float>();
  for (size_t c = 0; c < addend.size(); ++c) values[c] += addend[c];
}

}  // namespace

Tensor& own_constant(Graph& graph, int node, size_t i) {
  const ValueId id = at(graph, node).input(i);
  const GraphIndex index(graph);
  if (index.has_single_use(id)) return graph.value(id).constant;
  const ValueId copy = graph.add_constant(graph.value(id).name, graph.value(id).constant);
  graph.nodes[static_cast<size_t>(node)].inputs[i] = copy;
  return graph.value(copy).constant;
}

void absorb_affine(Graph& graph, int layer, std::span<const float> scales,
                   std::span<const float> offsets) {
  const ProductWeights product = *product_weights(graph, GraphIndex(graph), layer);
  Tensor& weights = own_constant(graph, layer, 1);
  std::vector<float> addend;
  if (!offsets.empty()) addend = offset_sums(weights, product.axes, offsets);
  scale_rows(weights, product.axes, scales);
  if (addend.empty()) return;
  // What a MatMul makes before its bias is added is less by the offsets.
  if (at(graph, layer).op == "MatMul") mark_changed(graph, at(graph, layer).output(0));
  add_to_bias(graph, layer, product, addend);
}

void mark_changed(Graph& graph, ValueId id) {
  constexpr std::string_view kMark = "_transformed";
  const std::string& name = graph.value(id).name;
  if (name.find(kMark) != std::string::npos) return;
  graph.rename_value(id, name + std::string(kMark));
}

}  // namespace ounce::quantize
