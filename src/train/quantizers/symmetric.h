#pragma once

#include "train/quantizer.h"
#include "train/quantizers/round_to_grid.h"

namespace ounce::train {

struct SymmetricWeightOptions {
  int bits = 8;          // 2 .. 8
  Slices channels = {};  // a scale each
  /// Gradients stop where |w| reaches it: 2.5 in the BERT-style configurations.
  double clip_value = 2.5;
};

/// Weights on the grid that just holds the largest of each channel (TerViT's first stage):
///   scale = max|w| / (2^(bits-1) - 1),  w^ = scale * round(w / scale).
/// The scale follows the weights and gets no gradient.
class SymmetricWeight : public Quantizer {
 public:
  explicit SymmetricWeight(const SymmetricWeightOptions& options);

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  Grid freeze(const at::Tensor& x) const override;

 private:
  at::Tensor scale_of(const at::Tensor& x) const;

  SymmetricWeightOptions options_;
  CodeRange codes_;
};

/// The scale at which `largest` >= 0 has the code `highest`; 1 where it is nothing.
at::Tensor scale_to_hold(const at::Tensor& largest, int64_t highest);

}  // namespace ounce::train
