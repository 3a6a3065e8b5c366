#pragma once

#include "engine/kernels/codes/packed_codes.h"
#include "engine/kernels/int8/quantize_dynamic.h"

// What the kernels of packed_codes.h and quantize_dynamic.h must compute, from canonical codes.
namespace ounce::engine::reference {

/// Integer sums are taken in 64 bits and must fit in 32; `lda` as there.
void gemm_u8_codes(const uint8_t* a, int64_t lda, const CodeMatrix& b, int64_t m,
                   int32_t a_zero_point, const int32_t* bias, const IntegerEpilogue& epilogue);

/// In double; scales are used as they are given.
void gemm_quantized_codes(const QuantizedRows& a, const CodeMatrix& b, int64_t m, float* c,
                          int64_t ldc, const Epilogue& epilogue);
void gemm_f32_codes(const float* a, int64_t lda, const CodeMatrix& b, int64_t m, float* c,
                    int64_t ldc, const Epilogue& epilogue);

void quantize_rows(const float* x, int64_t ldx, int64_t rows, int64_t columns, DynamicGrid grid,
                   int bits, const DynamicCodes& out);
void quantize_tensor(const float* x, int64_t ldx, int64_t rows, int64_t columns, DynamicGrid grid,
                     int bits, const DynamicCodes& out);
void quantize_log(const float* x, uint8_t* codes, int64_t count, LogBase base, int bits);

}  // namespace ounce::engine::reference
