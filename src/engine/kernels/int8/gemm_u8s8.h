#pragma once

#include "engine/kernels/common.h"

namespace ounce::engine {

/// Signed 8-bit weights [K, N] as panels of 16 columns with four consecutive k side by side:
/// data[panel][k / 4][16][4], zero beyond K and N.
struct PackedS8 {
  int64_t k = 0;
  int64_t n = 0;
  AlignedVector<int8_t> data;
  AlignedVector<int32_t> column_sums;  // [N rounded up to 16], sum over k of the weights
  // [N rounded up to 16], bias - a_zero_point * column_sums: where an accumulator starts.
  AlignedVector<int32_t> offsets;
};

/// `bias`: [N] in units of (activation scale * weight scale), or null.
PackedS8 pack_s8(const int8_t* weights, int64_t k, int64_t n, WeightLayout layout,
                 int32_t a_zero_point, const int32_t* bias);

enum class IntegerOutput {
  kI32,  // acc
  kF32,  // act(float(acc) * scale[c] + bias[c] + residual)
  // clamp(round_half_even(float(acc) * scale[c] + bias[c] + residual) + zero_point, lo, hi), then
  // table
  kU8,
  kBits,  // a bit: (acc < thresholds[c]) xor bit c % 16 of flips[c / 16]
};

/// What happens to the corrected accumulator acc = sum (a - a_zero_point) * b + bias_i32, and where
/// the result goes. Float steps are single multiplies and adds in the order written, never fused,
/// so that kU8 results are the same to the bit on every instruction set. `float(acc)` is the
/// conversion of the 32-bit integer, rounded half to even.
struct IntegerEpilogue {
  IntegerOutput output = IntegerOutput::kI32;
  // [M, N] of int32_t, float or uint8_t; kBits: [M] rows of 64-bit words, zero beyond N.
  void* c = nullptr;
  int64_t ldc = 0;               // elements between rows; kBits: 64-bit words
  const float* scale = nullptr;  // [N] for kF32 and kU8

  // kF32: bias is added after scaling; activation as in Epilogue. kU8: its bias alone, in steps of
  // the output.
  Epilogue f32{};
  // kF32 only: y = prelu(y + prelu_before[c]) + prelu_after[c] instead of the activation, where
  // prelu(x) = x < 0 ? prelu_slope[c] * x : prelu_gain[c] * x. [N]; without a slope, none of the
  // four is looked at; the shifts may be null, and the gain, which is 1 then.
  const float* prelu_slope = nullptr;
  const float* prelu_gain = nullptr;
  const float* prelu_before = nullptr;
  const float* prelu_after = nullptr;
  // kF32 only, not depthwise: also writes the signs of y + sign_shift[c] (bit set where < 0), zero
  // beyond N.
  void* sign_bits = nullptr;          // [M] rows of 64-bit words, or null
  int64_t sign_stride = 0;            // words between rows
  const float* sign_shift = nullptr;  // [N], or null

  // kBits only (not depthwise): see fold_sign_thresholds.
  const int32_t* thresholds = nullptr;  // [N]
  const uint16_t* flips = nullptr;      // [N / 16 rounded up], or null

  // kU8 only. Fused ReLU: lo = zero_point. Fused clip: lo, hi.
  int32_t zero_point = 0;
  int32_t lo = 0;
  int32_t hi = 255;
  const uint8_t* table = nullptr;     // [256], applied to the clamped code, or null
  const uint8_t* residual = nullptr;  // [M, N] codes; adds float(code - residual_zero_point) *
  int64_t residual_stride = 0;        // residual_scale to the scaled accumulator before rounding
  int32_t residual_zero_point = 0;
  float residual_scale = 0.0F;
};

/// Product of unsigned activations A[M, K] and packed weights. Products never saturate; sums are
/// exact while they fit in 32 bits.
void gemm_u8s8(const Context& context, const uint8_t* a, int64_t lda, const PackedS8& b, int64_t m,
               const IntegerEpilogue& epilogue);
size_t gemm_u8s8_scratch_bytes(int64_t m, int64_t n, int64_t k, int threads);

/// One product of a batch whose both operands are activations.
struct MatmulU8Item {
  const uint8_t* a = nullptr;  // [M, K] codes, rows `lda` apart
  const uint8_t* b = nullptr;  // kKxN: [K, N], kNxK: [N, K]; rows `ldb` apart
  void* c = nullptr;           // [M, N] of the epilogue's output type, rows epilogue.ldc apart
};
struct MatmulU8Shape {
  int64_t m = 0, n = 0, k = 0;
  int64_t lda = 0, ldb = 0;
  WeightLayout b_layout = WeightLayout::kKxN;
  int32_t a_zero_point = 0;
  int32_t b_zero_point = 0;
};

/// acc = sum over k of (a - a_zero_point) * (b - b_zero_point), exactly; then `epilogue`, the same
/// for every item: its c is ignored (an item has its own), its residuals must be null.
/// epilogue.scale has [N] entries.
void matmul_u8(const Context& context, std::span<const MatmulU8Item> items,
               const MatmulU8Shape& shape, const IntegerEpilogue& epilogue);
size_t matmul_u8_scratch_bytes(const MatmulU8Shape& shape, int64_t items, int threads);

}  // namespace ounce::engine
