#include "formats/onnx/standard.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include "graph/error.h"
#include "graph/operator.h"

namespace ounce::formats {
namespace {

/// The opsets that have an operator: from `first` to the one before `withdrawn`.
struct Lifetime {
  std::string_view op;
  int first;
  int withdrawn = std::numeric_limits<int>::max();
};

/// Operators that came after the oldest readable opset (7) or left before the newest.
constexpr std::array kLifetimes = {
    Lifetime{"Acosh", 9},
    Lifetime{"Asinh", 9},
    Lifetime{"Atanh", 9},
    Lifetime{"BitShift", 11},
    Lifetime{"BitwiseAnd", 18},
    Lifetime{"BitwiseNot", 18},
    Lifetime{"BitwiseOr", 18},
    Lifetime{"BitwiseXor", 18},
    Lifetime{"CastLike", 15},
    Lifetime{"Celu", 12},
    Lifetime{"Compress", 9},
    Lifetime{"ConstantOfShape", 9},
    Lifetime{"ConvInteger", 10},
    Lifetime{"Cosh", 9},
    Lifetime{"CumSum", 11},
    Lifetime{"DequantizeLinear", 10},
    Lifetime{"DynamicQuantizeLinear", 11},
    Lifetime{"Einsum", 12},
    Lifetime{"Erf", 9},
    Lifetime{"Expand", 8},
    Lifetime{"EyeLike", 9},
    Lifetime{"GatherElements", 11},
    Lifetime{"GatherND", 11},
    Lifetime{"Gelu", 20},
    Lifetime{"GreaterOrEqual", 12},
    Lifetime{"GridSample", 16},
    Lifetime{"GroupNormalization", 18},
    Lifetime{"HardSwish", 14},
    Lifetime{"IsInf", 10},
    Lifetime{"IsNaN", 9},
    Lifetime{"LayerNormalization", 17},
    Lifetime{"LessOrEqual", 12},
    Lifetime{"MatMulInteger", 10},
    Lifetime{"MeanVarianceNormalization", 9},
    Lifetime{"Mish", 18},
    Lifetime{"Mod", 10},
    Lifetime{"NonMaxSuppression", 10},
    Lifetime{"NonZero", 9},
    Lifetime{"OneHot", 9},
    Lifetime{"QLinearConv", 10},
    Lifetime{"QLinearMatMul", 10},
    Lifetime{"QuantizeLinear", 10},
    Lifetime{"Range", 11},
    Lifetime{"Resize", 10},
    Lifetime{"RoiAlign", 10},
    Lifetime{"Round", 11},
    Lifetime{"Scatter", 9, 11},
    Lifetime{"ScatterElements", 11},
    Lifetime{"ScatterND", 11},
    Lifetime{"Shrink", 9},
    Lifetime{"Sign", 9},
    Lifetime{"Sinh", 9},
    Lifetime{"ThresholdedRelu", 10},
    Lifetime{"Trilu", 14},
    Lifetime{"Upsample", 7, 10},
    Lifetime{"Where", 9},
};

}  // namespace

void check_standard_operator(std::string_view op, int opset) {
  const OperatorSchema* schema = find_operator(op);
  if (schema != nullptr && !schema->domain.empty()) {
    throw Error("ONNX has no operator '" + std::string(op) + "' in opset " + std::to_string(opset),
                {}, "export the model with operators of opset 21 or below");
  }
  const auto* const found = std::find_if(kLifetimes.begin(), kLifetimes.end(),
                                         [&](const Lifetime& row) { return row.op == op; });
  if (found == kLifetimes.end()) return;
  if (opset < found->first) {
    throw Error("ONNX has '" + std::string(op) + "' from opset " + std::to_string(found->first) +
                    " on, the model states opset " + std::to_string(opset),
                {}, "export the model for opset " + std::to_string(found->first) + " or above");
  }
  if (opset >= found->withdrawn) {
    throw Error("ONNX withdrew '" + std::string(op) + "' with opset " +
                    std::to_string(found->withdrawn) + ", the model states opset " +
                    std::to_string(opset),
                {}, "export the model again, for one opset");
  }
}

}  // namespace ounce::formats
