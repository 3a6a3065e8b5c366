#include "train/quantizers/straight_through_weight.h"

namespace ounce::train {

StraightThroughWeight::StraightThroughWeight(const at::Tensor& weights, FixedScale grid)
    : FixedScaleWeight(std::move(grid)), weights_(weights.detach().clone().requires_grad_(true)) {}

at::Tensor StraightThroughWeight::fake_quant(const at::Tensor& /*x*/, bool /*training*/) {
  const at::Tensor steps =
      at::clamp(weights_ / grid_.scale, grid_.codes.lowest, grid_.codes.highest);
  return (steps + (at::round(steps) - steps).detach()) * grid_.scale;
}

at::Tensor StraightThroughWeight::codes(const at::Tensor& /*x*/) const {
  const at::Tensor steps = at::round(weights_.detach() / grid_.scale);
  return at::clamp(steps, grid_.codes.lowest, grid_.codes.highest).to(at::kChar);
}

}  // namespace ounce::train
