#pragma once

#include "engine/kernels/common.h"
#include "engine/lowering/strided_view.h"
#include "engine/plan/step.h"

/// Batches of matrices that lie in their tensors through strides: what products of two activations
/// and attention share.
namespace ounce::engine {

/// Operand `input`, or the result, as an internal node sees it.
StridedView operand_view(const StepRequest& request, size_t input);
StridedView result_view(const StepRequest& request);

/// All but the last two axes.
Shape batch_of(const Shape& shape);

/// Element offset of each [rows, columns] matrix of a view whose leading axes broadcast to `batch`.
std::vector<int64_t> matrix_offsets(const StridedView& view, const Shape& batch);

/// The last two axes exchanged.
StridedView transposed(StridedView view);

/// Elements between the rows of each matrix.
int64_t row_stride(const StridedView& view);

/// How a matrix lies: rows contiguous `stride` apart, or columns.
struct MatrixLayout {
  WeightLayout layout = WeightLayout::kKxN;
  int64_t stride = 0;
};
MatrixLayout matrix_layout(const StridedView& view);

/// The geometry of C_i = A_i B_i over a broadcast batch.
struct BatchPlan {
  std::vector<int64_t> a_offsets;
  std::vector<int64_t> b_offsets;
  std::vector<int64_t> c_offsets;
  int64_t m = 0, n = 0, k = 0;
  int64_t lda = 0, ldc = 0;
  MatrixLayout b;
  size_t count() const { return c_offsets.size(); }
};
BatchPlan batch_plan(const StridedView& a, const StridedView& b, const StridedView& c);

}  // namespace ounce::engine
