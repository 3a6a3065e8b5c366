#include "methods/q_yolo.h"

namespace ounce::methods {
namespace {

const MethodOption kTableBits = {"table-bits", "8",
                                 "8, or layer: bits of the tensor between a convolution and its "
                                 "SiLU table (the paper's table has "
                                 "2^b entries; 8 bits cost the same and lose less)"};

/// Section "Method" of the paper, in its order.
quantize::Options q_yolo(const Request& request) {
  // Weights: W_int = round(W / s), s = max|W| / (2^(b-1) - 1): plain min-max, symmetric, per output
  // channel, after batch norm folding (which `quantize::prepare` does for every method). Below 4
  // bits, of which the paper does not speak, the scale is searched.
  quantize::Options options = common_settings(request, "auto");

  // Activations: unilateral histogram. The lower end is known, l = min SiLU = -0.2785 (the plan
  // carries it from the operator to the quantizer, through pools and concatenations; sums take the
  // measured minimum); the upper end is the bin centre u = c_i, i = 128 .. 2047, that minimises
  //   E(u) = sum_j h_j (Q_{l,u}(c_j) - c_j)^2
  // over the 2048-bin histogram of the calibration data. Tensors that no bound holds for get both
  // ends searched.
  options.layer.range = quantize::RangeRule::kUnilateral;

  // Quantizers sit on the inputs of convolutions: conv -> + bias -> quantize -> SiLU -> int8. So
  // SiLU is evaluated on codes, by a table.
  options.quantize_before_tables = true;
  const std::string table_bits = option_text(request, kTableBits);
  if (table_bits == "layer") {
    // Signs index no table: where such a layer's bits are asked for, what stays is the default.
    const int bits = options.layer.activation_bits;
    if (bits >= quantize::kMinBits) options.table_input_bits = bits;
  } else {
    options.table_input_bits = static_cast<int>(option_number(request, kTableBits));
    quantize::check_bits(options.table_input_bits);
  }
  return options;
}

}  // namespace

Method q_yolo_method() {
  Method method;
  method.name = "q-yolo";
  method.summary = "min-max weights per channel, unilateral histogram for activations";
  method.paper =
      "Q-YOLO: Efficient Inference for Real-time Object Detection, arXiv 2307.04816 (2023)";
  method.needs = "a few hundred unlabelled pictures";
  method.options = common_options("auto");
  method.options.push_back(kTableBits);
  method.configure = q_yolo;
  return method;
}

}  // namespace ounce::methods
