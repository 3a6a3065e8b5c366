#include "train/lamb.h"

#include <cmath>

namespace ounce::train {
namespace {

using torch::optim::AdamOptions;
using torch::optim::AdamParamState;

void step_tensor(at::Tensor& weight, AdamParamState& state, const AdamOptions& options) {
  const at::Tensor& grad = weight.grad();
  const auto [beta1, beta2] = options.betas();
  state.step(state.step() + 1);
  state.exp_avg().mul_(beta1).add_(grad, 1 - beta1);
  state.exp_avg_sq().mul_(beta2).addcmul_(grad, grad, 1 - beta2);
  const auto step = static_cast<double>(state.step());
  const at::Tensor mean = state.exp_avg() / (1 - std::pow(beta1, step));
  const at::Tensor deviation = (state.exp_avg_sq() / (1 - std::pow(beta2, step))).sqrt();
  at::Tensor update = mean / (deviation + options.eps());
  if (options.weight_decay() != 0) update.add_(weight, options.weight_decay());
  const at::Tensor length = weight.norm();
  const at::Tensor update_length = update.norm();
  const at::Tensor ratio = at::where((length > 0).logical_and(update_length > 0),
                                     length / update_length, at::ones_like(length));
  weight.sub_(update * ratio, options.lr());
}

}  // namespace

torch::Tensor Lamb::step(LossClosure closure) {
  torch::Tensor loss;
  if (closure != nullptr) {
    const at::AutoGradMode with_grad(true);
    loss = closure();
  }
  const at::NoGradGuard no_grad;
  for (torch::optim::OptimizerParamGroup& group : param_groups_) {
    const auto& options = static_cast<const AdamOptions&>(group.options());
    for (at::Tensor& weight : group.params()) {
      if (!weight.grad().defined()) continue;
      auto& slot = state_[c10::guts::to_string(weight.unsafeGetTensorImpl())];
      if (slot == nullptr) {
        auto fresh = std::make_unique<AdamParamState>();
        fresh->step(0);
        fresh->exp_avg(at::zeros_like(weight));
        fresh->exp_avg_sq(at::zeros_like(weight));
        slot = std::move(fresh);
      }
      step_tensor(weight, static_cast<AdamParamState&>(*slot), options);
    }
  }
  return loss;
}

}  // namespace ounce::train
