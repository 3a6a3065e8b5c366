#pragma once

#include "engine/kernels/attention/attention_bits.h"
#include "engine/kernels/bits/conv_bits.h"

// What products of bit planes must compute, from unpacked values. Bits are written into outputs
// that hold zeros.
namespace ounce::engine::reference {

/// Bits [rows][plane][word] of contiguous values [rows, channels].
std::vector<uint64_t> pack_rows(const std::vector<int8_t>& values, int64_t rows, int64_t channels,
                                BitFormat format);

/// A: [m, k] values, B: [k, n] (kKxN) or [n, k] (kNxK) values, both contiguous.
void gemm_bits(const int8_t* a, const int8_t* b, WeightLayout layout, int64_t m, int64_t n,
               int64_t k, int32_t a_zero_point, const int32_t* bias,
               const IntegerEpilogue& epilogue);

/// Image [batch, height, width, channels] of values; what lies outside contributes nothing.
void conv_bits(const int8_t* image, const int8_t* ohwi, const ConvShape& shape,
               int32_t a_zero_point, const int32_t* bias, const IntegerEpilogue& epilogue);

/// One head by the float formula, in double, with the scales that made item.softmax and the biases
/// [tokens, keys] (or null) that made item.bias_weights. Returns the least |P / (r / 2) - 1| of its
/// probabilities: how far they keep from the threshold.
double attention_bits(const BitAttentionItem& item, const AttentionShape& shape, double score_scale,
                      double map_scale, const float* biases = nullptr);

}  // namespace ounce::engine::reference
