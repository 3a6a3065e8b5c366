#pragma once

#include "train/quantizer.h"
#include "train/quantizers/slices.h"

namespace ounce::train {

struct TernaryOptions {
  Slices channels = {};  // a threshold and a scale each; `count` 1 is layer-wise
  /// Gradients stop where |w| reaches it: 2.5 in the BERT-style configurations.
  double clip_value = 2.5;
};

/// Ternary weight networks (arXiv 1605.04711), by channel as in TerViT (2201.08050):
///   D = 0.7 mean|w|,  S = {i : |w_i| > D},  a = mean of |w_i| over S,  w^ = a sign(w) on S, else
///   0.
///
/// Threshold and scale follow the weights at every forward and get no gradient. A channel of zeros
/// stays zeros. The codes are those of the result (w^ / a): rounding w itself to the grid would put
/// the threshold at a / 2.
class Ternary : public Quantizer {
 public:
  explicit Ternary(const TernaryOptions& options) : options_(options) {}

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  /// The scale of a channel of zeros is 1.
  Grid freeze(const at::Tensor& x) const override;

 private:
  struct Pattern {
    at::Tensor codes;  // -1, 0, 1
    at::Tensor scale;  // [count]
  };
  Pattern pattern(const at::Tensor& x) const;

  TernaryOptions options_;
};

}  // namespace ounce::train
