#pragma once

#include <optional>
#include <string>

#include "graph/graph.h"
#include "quantize/range.h"
#include "quantize/weights.h"

namespace ounce::quantize {

/// What quantization sees in a node.
enum class NodeKind {
  kProduct,            // Conv, Gemm, MatMul with constant weights
  kActivationProduct,  // MatMul of two activations
  kBias,               // Add of a constant vector to a MatMul that nobody else reads
  kClamp,              // Relu, Clip: disappears in the range of what follows
  kTable,              // function of one value: 256 entries
  kAdd,
  kMul,       // of two activations
  kMover,     // moves elements, keeps all of them: Reshape, Transpose, ...
  kSelector,  // moves some of them: Slice, Split, Gather, MaxPool, ...
  kConcat,
  kAverage,  // means over pixels
  kOther,    // float
};

NodeKind kind_of(const Graph& graph, const GraphIndex& index, int node);

/// Operand that is the data of a kTable / kClamp / kBias / kMover ... node (others are constants).
ValueId data_operand(const Graph& graph, const Node& node);

/// The weights of a kProduct node and where they lie.
struct ProductWeights {
  ValueId weights = kNoValue;
  WeightAxes axes;
  int64_t groups = 1;
  ValueId bias = kNoValue;  // f32 constant [channels], or kNoValue
  int bias_node = -1;       // the kBias Add behind a MatMul that holds it, or -1
};
std::optional<ProductWeights> product_weights(const Graph& graph, const GraphIndex& index,
                                              int node);

/// The smallest value that the outputs of a node can take, from its operator and the bounds of its
/// inputs (nullopt: unbounded).
std::optional<LowerBound> lower_bound_of(
    const Graph& graph, const Node& node,
    const std::vector<std::optional<LowerBound>>& value_bounds);

/// Why a heavy node (convolution, matrix product) cannot be quantized at all; empty if it can.
std::string why_not_quantizable(const Graph& graph, const GraphIndex& index, int node);

/// Convolutions, matrix products: what costs time and what users ask about.
bool is_heavy(const Node& node);

}  // namespace ounce::quantize
