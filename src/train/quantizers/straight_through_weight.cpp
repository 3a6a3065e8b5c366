#include "train/quantizers/straight_through_weight.h"

namespace ounce::train {

StraightThroughWeight::StraightThroughWeight(const at::Tensor& weights, FixedScale grid)
    : FixedScaleWeight(std::move(grid)),
      steps_((weights.detach() / grid_.scale).requires_grad_(true)) {}

at::Tensor StraightThroughWeight::fake_quant(const at::Tensor& /*x*/, bool /*training*/) {
  const at::Tensor inside = at::clamp(steps_, grid_.codes.lowest, grid_.codes.highest);
  return (inside + (at::round(inside) - inside).detach()) * grid_.scale;
}

at::Tensor StraightThroughWeight::codes() const {
  const at::Tensor rounded = at::round(steps_.detach());
  return at::clamp(rounded, grid_.codes.lowest, grid_.codes.highest).to(at::kChar);
}

}  // namespace ounce::train
