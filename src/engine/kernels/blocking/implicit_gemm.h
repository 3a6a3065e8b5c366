#pragma once

#include "engine/kernels/blocking/blocking.h"
#include "engine/kernels/f32/gemm_f32.h"
#include "engine/kernels/int8/gemm_u8s8.h"

// Products whose left operand is given by row pointers: what matrix products, convolutions and
// attention share.
namespace ounce::engine {

/// Panels that are not kept but made in scratch by each task, before its rows meet them.
template <class T>
class PanelMaker {
 public:
  virtual ~PanelMaker() = default;
  /// Panels [first, first + count), `panel_elements` apart, in the layout of the product.
  virtual void make(int64_t first, int64_t count, T* panels) const = 0;
  int64_t panel_elements = 0;
};

/// C = epilogue(rows * B), with panels [ceil(n / 16)][taps * run][16]. Rows of C are `ldc` apart.
struct PanelsF32 {
  const float* data;  // unused when there is a maker
  int64_t n;
  const PanelMaker<float>* maker = nullptr;
};
void implicit_gemm_f32(const Context& context, const RowSource<float>& rows, const PanelsF32& b,
                       float* c, int64_t ldc, const Epilogue& epilogue);

/// Sums start at offsets[column] + row_offsets[row].
struct PanelsS8 {
  // [ceil(n / 16)][taps * ceil(run / 4)][16][4], bytes beyond a run zero; unused when there is a
  // maker.
  const int8_t* data;
  int64_t n;
  const int32_t* column_sums;            // [n rounded up to 16]
  const int32_t* offsets;                // [n rounded up to 16]
  const int32_t* row_offsets = nullptr;  // [rows], or null
  const PanelMaker<int8_t>* maker = nullptr;
};
void implicit_gemm_u8s8(const Context& context, const RowSource<uint8_t>& rows, const PanelsS8& b,
                        const IntegerEpilogue& epilogue);

/// The epilogue of the columns from `first` on: all pointers of the output moved there. Bits can
/// only begin at a multiple of 16.
IntegerEpilogue epilogue_of_columns(const IntegerEpilogue& epilogue, int64_t first);

/// Scratch of either.
size_t implicit_gemm_scratch_bytes(int64_t taps, int threads);
/// The same with a maker of panels of `panel_bytes`.
size_t made_gemm_scratch_bytes(int64_t taps, int64_t panel_bytes, int threads);

/// Weights [taps, run, n] (kKxN) or [n, taps, run] (kNxK), every tap padded to a multiple of four.
PackedS8 pack_s8_taps(const int8_t* weights, int64_t taps, int64_t run, int64_t n,
                      WeightLayout layout, int32_t a_zero_point, const int32_t* bias);

}  // namespace ounce::engine
