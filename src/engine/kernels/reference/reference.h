#pragma once

#include "engine/kernels/attention/attention.h"
#include "engine/kernels/conv.h"
#include "engine/kernels/f32/gemm_f32.h"
#include "engine/kernels/int8/gemm_u8s8.h"
#include "engine/kernels/int8/quantized.h"
#include "engine/kernels/tensor/elementwise.h"
#include "engine/kernels/tensor/normalize.h"
#include "engine/kernels/tensor/pool.h"

// What every kernel must compute, written in the order of its formula and without any regard to
// speed. Float sums are taken in double; integer results are exact. The fast kernels are tested
// against these: integers to the bit.
namespace ounce::engine::reference {

double activate(double x, const ActivationSpec& spec);
double unary(UnaryF32 op, double x);
double binary(BinaryF32 op, double a, double b);

/// A: [m, k], B: [k, n] (kKxN) or [n, k] (kNxK) contiguous; C: rows `ldc` apart.
void gemm_f32(const float* a, int64_t lda, const float* b, WeightLayout layout, float* c,
              int64_t ldc, int64_t m, int64_t n, int64_t k, const Epilogue& epilogue);

/// `bias`: [n] or null. Sums are taken in 64 bits and must fit in 32.
void gemm_u8s8(const uint8_t* a, int64_t lda, const int8_t* b, WeightLayout layout, int64_t m,
               int64_t n, int64_t k, int32_t a_zero_point, const int32_t* bias,
               const IntegerEpilogue& epilogue);
void matmul_u8(const MatmulU8Item& item, const MatmulU8Shape& shape,
               const IntegerEpilogue& epilogue);

/// What attention_u8 makes of the codes of a map [tokens, keys]: one head, one plane after the
/// other.
void mix_planes_u8(const uint8_t* map, const AttentionU8Item& item, const AttentionShape& shape,
                   const AttentionU8Parameters& parameters);

/// Weights OHWI; a depthwise convolution is one with groups == channels.
void conv_f32(const float* input, const float* ohwi, const ConvShape& shape, float* output,
              int64_t ldc, const Epilogue& epilogue);
void conv_u8s8(const uint8_t* input, const int8_t* ohwi, const ConvShape& shape,
               int32_t a_zero_point, const int32_t* bias, const IntegerEpilogue& epilogue);

/// Weights [in_channels, out_channels / groups, kernel_h, kernel_w]; the bias is the epilogue's.
void conv_transpose_f32(const float* input, const float* weights, const ConvShape& shape,
                        float* output, const Epilogue& epilogue);

/// clamp(round_half_even(x) + zero_point, lo, hi); the zero point for NaN.
int32_t to_code(float x, int32_t zero_point, int32_t lo, int32_t hi);

void softmax_f32(const float* x, float* y, const SoftmaxShape& shape);
void layer_norm_f32(const float* x, float* y, int64_t rows, int64_t columns, const float* gamma,
                    const float* beta, float epsilon);
void rms_norm_f32(const float* x, float* y, int64_t rows, int64_t columns, const float* gamma,
                  float epsilon);

void max_pool_f32(const float* x, float* y, const ConvShape& shape);
void max_pool_u8(const uint8_t* x, uint8_t* y, const ConvShape& shape);
void average_pool_f32(const float* x, float* y, const ConvShape& shape, AverageCount count);
void average_pool_u8(const uint8_t* x, uint8_t* y, const ConvShape& shape, AverageCount count,
                     const RequantizeU8& requantize);

}  // namespace ounce::engine::reference
