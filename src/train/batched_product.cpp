#include "train/batched_product.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <utility>
#include <vector>

// Fortran's BLAS, column-major: C = A B, all that is asked of it here.
extern "C" void sgemm_(const char* transposes_a, const char* transposes_b, const int* rows,
                       const int* columns, const int* depth, const float* alpha, const float* a,
                       const int* a_leading, const float* b, const int* b_leading,
                       const float* beta, float* c, const int* c_leading);

namespace ounce::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Elements of work below which a chunk is not worth a thread.
constexpr int64_t kGrain = 1 << 18;

bool is_stack(const at::Tensor& x) {
  return x.dim() >= 3 && x.is_cpu() && x.scalar_type() == at::kFloat;
}

bool is_dense_row(const at::Tensor& x) {
  return x.stride(-1) == 1 && x.stride(-2) >= x.size(-1);
}

/// A stack whose matrices BLAS can read as they lie: rows or columns next to each other.
struct Stack {
  at::Tensor held;
  bool transposed = false;
  int leading = 0;
  std::vector<int64_t> offsets;  // of each matrix

  explicit Stack(const at::Tensor& x) : held(x) {
    transposed = !is_dense_row(x) && is_dense_row(x.transpose(-2, -1));
    if (!transposed && !is_dense_row(x)) held = x.contiguous();
    leading = static_cast<int>(held.stride(transposed ? -1 : -2));
    offsets = {0};
    for (int64_t d = 0; d + 2 < held.dim(); ++d) {
      std::vector<int64_t> deeper;
      deeper.reserve(offsets.size() * static_cast<size_t>(held.size(d)));
      for (const int64_t offset : offsets) {
        for (int64_t i = 0; i < held.size(d); ++i) deeper.push_back(offset + i * held.stride(d));
      }
      offsets = std::move(deeper);
    }
  }
  const float* matrix(int64_t i) const {
    return held.data_ptr<float>() + offsets[static_cast<size_t>(i)];
  }
  const char* letter() const { return transposed ? "T" : "N"; }
};

/// The same leading dimensions and matrices that fit, none of them empty.
bool are_stacks(const at::Tensor& a, const at::Tensor& b) {
  return is_stack(a) && is_stack(b) && a.dim() == b.dim() && a.numel() > 0 && b.numel() > 0 &&
         a.sizes().slice(0, a.dim() - 2) == b.sizes().slice(0, b.dim() - 2) &&
         a.size(-1) == b.size(-2);
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  const Stack left(a);
  const Stack right(b);
  std::vector<int64_t> shape(a.sizes().begin(), a.sizes().end());
  shape.back() = b.size(-1);
  at::Tensor result = at::empty(shape, a.options());
  const auto rows = static_cast<int>(a.size(-2));
  const auto depth = static_cast<int>(a.size(-1));
  const auto columns = static_cast<int>(b.size(-1));
  float* out = result.data_ptr<float>();
  const int64_t size = int64_t{rows} * columns;
  const int64_t grain = std::max<int64_t>(1, kGrain / (size * depth));
  at::parallel_for(
      0, static_cast<int64_t>(left.offsets.size()), grain, [&](int64_t first, int64_t last) {
        const float one = 1;
        const float zero = 0;
        for (int64_t i = first; i < last; ++i) {
          // Row-major C = A B is column-major C' = B' A'.
          sgemm_(right.letter(), left.letter(), &columns, &rows, &depth, &one, right.matrix(i),
                 &right.leading, left.matrix(i), &left.leading, &zero, out + i * size, &columns);
        }
      });
  return result;
}

class BatchedProduct : public torch::autograd::Function<BatchedProduct> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& a, const at::Tensor& b) {
    context->save_for_backward({a, b});
    return product(a, b);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    variable_list result(2);
    if (context->needs_input_grad(0)) {
      result[0] = product(gradients[0], saved[1].transpose(-2, -1));
    }
    if (context->needs_input_grad(1)) {
      result[1] = product(saved[0].transpose(-2, -1), gradients[0]);
    }
    return result;
  }
};

}  // namespace

at::Tensor batched_product(const at::Tensor& a, const at::Tensor& b) {
  return are_stacks(a, b) ? BatchedProduct::apply(a, b) : at::matmul(a, b);
}

}  // namespace ounce::train
