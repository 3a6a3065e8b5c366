#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "engine/lowering/rewriter.h"

// Operands of products of two activations that Binarize makes: signs times scales, and maps.
namespace ounce::engine {

/// Positive numbers: one for all, or one a head, which is the last axis of a product's batch.
using Scales = std::vector<double>;

/// The scales of a Binarize; nullopt where one is not positive and finite, or where they lie along
/// another axis than `head_axis`, which is negative where a product has no batch.
std::optional<Scales> scales_of(const Graph& graph, const Node& binarize, int64_t head_axis);

Scales product(const Scales& a, const Scales& b);
/// As an f32 vector.
Tensor scales_tensor(const Scales& scales);

/// A value that is another one times a number.
struct Scaling {
  int node = -1;
  ValueId x = kNoValue;
  double factor = 1.0;
};
std::optional<Scaling> scaling(const Rewriter& rewriter, ValueId value);

/// sign(x) * scales or, of a map, (x > map_scale / 2 ? 1 : 0) * scales. Axis i of what the product
/// reads is axis perm[i] of x.
struct BinaryOperand {
  ValueId x = kNoValue;
  std::vector<int64_t> perm;
  Scales scales;
  Scales map_scales;  // empty: signs
};

/// Binarize with Transpose nodes and products with positive numbers around it. Those before it
/// change no sign. x is f32, of a concrete shape with elements and two axes at least.
std::optional<BinaryOperand> binary_operand(const Rewriter& rewriter, ValueId value);

/// As a product reads it.
Shape shape_of(const Graph& graph, const BinaryOperand& operand);

/// The value x with its axes moved: where they are, by a Transpose directly after node `root`.
ValueId arranged(Rewriter& rewriter, int root, const BinaryOperand& operand,
                 std::string_view suffix);

}  // namespace ounce::engine
