#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "train/quantizers/fixed_scale_weight.h"

namespace ounce::train {

/// AdaRound (arXiv 2004.10568) for weights that stay as they are, those that it is made with: each
/// is rounded down or up, and which of the two is learned.
///   W_hat = scale clamp(floor(W / scale) + h(V), lowest, highest)
///   h(V) = clamp(sigmoid(V) (zeta - gamma) + gamma, 0, 1), zeta = 1.1, gamma = -0.1   (eq. 23)
/// At first h(V) is the fraction that floor leaves, so that W_hat is W inside of the grid. In
/// training W_hat is soft, else h is 0 or 1 (1 where V >= 0).
class AdaRoundWeight : public FixedScaleWeight {
 public:
  AdaRoundWeight(const at::Tensor& weights, FixedScale grid);

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  std::vector<NamedTensor> parameters() override { return {{"rounding", rounding_}}; }
  /// sum (1 - |2 h(V) - 1|^beta), eq. 24: 0 where all are decided. Undefined without beta.
  at::Tensor penalty() override;
  /// Grows from round to sharp with falling beta; nullopt: no penalty yet.
  void set_beta(std::optional<double> beta) { beta_ = beta; }

  at::Tensor codes() const override;

 private:
  at::Tensor share() const;  // h(V)

  at::Tensor down_;      // floor(W / scale)
  at::Tensor rounding_;  // V
  std::optional<double> beta_;
};

}  // namespace ounce::train
