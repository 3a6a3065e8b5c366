#pragma once

#include "train/quantizer.h"
#include "train/quantizers/round_to_grid.h"
#include "train/quantizers/scale.h"
#include "train/quantizers/straight_through.h"

namespace ounce::train {

/// sign(x) without a scale: inputs of binary layers. `slope` is kClip (BinaryNet) or kPolynomial
/// (Bi-Real Net, ReActNet, Bi-ViT).
class SignActivation : public Quantizer {
 public:
  enum class Input {
    kAny,
    /// Sums of equal terms of either sign: a map of one bit times values of one bit. As many of
    /// each add up to 0 in the engine's integers, and in floats to what rounding leaves, of either
    /// sign: what is below a 10,000th of the largest is 0 here.
    kSumsOfSigns,
  };

  explicit SignActivation(Slope slope = Slope::kPolynomial, Input input = Input::kAny)
      : slope_(slope), input_(input) {}

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  Grid freeze(const at::Tensor& x) const override;

 private:
  Slope slope_;
  Input input_;
};

struct LearnedBinarizerOptions {
  Slices heads = {};    // a scale each
  bool is_map = false;  // r * (P > r / 2) of softmax maps, else a * sign(x)
};

/// One bit with a learned scale inside attention (Bi-ViT, arXiv 2305.12354, sheet section 4.2):
/// queries, keys and values become a * sign(x), the softmax map r * (P > r / 2), which puts the
/// threshold where its values are.
///
/// Gradients are those of `round_to_grid` over the codes -1 .. 1 or 0 .. 1, the gradient scale
/// 1 / sqrt(elements). The first batch gives scale = 2 mean|x|, slice by slice.
class LearnedBinarizer : public Quantizer {
 public:
  explicit LearnedBinarizer(const LearnedBinarizerOptions& options);

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  std::vector<NamedTensor> parameters() override { return {{"scale", scale_.tensor()}}; }
  std::vector<NamedTensor> buffers() override { return {{"ready", scale_.ready_flag()}}; }
  void set_batches_per_step(int64_t count) override { batches_ = count; }
  void after_step() override { scale_.keep_above(kLeastScale); }
  Grid freeze(const at::Tensor& x) const override;

 private:
  static constexpr double kLeastScale = 1e-6;

  LearnedBinarizerOptions options_;
  int64_t batches_ = 1;  // of a step
  Scale scale_;
};

}  // namespace ounce::train
