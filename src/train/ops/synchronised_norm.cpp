#include "train/ops/synchronised_norm.h"

#include <torch/csrc/autograd/custom_function.h>

#include <tuple>
#include <vector>

#include "train/distributed.h"

namespace ounce::train::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// All dimensions but that of channels.
std::vector<int64_t> elements_of(const at::Tensor& x) {
  std::vector<int64_t> dims = {0};
  for (int64_t d = 2; d < x.dim(); ++d) dims.push_back(d);
  return dims;
}

/// `values` [C] as a view that broadcasts with `x`.
at::Tensor by_channel(const at::Tensor& values, const at::Tensor& x) {
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[1] = x.size(1);
  return values.view(shape);
}

/// Mean and variance of a channel over all ranks.
std::pair<at::Tensor, at::Tensor> statistics(const at::Tensor& x) {
  const auto [variance, mean] = at::var_mean(x, elements_of(x), /*unbiased=*/false);
  const at::Tensor all = world().gather(at::stack({mean, variance}));  // [ranks, 2, C]
  const at::Tensor means = all.select(1, 0);
  const at::Tensor common = means.mean(0);
  return {common, all.select(1, 1).mean(0) + (means - common).square().mean(0)};
}

class SynchronisedNorm : public torch::autograd::Function<SynchronisedNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& scale,
                            const at::Tensor& bias, const at::Tensor& mean,
                            const at::Tensor& variance, double epsilon) {
    context->save_for_backward({x, scale, mean, at::rsqrt(variance + epsilon)});
    return at::batch_norm(x, scale, bias, mean, variance, /*training=*/false, 0, epsilon, true);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& inverse = saved[3];
    const at::Tensor& dy = gradients[0];
    const at::Tensor normal = (x - by_channel(saved[2], x)).mul_(by_channel(inverse, x));
    const std::vector<int64_t> dims = elements_of(x);
    const at::Tensor sums = at::stack({dy.sum(dims), (dy * normal).sum(dims)});  // [2, C]
    variable_list result(6);
    result[1] = sums[1].clone();
    result[2] = sums[0].clone();
    world().all_reduce(sums);
    sums.div_(static_cast<double>(x.numel() / x.size(1) * world().size()));
    if (context->needs_input_grad(0)) {
      result[0] = (dy - by_channel(sums[0], x))
                      .sub_(normal.mul_(by_channel(sums[1], x)))
                      .mul_(by_channel(saved[1] * inverse, x));
    }
    return result;
  }
};

}  // namespace

at::Tensor synchronised_batch_norm(const at::Tensor& x, const at::Tensor& scale,
                                   const at::Tensor& bias, const at::Tensor& running_mean,
                                   const at::Tensor& running_variance, double kept,
                                   double epsilon) {
  const auto [mean, variance] = statistics(x.detach());
  {
    const at::NoGradGuard no_grad;
    const auto count = static_cast<double>(x.numel() / x.size(1) * world().size());
    at::Tensor(running_mean).mul_(kept).add_(mean, 1.0 - kept);
    at::Tensor(running_variance).mul_(kept).add_(variance, (1.0 - kept) * count / (count - 1.0));
  }
  return SynchronisedNorm::apply(x, scale, bias, mean, variance, epsilon);
}

}  // namespace ounce::train::ops
