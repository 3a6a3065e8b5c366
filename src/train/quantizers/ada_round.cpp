#include "train/quantizers/ada_round.h"

#include "graph/error.h"

namespace ounce::train {
namespace {

constexpr double kZeta = 1.1;
constexpr double kGamma = -0.1;

}  // namespace

AdaRoundWeight::AdaRoundWeight(const at::Tensor& weights, AdaRoundOptions options)
    : options_(std::move(options)) {
  const at::Tensor steps = weights.detach() / options_.scale;
  const at::Tensor fraction = steps - at::floor(steps);
  rounding_ = -at::log((kZeta - kGamma) / (fraction - kGamma) - 1);
  rounding_ = rounding_.contiguous().requires_grad_(true);
}

at::Tensor AdaRoundWeight::share() const {
  return at::clamp(at::sigmoid(rounding_) * (kZeta - kGamma) + kGamma, 0, 1);
}

at::Tensor AdaRoundWeight::fake_quant(const at::Tensor& x, bool training) {
  if (!training) return codes(x).to(x.scalar_type()) * options_.scale;
  const at::Tensor down = at::floor(x.detach() / options_.scale);
  const auto& [lowest, highest] = options_.codes;
  return at::clamp(down + share(), lowest, highest) * options_.scale;
}

at::Tensor AdaRoundWeight::penalty() {
  if (!beta_) return {};
  return (1 - at::pow(at::abs(2 * share() - 1), *beta_)).sum();
}

at::Tensor AdaRoundWeight::codes(const at::Tensor& x) const {
  const at::Tensor down = at::floor(x.detach() / options_.scale);
  const at::Tensor up = rounding_.detach() >= 0;
  return at::clamp(down + up, options_.codes.lowest, options_.codes.highest).to(at::kChar);
}

Grid AdaRoundWeight::freeze(const at::Tensor& /*x*/) const {
  AffineGrid grid;
  grid.scale = options_.scale.detach().reshape({-1}).clone();
  grid.zero_point = at::zeros_like(grid.scale);
  grid.lowest = options_.codes.lowest;
  grid.highest = options_.codes.highest;
  for (int64_t axis = 0; axis < options_.scale.dim(); ++axis) {
    if (options_.scale.size(axis) == options_.scale.numel()) grid.axis = axis;
  }
  if (options_.scale.numel() != 1 && options_.scale.size(grid.axis) != options_.scale.numel()) {
    throw Error("scales of groups of weights", {}, "a scale a channel");
  }
  return grid;
}

}  // namespace ounce::train
