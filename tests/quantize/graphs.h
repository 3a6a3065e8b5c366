#pragma once

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace ounce::quantize::testing {

/// Builds small networks with random weights, node by node.
class Builder {
 public:
  explicit Builder(unsigned seed = 1) : random_(seed) {}

  Graph graph;

  ValueId input(std::string_view name, Shape shape);
  Tensor random(Shape shape, float sigma);
  /// Convolution with bias, He-scaled weights, "same" padding.
  ValueId conv(ValueId x, int64_t in, int64_t out, int64_t kernel, std::string_view name,
               int64_t stride = 1, int64_t groups = 1);
  ValueId silu(ValueId x, std::string_view name);  // Sigmoid and Mul, as exporters write it
  ValueId op(std::string_view op, std::vector<ValueId> inputs, std::string_view name,
             AttributeMap attributes = {});
  /// MatMul and Add.
  ValueId linear(ValueId x, int64_t in, int64_t out, std::string_view name);
  ValueId layer_norm(ValueId x, int64_t width, std::string_view name);
  /// Marks the outputs, infers shapes, validates.
  Graph finish(std::vector<ValueId> outputs);

 private:
  std::mt19937 random_;
};

/// Stem, two residual blocks with SiLU, a concatenation with a max-pool, global mean, classifier.
Graph residual_network();
/// The same with Relu, whose additions are followed by Relu (ResNet).
Graph relu_network();
/// Patch embedding, one transformer block, class head.
Graph vit_block();
/// Two heads of a detector: convolutions, then sigmoid, softmax expectation and box arithmetic.
Graph detector_tail();

/// Inputs for a graph, standard normal.
std::vector<Tensor> random_inputs(const Graph& graph, unsigned seed);

}  // namespace ounce::quantize::testing
