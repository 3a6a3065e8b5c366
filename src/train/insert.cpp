#include "train/insert.h"

#include "graph/error.h"
#include "graph/operator.h"
#include "graph/product.h"

namespace ounce::train {

std::vector<ProductLayer> product_layers(const Graph& graph) {
  std::vector<ProductLayer> layers;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const bool conv = node.op == "Conv";
    if (!conv && !is_plain_product(node)) continue;
    ProductLayer layer;
    layer.node = static_cast<int>(n);
    if (const Tensor* weights = graph.constant(node.input(1))) {
      layer.has_weights = true;
      layer.channel_axis = conv || weights_are_n_by_k(node) ? 0 : weights->rank() - 1;
      layer.channels = weights->shape()[static_cast<size_t>(layer.channel_axis)];
    }
    layers.push_back(layer);
  }
  return layers;
}

Graph without_fake_quant(Graph graph) {
  for (const Node& node : graph.nodes) {
    if (node.op == "FakeQuant") graph.replace_uses(node.output(0), node.input(0));
  }
  graph.remove_dead();
  return graph;
}

std::string FakeQuantInserter::shared_name(int node, size_t operand) const {
  return graph_.value(graph_.nodes[static_cast<size_t>(node)].input(operand)).name + ".quant";
}

void FakeQuantInserter::quantize(int node, size_t operand, const std::string& name,
                                 const MakeQuantizer& make) {
  const auto index = static_cast<size_t>(node);
  const ValueId value = graph_.nodes[index].input(operand);
  if (value == kNoValue) {
    throw Error("node " + graph_.nodes[index].name + ": operand " + std::to_string(operand) +
                " is missing");
  }
  ValueId& rounded = inserted_.try_emplace({value, name}, kNoValue).first->second;
  if (rounded == kNoValue) {
    rounded = graph_.add_node("FakeQuant", {value}, {}, name);
    graph_.nodes.back().scope = graph_.nodes[index].scope;
    if (graph_.nodes.back().name != name) {
      throw Error("two values are quantized under the name " + name);
    }
    quantizers_[name] = make();
  }
  graph_.nodes[index].inputs[operand] = rounded;
}

Student FakeQuantInserter::finish() {
  graph_.sort_topologically();
  infer_shapes(graph_);
  graph_.validate();
  return {std::move(graph_), std::move(quantizers_)};
}

}  // namespace ounce::train
