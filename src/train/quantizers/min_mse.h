#pragma once

#include "train/quantizers/running_range.h"

namespace ounce::train {

/// What a tensor holds of what the error is summed over: all of it (a weight), or one rank's share
/// of a batch, so that all ranks must search together.
enum class Held { kAll, kShare };

/// The scales [count] of least squared error of `x` on `codes` with zero point 0: a search over
/// shares of the scale that just holds the largest |x|, then `refit_scale`.
at::Tensor min_mse_scale(const at::Tensor& x, const Slices& slices, const CodeRange& codes,
                         Held held = Held::kAll);

/// One step of alternating least squares from `scale` [count]: codes q for the scale, then the best
/// scale for them, <x, q> / <q, q>. The error never grows.
at::Tensor refit_scale(const at::Tensor& x, const at::Tensor& scale, const Slices& slices,
                       const CodeRange& codes, Held held = Held::kAll);

/// The best of `refit_scale` from `scale` and a little below and above it: follows slow changes of
/// `x` at a twentieth of the search's cost.
at::Tensor follow_scale(const at::Tensor& x, const at::Tensor& scale, const Slices& slices,
                        const CodeRange& codes, Held held = Held::kAll);

struct MinMseOptions {
  int bits = 8;        // 2 .. 8
  Slices slices = {};  // a scale each
};

/// Weights on the signed grid of least squared error. The search runs once; at each later forward
/// in training the scale follows the weights by `follow_scale`. Beyond the grid no gradient.
class MinMseWeight : public Quantizer {
 public:
  explicit MinMseWeight(const MinMseOptions& options);

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  std::vector<NamedTensor> buffers() override;
  Grid freeze(const at::Tensor& x) const override;

 private:
  CodeRange codes_;
  Scale scale_;
};

struct MinMseActivationOptions {
  int bits = 8;
  Slices slices = {};
  double momentum = 0.99;  // share of the old scale that stays at a new batch
};

/// The same for activations: the first batch decides whether codes are signed and is searched,
/// each later one moves the scale by 1 - momentum of the way that `follow_scale` would go.
class MinMseActivation : public FollowsData {
 public:
  explicit MinMseActivation(const MinMseActivationOptions& options);

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  std::vector<NamedTensor> buffers() override;
  Grid freeze(const at::Tensor& x) const override;

 private:
  CodeRange codes() const { return is_signed_.get() ? signed_codes(bits_) : unsigned_codes(bits_); }

  int bits_;
  double momentum_;
  Scale scale_;
  StateFlag is_signed_;
};

}  // namespace ounce::train
