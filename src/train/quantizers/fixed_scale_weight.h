#pragma once

#include <ATen/ATen.h>

#include "train/quantizer.h"
#include "train/quantizers/round_to_grid.h"

namespace ounce::train {

struct FixedScale {
  at::Tensor scale;  // positive, broadcasts with the weights
  CodeRange codes = {};
};

/// Weights whose codes are learned on a grid that stays as it is.
class FixedScaleWeight : public Quantizer {
 public:
  explicit FixedScaleWeight(FixedScale grid) : grid_(std::move(grid)) {}

  /// What the weights become, of their shape, i8.
  virtual at::Tensor codes() const = 0;
  /// The grid of the weights that `codes` stand for. Throws `Error` where scales lie along more
  /// than one axis: groups.
  Grid freeze(const at::Tensor& x) const override;

 protected:
  FixedScale grid_;
};

}  // namespace ounce::train
