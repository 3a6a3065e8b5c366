#include "train/matrix_product.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <dnnl.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "graph/error.h"

namespace ounce::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Rows by one matrix, or stacks with the same leading dimensions; nothing empty.
bool is_for_onednn(const at::Tensor& a, const at::Tensor& b) {
  const auto fits = [](const at::Tensor& x) {
    return x.dim() >= 2 && x.is_cpu() && x.scalar_type() == at::kFloat && x.numel() > 0;
  };
  if (!fits(a) || !fits(b) || a.size(-1) != b.size(-2)) return false;
  return b.dim() == 2 ||
         (a.dim() == b.dim() && a.sizes().slice(0, a.dim() - 2) == b.sizes().slice(0, b.dim() - 2));
}

/// The tensor, or a copy where elements share memory, or neither rows nor columns are dense.
at::Tensor readable(const at::Tensor& x) {
  const bool repeats = std::any_of(x.strides().begin(), x.strides().end(),
                                   [](int64_t stride) { return stride == 0; });
  return repeats || (x.stride(-1) != 1 && x.stride(-2) != 1) ? x.contiguous() : x;
}

dnnl::memory::desc layout_of(const at::Tensor& x) {
  return {dnnl::memory::dims(x.sizes().begin(), x.sizes().end()), dnnl::memory::data_type::f32,
          dnnl::memory::dims(x.strides().begin(), x.strides().end())};
}

/// How BLAS is told of a matrix: rows or columns next to each other.
struct Matrix {
  char letter;
  int64_t leading;

  explicit Matrix(const at::Tensor& x) {
    const bool transposed = x.stride(1) != 1 || x.stride(0) < x.size(1);
    letter = transposed ? 'T' : 'N';
    // Of a single row or column any stride is right, and libtorch may say so.
    leading = transposed ? std::max(x.stride(1), x.size(0)) : std::max(x.stride(0), x.size(1));
  }
};

/// Of two matrices: one call is faster than a primitive. False where oneDNN does not do it.
bool multiply_matrices(const at::Tensor& a, const at::Tensor& b, const at::Tensor& result) {
  const Matrix left(a);
  const Matrix right(b);
  return dnnl::sgemm(left.letter, right.letter, a.size(0), b.size(1), a.size(1), 1.0F,
                     a.data_ptr<float>(), left.leading, b.data_ptr<float>(), right.leading, 0.0F,
                     result.data_ptr<float>(), b.size(1)) == dnnl::status::success;
}

/// False where oneDNN has no kernel and would compute number by number.
bool multiply_stacks(const at::Tensor& a, const at::Tensor& b, const at::Tensor& result) {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  thread_local dnnl::stream stream(cpu);
  const dnnl::matmul::primitive_desc chosen({layout_of(a), layout_of(b), layout_of(result)}, cpu);
  if (std::string_view(chosen.impl_info_str()).starts_with("ref")) return false;
  dnnl::matmul(chosen).execute(stream,
                               {{DNNL_ARG_SRC, {chosen.src_desc(), cpu, a.data_ptr()}},
                                {DNNL_ARG_WEIGHTS, {chosen.weights_desc(), cpu, b.data_ptr()}},
                                {DNNL_ARG_DST, {chosen.dst_desc(), cpu, result.data_ptr()}}});
  stream.wait();
  return true;
}

/// Of tensors of the same rank.
at::Tensor product_of(const at::Tensor& a, const at::Tensor& b) {
  std::vector<int64_t> shape = a.sizes().vec();
  shape.back() = b.size(-1);
  at::Tensor result = at::empty(shape, a.options());
  try {
    const auto multiply = a.dim() == 2 ? multiply_matrices : multiply_stacks;
    if (!multiply(readable(a), readable(b), result)) return at::matmul(a, b);
  } catch (const dnnl::error& error) {
    throw Error(std::string("oneDNN does not multiply: ") + error.what());
  }
  return result;
}

/// All rows as one matrix, where the other operand is one.
at::Tensor rows_for(const at::Tensor& x, const at::Tensor& other) {
  return other.dim() == 2 ? x.reshape({-1, x.size(-1)}) : x;
}

class MatrixProduct : public torch::autograd::Function<MatrixProduct> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& a, const at::Tensor& b) {
    context->save_for_backward({a, b});
    std::vector<int64_t> shape = a.sizes().vec();
    shape.back() = b.size(-1);
    return product_of(rows_for(a, b), b).view(shape);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& a = saved[0];
    const at::Tensor& b = saved[1];
    const at::Tensor above = rows_for(gradients[0], b);
    variable_list result(2);
    if (context->needs_input_grad(0)) {
      result[0] = product_of(above, b.transpose(-2, -1)).view(a.sizes());
    }
    if (context->needs_input_grad(1)) {
      result[1] = product_of(rows_for(a, b).transpose(-2, -1), above);
    }
    return result;
  }
};

}  // namespace

at::Tensor matrix_product(const at::Tensor& a, const at::Tensor& b) {
  return is_for_onednn(a, b) ? MatrixProduct::apply(a, b) : at::matmul(a, b);
}

}  // namespace ounce::train
