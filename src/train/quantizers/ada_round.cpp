#include "train/quantizers/ada_round.h"

namespace ounce::train {
namespace {

constexpr double kZeta = 1.1;
constexpr double kGamma = -0.1;

}  // namespace

AdaRoundWeight::AdaRoundWeight(const at::Tensor& weights, FixedScale grid)
    : FixedScaleWeight(std::move(grid)) {
  const at::Tensor steps = weights.detach() / grid_.scale;
  down_ = at::floor(steps);
  const at::Tensor fraction = steps - down_;
  rounding_ = -at::log((kZeta - kGamma) / (fraction - kGamma) - 1);
  rounding_ = rounding_.contiguous().requires_grad_(true);
}

at::Tensor AdaRoundWeight::share() const {
  return at::clamp(at::sigmoid(rounding_) * (kZeta - kGamma) + kGamma, 0, 1);
}

at::Tensor AdaRoundWeight::fake_quant(const at::Tensor& x, bool training) {
  if (!training) return codes().to(x.scalar_type()) * grid_.scale;
  const auto& [lowest, highest] = grid_.codes;
  return at::clamp(down_ + share(), lowest, highest) * grid_.scale;
}

at::Tensor AdaRoundWeight::penalty() {
  if (!beta_) return {};
  return (1 - at::pow(at::abs(2 * share() - 1), *beta_)).sum();
}

at::Tensor AdaRoundWeight::codes() const {
  const at::Tensor up = rounding_.detach() >= 0;
  return at::clamp(down_ + up, grid_.codes.lowest, grid_.codes.highest).to(at::kChar);
}

}  // namespace ounce::train
