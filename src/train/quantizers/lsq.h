#pragma once

#include <cstdint>

#include "train/quantizer.h"
#include "train/quantizers/round_to_grid.h"
#include "train/quantizers/scale.h"

namespace ounce::train {

struct LsqOptions {
  int bits = 4;        // 2 .. 8
  Slices slices = {};  // a step each: output channels of a weight, heads of an activation
  /// Activations only: LSQ+ with a learned zero point, else codes around 0.
  bool learn_zero_point = false;
};

/// LSQ for weights (arXiv 1902.08153): signed codes, a learned step a channel or a tensor.
///
/// Every step starts at 2 mean|W| / sqrt(highest code), the mean over the whole tensor; the
/// gradient scale is 1 / sqrt(elements of W * highest code) whatever the slices.
class LsqWeight : public Quantizer {
 public:
  /// Throws `Error` for bits other than 2 .. 8 and for a zero point.
  explicit LsqWeight(const LsqOptions& options);

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  std::vector<NamedTensor> parameters() override { return {{"step", step_.tensor()}}; }
  std::vector<NamedTensor> buffers() override { return {{"ready", step_.ready_flag()}}; }
  void after_step() override { step_.keep_above(kLeastStep); }
  Grid freeze(const at::Tensor& x) const override;

 private:
  CodeRange codes_;
  Scale step_;
};

/// LSQ+ for activations (arXiv 2004.09576, Q-ViT 2210.06707 section 4.1 of its sheet).
///
/// The first batch decides whether codes are signed (anything below -1e-5), and starts, slice by
/// slice, step = 2 mean|x| / sqrt(highest) and zero_point = 0.1 (min x - step * lowest). Zero
/// points are kept among the codes: 0 must have a code of its own for padding. Ranks set up from
/// the batches of all; elements of all batches of a step count in the gradient scale, so that
/// splitting a batch changes nothing.
class LsqActivation : public Quantizer {
 public:
  explicit LsqActivation(const LsqOptions& options);

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  std::vector<NamedTensor> parameters() override;
  std::vector<NamedTensor> buffers() override;
  void set_batches_per_step(int64_t count) override { batches_ = count; }
  void after_step() override;
  Grid freeze(const at::Tensor& x) const override;

 private:
  CodeRange codes() const { return is_signed_.get() ? signed_codes(bits_) : unsigned_codes(bits_); }
  void set_up(const at::Tensor& x);

  int bits_;
  int64_t batches_ = 1;  // of a step
  Scale step_;
  at::Tensor zero_point_;  // [count], undefined when not learned
  StateFlag is_signed_;
};

/// Whether an activation needs signed codes: what is below 0 by more than rounding, on any rank.
bool has_negatives(const at::Tensor& x);

}  // namespace ounce::train
