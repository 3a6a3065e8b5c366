#include "train/engine_functions.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>

#include "engine/kernels/tensor/elementwise.h"
#include "engine/kernels/tensor/normalize.h"
#include "engine/thread_pool.h"

namespace ounce::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool fits_engine(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.numel() > 0;
}

/// `body(context, begin, end)` for parts of `count` items. libtorch's threads share the items out;
/// to the engine each of them is alone.
template <class Body>
void on_all_threads(int64_t count, int64_t size_of_item, const Body& body) {
  constexpr int64_t kGrain = 16384;  // elements worth a thread
  const int64_t grain = std::max<int64_t>(1, kGrain / size_of_item);
  at::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    thread_local engine::ThreadPool alone(1);
    body(engine::Context{alone, {}}, begin, end);
  });
}

class RowSoftmax : public torch::autograd::Function<RowSoftmax> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
    const at::Tensor dense = x.contiguous();
    at::Tensor y = at::empty_like(dense);
    const int64_t columns = x.size(-1);
    const auto* from = dense.data_ptr<float>();
    auto* to = y.data_ptr<float>();
    on_all_threads(x.numel() / columns, columns,
                   [&](const engine::Context& alone, int64_t begin, int64_t end) {
                     engine::softmax_f32(
                         alone, from + begin * columns, to + begin * columns,
                         {.rows = end - begin, .columns = columns, .ldx = columns, .ldy = columns});
                   });
    context->save_for_backward({y});
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {at::_softmax_backward_data(gradients[0], context->get_saved_variables()[0], -1,
                                       at::kFloat)};
  }
};

class Gelu : public torch::autograd::Function<Gelu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
    const at::Tensor dense = x.contiguous();
    context->save_for_backward({dense});
    at::Tensor y = at::empty_like(dense);
    const auto* from = dense.data_ptr<float>();
    auto* to = y.data_ptr<float>();
    on_all_threads(x.numel(), 1, [&](const engine::Context& alone, int64_t begin, int64_t end) {
      engine::activate_f32(alone, from + begin, to + begin, end - begin,
                           {engine::Activation::kGeluErf});
    });
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    // libtorch 1.13 pairs up other elements where the two lie in different orders.
    return {at::gelu_backward(gradients[0].contiguous(), context->get_saved_variables()[0])};
  }
};

}  // namespace

at::Tensor row_softmax(const at::Tensor& x) {
  return fits_engine(x) && x.dim() >= 1 ? RowSoftmax::apply(x) : at::softmax(x, -1);
}

at::Tensor erf_gelu(const at::Tensor& x) {
  return fits_engine(x) ? Gelu::apply(x) : at::gelu(x);
}

}  // namespace ounce::train
