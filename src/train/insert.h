#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "train/quantizer.h"

namespace ounce::train {

/// A convolution or matrix product.
struct ProductLayer {
  int node = 0;              // index in the graph's nodes
  bool has_weights = false;  // operand 1 is constant; else both operands are activations
  int64_t channel_axis = 0;  // of the weights, along which output channels lie
  int64_t channels = 0;
};

/// Every Conv, Gemm and MatMul of a graph, in order.
std::vector<ProductLayer> product_layers(const Graph& graph);

/// A graph with FakeQuant nodes, and what they compute: what a Module is made of.
struct Student {
  Graph graph;
  Quantizers quantizers;
};

/// The graph with every FakeQuant node taken out: who read its output reads its input.
Graph without_fake_quant(Graph graph);

/// Puts FakeQuant nodes into a graph. Node indices stay those of the graph given until `finish`.
class FakeQuantInserter {
 public:
  explicit FakeQuantInserter(Graph graph) : graph_(std::move(graph)) {}

  const Graph& graph() const { return graph_; }

  using MakeQuantizer = std::function<std::shared_ptr<Quantizer>()>;
  /// Operand `operand` of node `node` is read through a FakeQuant node named `name`. Readers that
  /// give the same name for the same value share one; `make` is called for the first.
  void quantize(int node, size_t operand, const std::string& name, const MakeQuantizer& make);

  /// "<value>.quant": the name under which all readers of a value share.
  std::string shared_name(int node, size_t operand) const;

  Student finish();

 private:
  Graph graph_;
  Quantizers quantizers_;
  std::map<std::pair<ValueId, std::string>, ValueId> inserted_;
};

}  // namespace ounce::train
