#include "train/per_channel.h"

#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <vector>

#include "train/layout.h"
#include "train/vector_clones.h"

#include "train/channel_loops.h"

namespace ounce::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class Shift : public torch::autograd::Function<Shift> {
 public:
  static at::Tensor forward(AutogradContext* /*context*/, const at::Tensor& x,
                            const at::Tensor& shift) {
    const ChannelLayout layout(x);
    const std::vector<float> shifts = layout.columns_of(shift);
    at::Tensor result = at::empty_like(x);
    for_each_element(
        x, layout,
        [from = x.data_ptr<float>(), by = shifts.data(), to = result.data_ptr<float>()](
            int64_t i, int64_t c) { to[i] = from[i] + by[c]; });
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    if (!context->needs_input_grad(1)) return {gradients[0], {}};
    const at::Tensor above =
        fits_channel_loops(gradients[0]) ? gradients[0] : gradients[0].contiguous();
    const at::Tensor sums = sums_of_channels<1>(
        above, ChannelLayout(above),
        [g = above.data_ptr<float>()](int64_t i, int64_t /*column*/) { return std::array{g[i]}; });
    return {gradients[0], sums[0].to(at::kFloat)};
  }
};

class PRelu : public torch::autograd::Function<PRelu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& slope) {
    context->save_for_backward({x, slope});
    const ChannelLayout layout(x);
    const std::vector<float> slopes = layout.columns_of(slope);
    at::Tensor result = at::empty_like(x);
    for_each_element(x, layout,
                     [from = x.data_ptr<float>(), by = slopes.data(),
                      to = result.data_ptr<float>()](int64_t i, int64_t c) {
                       const float below = by[c];
                       to[i] = from[i] * (from[i] > 0.0F ? 1.0F : below);
                     });
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor above = in_layout_of(x, gradients[0]);
    const ChannelLayout layout(x);
    const std::vector<float> slopes = layout.columns_of(saved[1]);
    at::Tensor result = at::empty_like(x);
    const at::Tensor of_slopes = sums_of_channels<1>(
        x, layout,
        [from = x.data_ptr<float>(), g = above.data_ptr<float>(), by = slopes.data(),
         to = result.data_ptr<float>()](int64_t i, int64_t c) {
          const float value = from[i];
          const float below = by[c];
          to[i] = g[i] * (value > 0.0F ? 1.0F : below);
          return std::array{g[i] * (value > 0.0F ? 0.0F : value)};
        });
    return {result, of_slopes[0].to(at::kFloat)};
  }
};

}  // namespace

std::optional<at::Tensor> channel_values(const at::Tensor& x, const at::Tensor& operand) {
  const bool is_f32 = operand.is_cpu() && operand.scalar_type() == at::kFloat;
  if (!is_f32 || !fits_channel_loops(x) || x.dim() < 3) return {};
  const int64_t axis = operand.dim() - (x.dim() - 1);  // of the operand: 0, or 1 behind a 1
  if ((axis != 0 && axis != 1) || operand.size(axis) != x.size(1) || operand.numel() != x.size(1)) {
    return {};
  }
  return operand.reshape({-1});
}

at::Tensor shift_channels(const at::Tensor& x, const at::Tensor& shift) {
  return Shift::apply(x, shift);
}

at::Tensor prelu_channels(const at::Tensor& x, const at::Tensor& slope) {
  return PRelu::apply(x, slope);
}

}  // namespace ounce::train
