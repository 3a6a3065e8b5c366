#include "engine/kernels/int8/right_operand_u8.h"

#include "engine/kernels/blocking/batch_items.h"
#include "engine/kernels/blocking/pack.h"

namespace ounce::engine {

void RightOperandU8::take(ScratchCursor& cursor) {
  panels_ = cursor.take<int8_t>(panel_count_ * panel_bytes_);
  column_sums_ = cursor.take<int32_t>(panel_count_ * kPanelColumns);
  offsets_ = cursor.take<int32_t>(panel_count_ * kPanelColumns);
}

void RightOperandU8::pack(ThreadPool& pool, const uint8_t* b, int64_t ldb, WeightLayout layout) {
  const int32_t constant = static_cast<int32_t>(k_) * a_zero_ * b_zero_;
  const MatrixView<int8_t> matrix = {reinterpret_cast<const int8_t*>(b), ldb, k_, n_, layout};
  pack_in_parallel(pool, panel_count_, [&](int64_t first, int64_t last) {
    pack_panels_s8(matrix, true, first, last, panels_, panel_bytes_);
    column_sums_s8(panels_, panel_bytes_, first, last, column_sums_);
    for (int64_t n = first * kPanelColumns; n < last * kPanelColumns; ++n) {
      offsets_[n] = constant - a_zero_ * column_sums_[n];
    }
  });
}

void RightOperandU8::multiply(const Context& context, const uint8_t* a, int64_t lda, int64_t rows,
                              int64_t columns, int32_t* row_offsets,
                              const IntegerEpilogue& epilogue) const {
  PanelsS8 b = {panels_, columns, column_sums_, offsets_};
  if (b_zero_ != 0) {
    row_sums_u8(a, lda, rows, k_, row_offsets);
    for (int64_t i = 0; i < rows; ++i) row_offsets[i] *= -b_zero_;
    b.row_offsets = row_offsets;
  }
  implicit_gemm_u8s8(context, MatrixRows<uint8_t>(a, lda, rows, k_), b, epilogue);
}

}  // namespace ounce::engine
