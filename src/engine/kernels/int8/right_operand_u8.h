#pragma once

#include "engine/kernels/blocking/implicit_gemm.h"

namespace ounce::engine {

/// The right operand [k, n] of a product of codes, packed into scratch. The exact sum of
/// (a - za) * (b - zb) is
///   sum a * b - za * sum b - zb * sum a + k * za * zb,
/// with b stored as b - 128 and zb lowered as much.
class RightOperandU8 {
 public:
  RightOperandU8(int64_t k, int64_t n, int32_t a_zero_point, int32_t b_zero_point)
      : k_(k),
        n_(n),
        panel_count_(ceil_div(n, kPanelColumns)),
        panel_bytes_(round_up(k, 4) * kPanelColumns),
        a_zero_(a_zero_point),
        b_zero_(b_zero_point - 128) {}

  size_t scratch_bytes() const {
    return ScratchCursor::need<int8_t>(panel_count_ * panel_bytes_) +
           2 * ScratchCursor::need<int32_t>(panel_count_ * kPanelColumns);
  }
  /// Takes its memory; once, before the first packing.
  void take(ScratchCursor& cursor);
  /// kKxN: b is [k, n], kNxK: [n, k]; rows `ldb` apart.
  void pack(ThreadPool& pool, const uint8_t* b, int64_t ldb, WeightLayout layout);
  /// `rows` rows of a, `lda` apart, times the packed operand; `columns` of it, at most n rounded up
  /// to 16. `row_offsets`: scratch of [rows].
  void multiply(const Context& context, const uint8_t* a, int64_t lda, int64_t rows,
                int64_t columns, int32_t* row_offsets, const IntegerEpilogue& epilogue) const;

 private:
  int64_t k_, n_;
  int64_t panel_count_, panel_bytes_;
  int32_t a_zero_, b_zero_;
  int8_t* panels_ = nullptr;
  int32_t* column_sums_ = nullptr;
  int32_t* offsets_ = nullptr;
};

}  // namespace ounce::engine
