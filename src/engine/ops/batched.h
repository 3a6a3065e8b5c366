#pragma once

#include "engine/kernels/attention/attention.h"
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

/// Where q, k, v and y of every head of a node (q, k, v, ..) -> y lie.
struct HeadsPlan {
  explicit HeadsPlan(const StepRequest& request);
  AttentionShape shape;
  std::vector<int64_t> q, k, v, y;  // offsets in elements

  /// Items whose q, k, v and y are those of each head.
  template <class Item, class T, class Y>
  void bind(std::vector<Item>& items, const T* q_data, const T* k_data, const T* v_data,
            Y* y_data) const {
    for (size_t i = 0; i < items.size(); ++i) {
      items[i].q = q_data + q[i];
      items[i].k = k_data + k[i];
      items[i].v = v_data + v[i];
      items[i].y = y_data + y[i];
    }
  }
};

}  // namespace ounce::engine
