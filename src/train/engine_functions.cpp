#include "train/engine_functions.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#include "engine/kernels/tensor/elementwise.h"
#include "engine/kernels/tensor/normalize.h"
#include "engine/thread_pool.h"
#include "train/vector_clones.h"

#include "train/row_sums.h"

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

/// Mean and 1 / sqrt(variance + epsilon) of each row, which the engine does not hand out.
OUNCE_VECTOR_CLONES void row_statistics(const float* x, int64_t rows, int64_t columns,
                                        float epsilon, float* means, float* scales) {
  const auto count = static_cast<float>(columns);
  for (int64_t i = 0; i < rows; ++i, x += columns) {
    const float mean = sum_of(x, columns) / count;
    const float squares =
        sum_of_terms(columns, [=](int64_t j) { return (x[j] - mean) * (x[j] - mean); });
    means[i] = mean;
    scales[i] = 1.0F / std::sqrt(squares / count + epsilon);
  }
}

class RowLayerNorm : public torch::autograd::Function<RowLayerNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& gamma,
                            const at::Tensor& beta, double epsilon) {
    const at::Tensor dense = x.contiguous();
    context->save_for_backward({dense, gamma, beta});
    context->saved_data["epsilon"] = epsilon;
    at::Tensor y = at::empty_like(dense);
    const int64_t columns = gamma.numel();
    const at::Tensor gains = gamma.contiguous();
    const at::Tensor shifts = beta.contiguous();
    const auto* from = dense.data_ptr<float>();
    auto* to = y.data_ptr<float>();
    on_all_threads(x.numel() / columns, columns,
                   [&](const engine::Context& alone, int64_t begin, int64_t end) {
                     engine::layer_norm_f32(alone, from + begin * columns, to + begin * columns,
                                            end - begin, columns, gains.data_ptr<float>(),
                                            shifts.data_ptr<float>(), static_cast<float>(epsilon));
                   });
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& gamma = saved[1];
    const int64_t columns = gamma.numel();
    const auto epsilon = static_cast<float>(context->saved_data["epsilon"].toDouble());
    // In the shape that libtorch's own forward gives them.
    std::vector<int64_t> shape = x.sizes().vec();
    std::fill(shape.end() - gamma.dim(), shape.end(), 1);
    const at::Tensor means = at::empty(shape, x.options());
    const at::Tensor scales = at::empty(shape, x.options());
    on_all_threads(x.numel() / columns, columns,
                   [&](const engine::Context& /*alone*/, int64_t begin, int64_t end) {
                     row_statistics(x.data_ptr<float>() + begin * columns, end - begin, columns,
                                    epsilon, means.data_ptr<float>() + begin,
                                    scales.data_ptr<float>() + begin);
                   });
    const auto [of_x, of_gamma, of_beta] = at::native_layer_norm_backward(
        gradients[0].contiguous(), x, gamma.sizes(), means, scales, gamma, saved[2],
        {context->needs_input_grad(0), context->needs_input_grad(1), context->needs_input_grad(2)});
    return {of_x, of_gamma, of_beta, {}};
  }
};

bool fits_engine_norm(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta) {
  const auto matches = [&](const at::Tensor& values) {
    return fits_engine(values) && values.dim() <= x.dim() &&
           values.sizes() == x.sizes().slice(static_cast<size_t>(x.dim() - values.dim()));
  };
  return fits_engine(x) && gamma.dim() >= 1 && matches(gamma) &&
         (!beta.defined() || (matches(beta) && beta.dim() == gamma.dim()));
}

}  // namespace

at::Tensor row_softmax(const at::Tensor& x) {
  return fits_engine(x) && x.dim() >= 1 ? RowSoftmax::apply(x) : at::softmax(x, -1);
}

at::Tensor row_layer_norm(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta,
                          double epsilon) {
  if (fits_engine_norm(x, gamma, beta)) {
    return RowLayerNorm::apply(x, gamma, beta.defined() ? beta : at::zeros_like(gamma), epsilon);
  }
  return std::get<0>(at::native_layer_norm(x, gamma.sizes(), gamma, beta, epsilon));
}

at::Tensor erf_gelu(const at::Tensor& x) {
  return fits_engine(x) ? Gelu::apply(x) : at::gelu(x);
}

}  // namespace ounce::train
