#pragma once

#include <span>

#include "graph/graph.h"

/// Changes of single nodes that transforms are made of. Constants that other nodes read too are
/// copied first.
namespace ounce::quantize {

/// A constant that `node` alone reads as its input `i`, copied where others read it. The reference
/// holds until the graph gets another value.
Tensor& own_constant(Graph& graph, int node, size_t i);

/// The layer (MatMul or Gemm with constant weights) reads x' instead of scales[c] x'[c] +
/// offsets[c] and gives what it did:
///   W'[c, :] = scales[c] W[c, :], bias' = bias + sum over c of offsets[c] W[c, :].
/// Empty offsets: none. A MatMul without a bias gets an Add behind it: indices of later nodes move.
void absorb_affine(Graph& graph, int layer, std::span<const float> scales,
                   std::span<const float> offsets);

/// Names a value whose numbers a transform has changed: what compares tensors by name must not
/// compare it with that of the graph before.
void mark_changed(Graph& graph, ValueId id);

}  // namespace ounce::quantize
