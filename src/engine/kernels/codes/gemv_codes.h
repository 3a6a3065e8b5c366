#pragma once

#include "engine/kernels/blocking/blocking.h"
#include "engine/kernels/codes/packed_codes.h"

// Products of few rows with packed codes, decoded in registers: what gemm_*_codes call for them.
namespace ounce::engine {

inline constexpr int64_t kGemvRows = 3;  // that meet a decoded code; one, where there is one

void gemv_u8_codes(const Context& context, const uint8_t* a, int64_t lda, const PackedCodes& b,
                   int64_t m, const IntegerEpilogue& epilogue);
void gemv_quantized_codes(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                          int64_t m, float* c, int64_t ldc, const Epilogue& epilogue);
void gemv_f32_codes(const Context& context, const float* a, int64_t lda, const PackedCodes& b,
                    int64_t m, float* c, int64_t ldc, const Epilogue& epilogue);

/// Rows that prepared activations have: what is missing in the last tile is there as zeros.
inline int64_t whole_rows(int64_t m) {
  return m == 1 ? 1 : round_up(m, kGemvRows);
}

/// Scratch for activations of T, int8_t or float, and their sums of groups.
template <class T>
size_t gemv_codes_scratch_bytes(const PackedCodes& b, int64_t m) {
  const int64_t rows = whole_rows(m);
  return ScratchCursor::need<T>(rows * round_up(b.run, 32)) +
         ScratchCursor::need<float>(rows * b.groups());
}

}  // namespace ounce::engine
