#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "train/quantizers/fixed_scale_weight.h"

namespace ounce::train {

/// Weights that are learned as real numbers, counted in steps of a grid that stays as it is:
///   W_hat = scale clamp(round(V), lowest, highest), at first V = W / scale
/// The gradient of V is that of W_hat / scale inside of the grid, 0 beyond.
class StraightThroughWeight : public FixedScaleWeight {
 public:
  StraightThroughWeight(const at::Tensor& weights, FixedScale grid);

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  std::vector<NamedTensor> parameters() override { return {{"steps", steps_}}; }
  at::Tensor codes() const override;

 private:
  at::Tensor steps_;  // V
};

}  // namespace ounce::train
