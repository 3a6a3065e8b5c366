#pragma once

#include <optional>
#include <vector>

#include "engine/lowering/activation.h"
#include "engine/lowering/quantized_view.h"

namespace ounce::engine {

/// What follows a product (convolution, matrix product) and can be computed in its epilogue.
struct OutputChain {
  std::vector<int> nodes;       // to be absorbed, the product itself not included
  ValueId result = kNoValue;    // what the fused node makes
  ValueId bias = kNoValue;      // constant vector added along the last dimension
  ValueId residual = kNoValue;  // f32 value, or the codes of `residual_quantization`
  std::optional<TensorQuantization> residual_quantization;
  ActivationSpec activation;
  bool activation_first = false;             // before the residual addition
  std::optional<TensorQuantization> output;  // u8 codes instead of f32
};

/// Follows `product`, the float result of a node with integer operands: to a QuantizeLinear if one
/// can be reached over [bias] [residual codes] [Relu or Clip], else as `follow_float`.
/// `columns`: length of a bias vector along the last dimension; 0 when a bias cannot follow.
OutputChain follow_integer(const Rewriter& rewriter, ValueId product, int64_t columns);

/// Follows over [bias] [residual] [activation] [residual].
OutputChain follow_float(const Rewriter& rewriter, ValueId product, int64_t columns);

/// Replaces the nodes `absorbed`, a product, and `chain`, what follows it with an f32 result, by
/// `fused`, whose inputs are the operands: bias ([columns] of constants, or kNoValue), residual,
/// activation and output are added. Nothing changes where the bias is computed.
void replace_with_chain(Rewriter& rewriter, std::vector<int> absorbed, Node fused, ValueId bias,
                        int64_t columns, const OutputChain& chain);

/// Writes what becomes of a chain that ends in codes: y_scale, y_zero_point, lo, hi.
void store_output(AttributeMap& attributes, const OutputChain& chain);

/// Lets a product of two activations, whose float result is `result`, end in the QuantizeLinear
/// that can be reached over [Relu or Clip]: y_scale, y_zero_point, lo and hi join the attributes,
/// these nodes those absorbed, and `result` becomes the codes. Changes nothing where there is none.
void end_in_codes(const Rewriter& rewriter, ValueId& result, std::vector<int>& absorbed,
                  AttributeMap& attributes);

/// Clamping range of u8 codes that Relu or Clip before quantization amounts to.
struct CodeRange {
  int32_t lo = 0;
  int32_t hi = 255;
};
CodeRange code_range(const ActivationSpec& activation, const TensorQuantization& output);

}  // namespace ounce::engine
