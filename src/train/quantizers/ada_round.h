#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "train/quantizer.h"
#include "train/quantizers/round_to_grid.h"

namespace ounce::train {

struct AdaRoundOptions {
  at::Tensor scale;  // positive, broadcasts with the weights; stays as it is
  CodeRange codes = {};
};

/// AdaRound (arXiv 2004.10568) for weights that stay as they are: each is rounded down or up, and
/// which of the two is learned.
///   W_hat = scale clamp(floor(W / scale) + h(V), lowest, highest)
///   h(V) = clamp(sigmoid(V) (zeta - gamma) + gamma, 0, 1), zeta = 1.1, gamma = -0.1   (eq. 23)
/// At first h(V) is the fraction that floor leaves, so that W_hat is W inside of the grid. In
/// training W_hat is soft, else h is 0 or 1 (1 where V >= 0).
class AdaRoundWeight : public Quantizer {
 public:
  AdaRoundWeight(const at::Tensor& weights, AdaRoundOptions options);

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  std::vector<NamedTensor> parameters() override { return {{"rounding", rounding_}}; }
  /// sum (1 - |2 h(V) - 1|^beta), eq. 24: 0 where all are decided. Undefined without beta.
  at::Tensor penalty() override;
  /// Grows from round to sharp with falling beta; nullopt: no penalty yet.
  void set_beta(std::optional<double> beta) { beta_ = beta; }

  /// What the weights become, [as they are], i8.
  at::Tensor codes(const at::Tensor& x) const;
  /// The grid of the weights that `codes` stand for. Throws `Error` where scales lie along more
  /// than one axis: groups.
  Grid freeze(const at::Tensor& x) const override;

 private:
  at::Tensor share() const;  // h(V)

  AdaRoundOptions options_;
  at::Tensor rounding_;  // V
  std::optional<double> beta_;
};

}  // namespace ounce::train
