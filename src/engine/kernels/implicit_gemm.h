#pragma once

#include "engine/kernels/blocking.h"
#include "engine/kernels/gemm_f32.h"
#include "engine/kernels/gemm_u8s8.h"

// Products whose left operand is given by row pointers: what matrix products, convolutions and
// attention share.
namespace ounce::engine {

/// C = epilogue(rows * B), with panels [ceil(n / 16)][taps * run][16]. Rows of C are `ldc` apart.
struct PanelsF32 {
  const float* data;
  int64_t n;
};
void implicit_gemm_f32(const Context& context, const RowSource<float>& rows, const PanelsF32& b,
                       float* c, int64_t ldc, const Epilogue& epilogue);

/// Sums start at offsets[column] + row_offsets[row].
struct PanelsS8 {
  const int8_t* data;  // [ceil(n / 16)][taps * ceil(run / 4)][16][4]
  int64_t n;
  const int32_t* column_sums;            // [n rounded up to 16]
  const int32_t* offsets;                // [n rounded up to 16]
  const int32_t* row_offsets = nullptr;  // [rows], or null
};
void implicit_gemm_u8s8(const Context& context, const RowSource<uint8_t>& rows, const PanelsS8& b,
                        const IntegerEpilogue& epilogue);

/// The epilogue of the columns from `first` on: all pointers of the output moved there. Bits can
/// only begin at a multiple of 16.
IntegerEpilogue epilogue_of_columns(const IntegerEpilogue& epilogue, int64_t first);

/// Scratch of either.
size_t implicit_gemm_scratch_bytes(int64_t taps, int threads);

/// Weights [taps, run, n] (kKxN) or [n, taps, run] (kNxK), every tap padded to a multiple of four.
PackedS8 pack_s8_taps(const int8_t* weights, int64_t taps, int64_t run, int64_t n,
                      WeightLayout layout, int32_t a_zero_point, const int32_t* bias);

}  // namespace ounce::engine
