#include "train/quantizers/ternary.h"

#include "train/quantizers/round_to_grid.h"
#include "train/quantizers/straight_through.h"

namespace ounce::train {
namespace {

constexpr double kThreshold = 0.7;  // of mean|w|: between the optima for Gaussian and uniform w

}  // namespace

Ternary::Pattern Ternary::pattern(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  const at::Tensor magnitude = x.abs();
  const at::Tensor threshold = mean_of_slices(magnitude, options_.channels).mul_(kThreshold);
  const at::Tensor kept = magnitude.gt(along(threshold, options_.channels, x)).to(x.scalar_type());
  const at::Tensor members = sum_of_slices(kept, options_.channels);
  const at::Tensor total = sum_of_slices(magnitude * kept, options_.channels);
  // Only a channel of zeros has no members.
  const at::Tensor scale = (total / members).masked_fill_(members.eq(0), 1.0);
  return {signs_of(x).mul_(kept), scale};
}

at::Tensor Ternary::fake_quant(const at::Tensor& x, bool /*training*/) {
  const Pattern now = pattern(x);
  return straight_through(x, now.codes * along(now.scale, options_.channels, x), Slope::kOpenWindow,
                          options_.clip_value);
}

Grid Ternary::freeze(const at::Tensor& x) const {
  return grid_around_zero(pattern(x).scale, options_.channels, {-1, 1});
}

}  // namespace ounce::train
