#include "train/ops/batch_norm.h"

#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <utility>
#include <vector>

#include "train/channel_loops.h"
#include "train/distributed.h"
#include "train/layout.h"
#include "train/ops/common.h"

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

/// `values` [C] as a view that broadcasts with `x`, in its dtype.
at::Tensor by_channel(const at::Tensor& values, const at::Tensor& x) {
  return along_axis(values.to(x.scalar_type()), 1, x.dim());
}

// Of `x` and, where there is one, `dy` of the same layout; numbers of channels in f64.

double elements_a_channel(const at::Tensor& x) {
  return static_cast<double>(x.numel() / x.size(1));
}

/// Mean and variance over the batch, [2, C].
at::Tensor moments(const at::Tensor& x) {
  if (!fits_channel_loops(x)) {
    const auto [variance, mean] = at::var_mean(x, elements_of(x), /*unbiased=*/false);
    return at::stack({mean, variance}).to(at::kDouble);
  }
  const ChannelLayout layout(x);
  const auto* from = x.data_ptr<float>();
  const at::Tensor mean = sums_of_channels<1>(x, layout, [from](int64_t i, int64_t /*column*/) {
                            return std::array{from[i]};
                          }).div_(elements_a_channel(x))[0];
  const std::vector<float> means = layout.columns_of(mean);
  const at::Tensor squares =
      sums_of_channels<1>(x, layout, [from, middle = means.data()](int64_t i, int64_t column) {
        const float distance = from[i] - middle[column];
        return std::array{distance * distance};
      });
  return at::stack({mean, squares[0] / elements_a_channel(x)});
}

/// x factor + offset.
at::Tensor affine(const at::Tensor& x, const at::Tensor& factor, const at::Tensor& offset) {
  if (!fits_channel_loops(x)) return x * by_channel(factor, x) + by_channel(offset, x);
  const ChannelLayout layout(x);
  const std::vector<float> factors = layout.columns_of(factor);
  const std::vector<float> offsets = layout.columns_of(offset);
  at::Tensor result = at::empty_like(x);
  for_each_element(x, layout,
                   [from = x.data_ptr<float>(), a = factors.data(), b = offsets.data(),
                    to = result.data_ptr<float>()](int64_t i, int64_t column) {
                     to[i] = from[i] * a[column] + b[column];
                   });
  return result;
}

/// Sums of dy and of dy (x - mean) / deviation, [2, C].
at::Tensor gradient_sums(const at::Tensor& x, const at::Tensor& dy, const at::Tensor& mean,
                         const at::Tensor& inverse) {
  if (!fits_channel_loops(x)) {
    const std::vector<int64_t> dims = elements_of(x);
    const at::Tensor normal = (x - by_channel(mean, x)).mul_(by_channel(inverse, x));
    return at::stack({dy.sum(dims), (dy * normal).sum(dims)}).to(at::kDouble);
  }
  const ChannelLayout layout(x);
  const std::vector<float> means = layout.columns_of(mean);
  at::Tensor sums =
      sums_of_channels<2>(x, layout,
                          [from = x.data_ptr<float>(), g = dy.data_ptr<float>(),
                           middle = means.data()](int64_t i, int64_t column) {
                            return std::array{g[i], g[i] * (from[i] - middle[column])};
                          });
  sums[1].mul_(inverse);
  return sums;
}

/// dy a + x b + c.
at::Tensor combine(const at::Tensor& x, const at::Tensor& dy,
                   const std::array<at::Tensor, 3>& factors) {
  if (!fits_channel_loops(x)) {
    return (dy * by_channel(factors[0], x))
        .add_(x * by_channel(factors[1], x))
        .add_(by_channel(factors[2], x));
  }
  const ChannelLayout layout(x);
  const std::vector<float> of_dy = layout.columns_of(factors[0]);
  const std::vector<float> of_x = layout.columns_of(factors[1]);
  const std::vector<float> offset = layout.columns_of(factors[2]);
  at::Tensor result = at::empty_like(x);
  for_each_element(
      x, layout,
      [from = x.data_ptr<float>(), g = dy.data_ptr<float>(), a = of_dy.data(), b = of_x.data(),
       c = offset.data(), to = result.data_ptr<float>()](int64_t i, int64_t column) {
        to[i] = g[i] * a[column] + from[i] * b[column] + c[column];
      });
  return result;
}

/// Mean and variance of a channel over all ranks, [C] each.
std::pair<at::Tensor, at::Tensor> statistics(const at::Tensor& x) {
  const at::Tensor own = moments(x);
  if (world().size() == 1) return {own[0], own[1]};
  const at::Tensor all = world().gather(own.to(x.device()));  // [ranks, 2, C]
  const at::Tensor means = all.select(1, 0);
  const at::Tensor common = means.mean(0);
  return {common, all.select(1, 1).mean(0) + (means - common).square().mean(0)};
}

class BatchNorm : public torch::autograd::Function<BatchNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& scale,
                            const at::Tensor& bias, const at::Tensor& mean,
                            const at::Tensor& variance, double epsilon) {
    const at::Tensor inverse = at::rsqrt(variance + epsilon);
    context->save_for_backward({x, scale, mean, inverse});
    const at::Tensor factor = scale * inverse;
    return affine(x, factor, bias - mean * factor);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& mean = saved[2];
    const at::Tensor& inverse = saved[3];
    const at::Tensor dy = in_layout_of(x, gradients[0]);
    const at::Tensor sums = gradient_sums(x, dy, mean, inverse);
    variable_list result(6);
    result[1] = sums[1].to(saved[1].scalar_type(), /*non_blocking=*/false, /*copy=*/true);
    result[2] = sums[0].to(saved[1].scalar_type(), /*non_blocking=*/false, /*copy=*/true);
    if (world().size() > 1) world().all_reduce(sums);
    sums.div_(elements_a_channel(x) * world().size());
    if (context->needs_input_grad(0)) {
      const at::Tensor factor = saved[1] * inverse;
      const at::Tensor slope = factor * inverse * sums[1];
      result[0] = combine(x, dy, {factor, -slope, slope * mean - factor * sums[0]});
    }
    return result;
  }
};

}  // namespace

at::Tensor trained_batch_norm(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& bias,
                              const at::Tensor& running_mean, const at::Tensor& running_variance,
                              double kept, double epsilon) {
  const auto [mean, variance] = statistics(x.detach());
  {
    const at::NoGradGuard no_grad;
    const double count = elements_a_channel(x) * world().size();
    at::Tensor(running_mean).mul_(kept).add_(mean, 1.0 - kept);
    at::Tensor(running_variance).mul_(kept).add_(variance, (1.0 - kept) * count / (count - 1.0));
  }
  return BatchNorm::apply(x, scale, bias, mean, variance, epsilon);
}

}  // namespace ounce::train::ops
