#include "engine/ops/batched.h"

namespace ounce::engine {

StridedView operand_view(const StepRequest& request, size_t input) {
  const ValueId id = request.node.input(input);
  return load_view(request.node.attributes, std::to_string(input), request.shape(id));
}

StridedView result_view(const StepRequest& request) {
  return load_view(request.node.attributes, "out", request.shape(request.node.output(0)));
}

Shape batch_of(const Shape& shape) {
  return {shape.begin(), shape.end() - 2};
}

std::vector<int64_t> matrix_offsets(const StridedView& view, const Shape& batch) {
  const size_t leading_axes = view.shape.size() - 2;
  std::vector<int64_t> offsets;
  const int64_t count = element_count(batch);
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i;
    int64_t offset = view.offset;
    for (size_t b = 0; b < batch.size(); ++b) {
      const int64_t dim = batch[batch.size() - 1 - b];
      const int64_t coordinate = rest % dim;
      rest /= dim;
      if (b >= leading_axes) continue;
      const size_t axis = leading_axes - 1 - b;
      if (view.shape[axis] != 1) offset += coordinate * view.strides[axis];
    }
    offsets.push_back(offset);
  }
  return offsets;
}

int64_t row_stride(const StridedView& view) {
  return view.strides[view.strides.size() - 2];
}

MatrixLayout matrix_layout(const StridedView& view) {
  const size_t last = view.shape.size() - 1;
  if (view.strides[last] == 1 || view.shape[last] == 1) {
    return {WeightLayout::kKxN, view.strides[last - 1]};
  }
  return {WeightLayout::kNxK, view.strides[last]};
}

BatchPlan batch_plan(const StridedView& a, const StridedView& b, const StridedView& c) {
  BatchPlan plan;
  plan.m = a.shape[a.shape.size() - 2];
  plan.k = a.shape.back();
  plan.n = b.shape.back();
  plan.lda = row_stride(a);
  plan.ldc = row_stride(c);
  plan.b = matrix_layout(b);
  const Shape batch = batch_of(c.shape);
  plan.a_offsets = matrix_offsets(a, batch);
  plan.b_offsets = matrix_offsets(b, batch);
  plan.c_offsets = matrix_offsets(c, batch);
  return plan;
}

HeadsPlan::HeadsPlan(const StepRequest& request) {
  const StridedView q_view = operand_view(request, 0);
  const StridedView k_view = operand_view(request, 1);
  const StridedView v_view = operand_view(request, 2);
  const StridedView y_view = result_view(request);
  shape.tokens = q_view.shape[q_view.shape.size() - 2];
  shape.keys = k_view.shape[k_view.shape.size() - 2];
  shape.head_dim = q_view.shape.back();
  shape.value_dim = v_view.shape.back();
  shape.ldq = row_stride(q_view);
  shape.ldk = row_stride(k_view);
  shape.ldv = row_stride(v_view);
  shape.ldy = row_stride(y_view);
  const Shape batch = batch_of(y_view.shape);
  q = matrix_offsets(q_view, batch);
  k = matrix_offsets(k_view, batch);
  v = matrix_offsets(v_view, batch);
  y = matrix_offsets(y_view, batch);
}

}  // namespace ounce::engine
