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

/// Binarize'd elements of `x` with its axes moved by `perm`: sign(x) * scales or, where there are
/// thresholds, (x > threshold ? 1 : 0) * scales.
struct BinaryOperand {
  ValueId x = kNoValue;
  std::vector<int64_t> perm;
  Scales scales;
  Scales map_scales;  // twice the thresholds; empty: signs
};

/// Binarize with Transpose nodes and products with positive numbers around it. Those before it
/// change no sign. x is f32, of a concrete shape with elements and two axes at least.
std::optional<BinaryOperand> binary_operand(const Rewriter& rewriter, ValueId value);

/// As a product reads it.
Shape shape_of(const Graph& graph, const BinaryOperand& operand);

/// The value x with its axes moved, by a Transpose directly after node `root`, which it is named
/// for, where they are.
ValueId arranged(Rewriter& rewriter, int root, const BinaryOperand& operand, std::string_view name);

}  // namespace ounce::engine
