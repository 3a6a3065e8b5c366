#pragma once

#include <vector>

#include "graph/graph.h"
#include "quantize/plan/plan.h"
#include "quantize/weights.h"

namespace ounce::quantize {

/// Integer weights of a planned layer, and its bias on the accumulator's grid.
struct QuantizedLayer {
  QuantizedWeights weights;
  int bits = 8;
  /// f32 [channels]: bias after correction; undefined: the layer has none.
  Tensor bias;
  /// i32 [channels], bias = code * bias_scales; undefined when activations stay float.
  Tensor bias_codes;
  Tensor bias_scales;  // f32 [channels]: input scale * weight scale
};

/// The numbers for a plan: one quantizer a grid, one scale a binarizer, one entry a layer (products
/// of two activations have an empty one).
struct Calibration {
  std::vector<QuantParams> grids;
  std::vector<float> binarizer_scales;
  std::vector<QuantizedLayer> layers;
};

/// The float graph with QuantizeLinear / DequantizeLinear around everything that is planned:
///
/// - a value on a grid becomes value -> [Clip] -> QuantizeLinear -> DequantizeLinear -> readers.
/// The
///   codes are u8; on grids of fewer than 8 bits a Clip to the grid's range comes first, so that
///   codes end at 2^bits - 1 in any runtime (a Relu or Clip before it is merged with it);
/// - a value that layers with 1-bit activations read becomes value -> Binarize -> these layers (one
///   node, however many they are); where integer work makes the value, they too see what its codes
///   stand for;
/// - a softmax map with logarithmic codes becomes value -> LogQuantize -> the product that reads
/// it;
/// - weights become DequantizeLinear(constant of the narrowest type), zero point 0, which signs
/// (u1)
///   do without: they cannot hold it;
/// - biases become DequantizeLinear(i32 constant) with scale input * weight; the bias behind a
/// MatMul
///   is rounded to the same numbers but stays a float constant, as other runtimes expect it.
///
/// Names of the float values stay: "x" is the unquantized value, "x_quantized" its codes,
/// "x_dequantized" what readers see, "x_binarized" what layers with 1-bit activations see,
/// "x_log_quantized" what a product sees of a softmax map with logarithmic codes.
Graph insert_qdq(const Graph& prepared, const Plan& plan, const Calibration& calibration);

/// Numbers that mean nothing but make a complete graph, for asking the engine what it can run.
Calibration placeholder_calibration(const Graph& prepared, const Plan& plan);

}  // namespace ounce::quantize
