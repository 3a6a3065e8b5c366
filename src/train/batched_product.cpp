#include "train/batched_product.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <dnnl.hpp>
#include <string_view>
#include <vector>

#include "graph/error.h"

namespace ounce::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool is_stack(const at::Tensor& x) {
  return x.dim() >= 3 && x.is_cpu() && x.scalar_type() == at::kFloat;
}

/// The same leading dimensions and matrices that fit, none of them empty.
bool are_stacks(const at::Tensor& a, const at::Tensor& b) {
  return is_stack(a) && is_stack(b) && a.dim() == b.dim() && a.numel() > 0 && b.numel() > 0 &&
         a.sizes().slice(0, a.dim() - 2) == b.sizes().slice(0, b.dim() - 2) &&
         a.size(-1) == b.size(-2);
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

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  thread_local dnnl::stream stream(cpu);
  const at::Tensor left = readable(a);
  const at::Tensor right = readable(b);
  std::vector<int64_t> shape = a.sizes().vec();
  shape.back() = b.size(-1);
  at::Tensor result = at::empty(shape, a.options());
  try {
    const dnnl::matmul::primitive_desc chosen(
        {layout_of(left), layout_of(right), layout_of(result)}, cpu);
    // What oneDNN has no kernel for it computes number by number.
    if (std::string_view(chosen.impl_info_str()).starts_with("ref")) return at::matmul(a, b);
    dnnl::matmul(chosen).execute(
        stream, {{DNNL_ARG_SRC, {chosen.src_desc(), cpu, left.data_ptr()}},
                 {DNNL_ARG_WEIGHTS, {chosen.weights_desc(), cpu, right.data_ptr()}},
                 {DNNL_ARG_DST, {chosen.dst_desc(), cpu, result.data_ptr()}}});
    stream.wait();
  } catch (const dnnl::error& error) {
    throw Error(std::string("oneDNN does not multiply: ") + error.what());
  }
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
