#include "train/linear_product.h"

#include <dnnl.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <string>
#include <vector>

#include "graph/error.h"

namespace ounce::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// A matrix as it lies: rows or columns next to each other.
struct Matrix {
  at::Tensor held;
  bool transposed = false;

  explicit Matrix(const at::Tensor& x) : held(x) {
    const auto is_dense_row = [](const at::Tensor& t) {
      return t.stride(1) == 1 && t.stride(0) >= std::max<int64_t>(1, t.size(1));
    };
    transposed = !is_dense_row(x) && is_dense_row(x.t());
    if (!transposed && !is_dense_row(x)) held = x.contiguous();
  }
  char letter() const { return transposed ? 'T' : 'N'; }
  int64_t leading() const { return held.stride(transposed ? 1 : 0); }
  const float* data() const { return held.data_ptr<float>(); }
};

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  const Matrix left(a);
  const Matrix right(b);
  at::Tensor result = at::empty({a.size(0), b.size(1)}, a.options());
  const dnnl_status_t status = dnnl_sgemm(
      left.letter(), right.letter(), a.size(0), b.size(1), a.size(1), 1.0F, left.data(),
      left.leading(), right.data(), right.leading(), 0.0F, result.data_ptr<float>(), b.size(1));
  if (status != dnnl_success) {
    throw Error("oneDNN does not multiply: status " + std::to_string(status));
  }
  return result;
}

at::Tensor rows_of(const at::Tensor& x) {
  return x.reshape({-1, x.size(-1)});
}

class LinearProduct : public torch::autograd::Function<LinearProduct> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& w) {
    context->save_for_backward({x, w});
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() = w.size(1);
    return product(rows_of(x), w).view(shape);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor above = rows_of(gradients[0]);
    variable_list result(2);
    if (context->needs_input_grad(0)) {
      result[0] = product(above, saved[1].t()).view(saved[0].sizes());
    }
    if (context->needs_input_grad(1)) result[1] = product(rows_of(saved[0]).t(), above);
    return result;
  }
};

}  // namespace

at::Tensor linear_product(const at::Tensor& x, const at::Tensor& w) {
  const auto fits = [](const at::Tensor& t) {
    return t.is_cpu() && t.scalar_type() == at::kFloat && t.numel() > 0;
  };
  const bool takes = fits(x) && fits(w) && x.dim() >= 2 && w.dim() == 2 && x.size(-1) == w.size(0);
  return takes ? LinearProduct::apply(x, w) : at::matmul(x, w);
}

}  // namespace ounce::train
