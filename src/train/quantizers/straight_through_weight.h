#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "train/quantizers/fixed_scale_weight.h"

namespace ounce::train {

/// Weights that are learned as real numbers and rounded to a grid that stays as it is:
///   W_hat = scale clamp(round(W / scale), lowest, highest)
/// The gradient of W is that of W_hat inside of the grid, 0 beyond.
class StraightThroughWeight : public FixedScaleWeight {
 public:
  StraightThroughWeight(const at::Tensor& weights, FixedScale grid);

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  std::vector<NamedTensor> parameters() override { return {{"weights", weights_}}; }
  at::Tensor codes(const at::Tensor& x) const override;

 private:
  at::Tensor weights_;
};

}  // namespace ounce::train
