#pragma once

#include "engine/plan/step.h"

/// The fast step factories, one a family file of this folder; registry.cpp lists them by operator.
namespace ounce::engine {

std::unique_ptr<Step> make_conv(const StepRequest& request);
std::unique_ptr<Step> make_conv_transpose(const StepRequest& request);
std::unique_ptr<Step> make_integer_conv(const StepRequest& request);
std::unique_ptr<Step> make_int8_conv(const StepRequest& request);
std::unique_ptr<Step> make_bit_conv(const StepRequest& request);
std::unique_ptr<Step> make_bit_matmul(const StepRequest& request);
std::unique_ptr<Step> make_plane_conv(const StepRequest& request);
std::unique_ptr<Step> make_plane_matmul(const StepRequest& request);
std::unique_ptr<Step> make_pack_bits(const StepRequest& request);
std::unique_ptr<Step> make_matmul(const StepRequest& request);
std::unique_ptr<Step> make_integer_matmul(const StepRequest& request);
std::unique_ptr<Step> make_int8_matmul(const StepRequest& request);
std::unique_ptr<Step> make_code_matmul(const StepRequest& request);
std::unique_ptr<Step> make_batch_matmul(const StepRequest& request);
std::unique_ptr<Step> make_integer_batch_matmul(const StepRequest& request);
std::unique_ptr<Step> make_attention(const StepRequest& request);
std::unique_ptr<Step> make_integer_attention(const StepRequest& request);
std::unique_ptr<Step> make_bit_attention(const StepRequest& request);
std::unique_ptr<Step> make_activation(const StepRequest& request);
std::unique_ptr<Step> make_unary(const StepRequest& request);
std::unique_ptr<Step> make_binary(const StepRequest& request);
std::unique_ptr<Step> make_lookup(const StepRequest& request);
std::unique_ptr<Step> make_integer_add(const StepRequest& request);
std::unique_ptr<Step> make_integer_mul(const StepRequest& request);
std::unique_ptr<Step> make_quantize(const StepRequest& request);
std::unique_ptr<Step> make_dequantize(const StepRequest& request);
std::unique_ptr<Step> make_softmax(const StepRequest& request);
std::unique_ptr<Step> make_layer_norm(const StepRequest& request);
std::unique_ptr<Step> make_rms_norm(const StepRequest& request);
std::unique_ptr<Step> make_mean(const StepRequest& request);
std::unique_ptr<Step> make_max_pool(const StepRequest& request);
std::unique_ptr<Step> make_average_pool(const StepRequest& request);
std::unique_ptr<Step> make_global_average_pool(const StepRequest& request);
std::unique_ptr<Step> make_integer_average_pool(const StepRequest& request);
std::unique_ptr<Step> make_integer_global_average_pool(const StepRequest& request);
std::unique_ptr<Step> make_transpose(const StepRequest& request);
std::unique_ptr<Step> make_concat(const StepRequest& request);
std::unique_ptr<Step> make_split(const StepRequest& request);
std::unique_ptr<Step> make_slice(const StepRequest& request);
std::unique_ptr<Step> make_pad(const StepRequest& request);
std::unique_ptr<Step> make_gather(const StepRequest& request);
std::unique_ptr<Step> make_resize(const StepRequest& request);
std::unique_ptr<Step> make_copy(const StepRequest& request);

}  // namespace ounce::engine
