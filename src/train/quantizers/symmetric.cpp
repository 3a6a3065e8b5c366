#include "train/quantizers/symmetric.h"

#include "train/quantizers/scale.h"
#include "train/quantizers/straight_through.h"

namespace ounce::train {

at::Tensor scale_to_hold(const at::Tensor& largest, int64_t highest) {
  const at::Tensor scale = largest / highest;
  return scale.masked_fill(scale.lt(kLeastStep), 1.0);
}

SymmetricWeight::SymmetricWeight(const SymmetricWeightOptions& options)
    : options_(options), codes_(signed_codes(options.bits)) {}

at::Tensor SymmetricWeight::scale_of(const at::Tensor& x) const {
  return scale_to_hold(largest_of_slices(x.detach().abs(), options_.channels), codes_.highest);
}

at::Tensor SymmetricWeight::fake_quant(const at::Tensor& x, bool /*training*/) {
  const at::Tensor value =
      round_to_grid(x.detach(), scale_of(x), {.slices = options_.channels, .codes = codes_});
  return straight_through(x, value, Slope::kOpenWindow, options_.clip_value);
}

Grid SymmetricWeight::freeze(const at::Tensor& x) const {
  return grid_around_zero(scale_of(x), options_.channels, codes_);
}

}  // namespace ounce::train
