#include "train/quantizers/straight_through.h"

#include <torch/csrc/autograd/custom_function.h>

namespace ounce::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class StraightThrough : public torch::autograd::Function<StraightThrough> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& value,
                            Slope slope, double limit) {
    context->save_for_backward({x});
    context->saved_data["slope"] = static_cast<int64_t>(slope);
    context->saved_data["limit"] = limit;
    // A view: what comes back must not be the argument itself.
    return value.detach();
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor x = context->get_saved_variables()[0];
    const double limit = context->saved_data["limit"].toDouble();
    at::Tensor result;
    switch (static_cast<Slope>(context->saved_data["slope"].toInt())) {
      case Slope::kClip:
        result = gradients[0].masked_fill(x.abs().gt(limit), 0);
        break;
      case Slope::kOpenWindow:
        result = gradients[0].masked_fill(x.abs().ge(limit), 0);
        break;
      // Both halves at once: 2 - 2|x| where it is positive. At x = -1 both give 0.
      case Slope::kPolynomial:
        result = x.abs().neg_().add_(1).clamp_min_(0).mul_(2).mul_(gradients[0]);
        break;
    }
    return {result, {}, {}, {}};
  }
};

}  // namespace

at::Tensor signs_of(const at::Tensor& x) {
  const at::Tensor one = at::ones({}, x.options());
  return at::where(x.lt(0), -one, one);
}

at::Tensor straight_through(const at::Tensor& x, const at::Tensor& value, Slope slope,
                            double limit) {
  return StraightThrough::apply(x, value, slope, limit);
}

}  // namespace ounce::train
