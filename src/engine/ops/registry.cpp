#include <algorithm>
#include <utility>

#include "engine/lowering/internal_ops.h"
#include "engine/ops/factories.h"

namespace ounce::engine {
namespace {

constexpr std::pair<std::string_view, StepFactory> kFactories[] = {
    {internal::kConv, make_conv},
    {internal::kConvTranspose, make_conv_transpose},
    {internal::kQConv, make_integer_conv},
    {internal::kMatMul, make_matmul},
    {internal::kQMatMul, make_integer_matmul},
    {internal::kCodeMatMul, make_code_matmul},
    {internal::kBitConv, make_bit_conv},
    {internal::kBitMatMul, make_bit_matmul},
    {internal::kPackBits, make_pack_bits},
    {internal::kBatchMatMul, make_batch_matmul},
    {internal::kQBatchMatMul, make_integer_batch_matmul},
    {"Attention", make_attention},
    {internal::kBitAttention, make_bit_attention},
    {internal::kQAttention, make_integer_attention},
    {"Relu", make_activation},
    {"Clip", make_activation},
    {"LeakyRelu", make_activation},
    {"Sigmoid", make_activation},
    {"Tanh", make_activation},
    {"Silu", make_activation},
    {"Gelu", make_activation},
    {"HardSwish", make_activation},
    {"HardSigmoid", make_activation},
    {"Abs", make_unary},
    {"Neg", make_unary},
    {"Exp", make_unary},
    {"Log", make_unary},
    {"Sqrt", make_unary},
    {"Reciprocal", make_unary},
    {"Erf", make_unary},
    {"Floor", make_unary},
    {"Ceil", make_unary},
    {"Round", make_unary},
    {"Sin", make_unary},
    {"Cos", make_unary},
    {"Add", make_binary},
    {"Sub", make_binary},
    {"Mul", make_binary},
    {"Div", make_binary},
    {"Min", make_binary},
    {"Max", make_binary},
    {"Pow", make_binary},
    {"PRelu", make_binary},
    {internal::kLookup, make_lookup},
    {internal::kQAdd, make_integer_add},
    {internal::kQMul, make_integer_mul},
    {"QuantizeLinear", make_quantize},
    {"DequantizeLinear", make_dequantize},
    {"Softmax", make_softmax},
    {"LayerNormalization", make_layer_norm},
    {"RMSNorm", make_rms_norm},
    {"ReduceMean", make_mean},
    {internal::kMaxPool, make_max_pool},
    {internal::kAveragePool, make_average_pool},
    {internal::kGlobalAveragePool, make_global_average_pool},
    {internal::kQAveragePool, make_integer_average_pool},
    {internal::kQGlobalAveragePool, make_integer_global_average_pool},
    {"Transpose", make_transpose},
    {"Concat", make_concat},
    {"Split", make_split},
    {"Slice", make_slice},
    {"Pad", make_pad},
    {"Gather", make_gather},
    {"Resize", make_resize},
    {"Reshape", make_copy},
    {"Expand", make_copy},
};

}  // namespace

StepFactory find_step_factory(std::string_view op) {
  const auto* const found = std::find_if(std::begin(kFactories), std::end(kFactories),
                                         [&](const auto& entry) { return entry.first == op; });
  return found == std::end(kFactories) ? nullptr : found->second;
}

}  // namespace ounce::engine
