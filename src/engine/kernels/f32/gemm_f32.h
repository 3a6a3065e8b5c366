#pragma once

#include "engine/kernels/common.h"

namespace ounce::engine {

/// Weights [K, N] as panels of 16 columns: data[panel][k][16], columns beyond N zero.
struct PackedF32 {
  int64_t k = 0;
  int64_t n = 0;
  AlignedVector<float> data;
};

/// `weights`: [K, N] or [N, K] by `layout`, contiguous.
PackedF32 pack_f32(const float* weights, int64_t k, int64_t n, WeightLayout layout);

/// C[M, N] = epilogue(A[M, K] * B[K, N]). Rows of A are `lda` elements apart, rows of C `ldc`.
/// C must not overlap A.
void gemm_f32(const Context& context, const float* a, int64_t lda, const PackedF32& b, float* c,
              int64_t ldc, int64_t m, const Epilogue& epilogue);
size_t gemm_f32_scratch_bytes(int64_t m, int64_t n, int64_t k, int threads);

/// One product of a batch whose both operands are activations.
struct MatmulF32Item {
  const float* a = nullptr;  // [M, K], rows `lda` apart
  const float* b = nullptr;  // kKxN: [K, N], kNxK: [N, K]; rows `ldb` apart
  float* c = nullptr;        // [M, N], rows `ldc` apart
};
struct MatmulF32Shape {
  int64_t m = 0, n = 0, k = 0;
  int64_t lda = 0, ldb = 0, ldc = 0;
  WeightLayout b_layout = WeightLayout::kKxN;
  float alpha = 1.0F;  // C = activation(alpha * A * B + ...): alpha scales B while it is packed
};

/// C_i = epilogue(alpha * A_i * B_i) for every item (for example one per attention head); B is
/// packed on the fly into scratch. `epilogue` applies to each item; its residual must be null.
void matmul_f32(const Context& context, std::span<const MatmulF32Item> items,
                const MatmulF32Shape& shape, const Epilogue& epilogue);
size_t matmul_f32_scratch_bytes(const MatmulF32Shape& shape, int64_t items, int threads);

}  // namespace ounce::engine
