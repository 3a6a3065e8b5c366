#pragma once

#include <memory>
#include <utility>

#include "train/quantizer.h"
#include "train/quantizers/scale.h"

namespace ounce::train {

/// What one step of the optimizer did to binary weights.
struct SignStep {
  at::Tensor weights;   // after the step
  at::Tensor flipped;   // bool in the shape of the weights: the sign has changed
  at::Tensor gradient;  // G = dL/dw^ of the step's batches, the penalty not in it; undefined unless
                        // recorded
};

/// Changes of sign over some steps.
struct FlipTally {
  at::Tensor flips;  // of each channel, [count]; undefined before the first step
  int64_t steps = 0;
  int64_t weights = 0;  // of all channels

  /// Mean share of the weights that flip in a step.
  double rate() const;
  /// Share of the channels in which nothing has flipped.
  double stuck() const;
};

/// Weights alpha * sign(w), alpha > 0 a channel: what such quantizers share, and where methods
/// hook in.
class SignWeight : public Quantizer {
 public:
  explicit SignWeight(const Slices& channels) : channels_(channels) {}

  at::Tensor fake_quant(const at::Tensor& x, bool training) override;
  /// Compares signs with those of the last forward in training, and calls `on_step`.
  void after_step() override;
  Grid freeze(const at::Tensor& x) const override;

  /// Since it was last asked for.
  FlipTally take_flips() { return std::exchange(tally_, {}); }

 protected:
  /// Remembers the signs of the latent weights, which the optimizer is going to change.
  void follow(const at::Tensor& weights);
  /// alpha * sign(w), differentiable. A method that binarizes something else than the latent
  /// weights (RBONN's look-ahead) overrides `fake_quant`, follows the latent ones, and calls this.
  virtual at::Tensor binarize(const at::Tensor& w, bool training) = 0;
  /// [count], without gradients.
  virtual at::Tensor alpha(const at::Tensor& w) const = 0;
  virtual void on_step(const SignStep& /*step*/) {}

  /// Keeps the gradient that reaches `binarized` for `on_step`.
  void record_gradient(const at::Tensor& binarized);

  const Slices& channels() const { return channels_; }
  /// Those that the last forward in training has seen, as they are now; undefined before it.
  const at::Tensor& latent_weights() const { return weights_; }

 private:
  Slices channels_;
  at::Tensor weights_;
  at::Tensor negative_;  // signs before the step
  std::shared_ptr<at::Tensor> gradient_ = std::make_shared<at::Tensor>();
  FlipTally tally_;
};

enum class SignGradient {
  kPlain,   // dw = G on |w| <= 1: ReActNet, Bi-ViT (sheet section 4.1)
  kScaled,  // dw = alpha G on |w| <= 1: the chain rule through clamp(w, -1, 1)
};

struct MeanSignOptions {
  Slices channels = {};
  SignGradient gradient = SignGradient::kPlain;
};

/// alpha = mean|w| of the channel at every forward, the least-squares scale, without gradient.
class MeanSignWeight : public SignWeight {
 public:
  explicit MeanSignWeight(const MeanSignOptions& options)
      : SignWeight(options.channels), gradient_(options.gradient) {}

 protected:
  at::Tensor binarize(const at::Tensor& w, bool training) override;
  at::Tensor alpha(const at::Tensor& w) const override;

 private:
  SignGradient gradient_;
};

struct LearnedSignOptions {
  Slices channels = {};
  double gamma = 0.0;  // weight of the reconstruction error, of every channel at first
  /// dw = alpha G only on |w| <= 1; the code released with ReBNN and RBONN has no window.
  bool window = true;
  /// dalpha = sum G w instead of the exact sum G sign(w): that code, again.
  bool latent_scale_gradient = false;
  /// `on_step` gets G, and may set gamma.
  bool adaptive = false;
};

/// alpha learned by channel, with the penalty gamma / 2 ||w - alpha sign(w)||^2 (ReBNN, arXiv
/// 2302.00956, sheet section 4.2; also RBONN's lambda and POEM's):
///   dw     = alpha G [|w| <= 1]  +  gamma (w - alpha s)
///   dalpha = sum G s             -  gamma sum (w - alpha s) s
/// where the second terms come with `penalty()`. The forward uses |alpha|, whose sign enters the
/// chain rule. It starts at mean|w|.
class LearnedSignWeight : public SignWeight {
 public:
  explicit LearnedSignWeight(const LearnedSignOptions& options);

  std::vector<NamedTensor> parameters() override { return {{"alpha", alpha_.tensor()}}; }
  std::vector<NamedTensor> buffers() override;
  at::Tensor penalty() override;
  void after_step() override;

  const at::Tensor& gamma() const { return gamma_; }

 protected:
  at::Tensor binarize(const at::Tensor& w, bool training) override;
  at::Tensor alpha(const at::Tensor& w) const override;
  /// gamma by channel, [count]: ReBNN's rule calls it in `on_step`.
  void set_gamma(const at::Tensor& gamma);

 private:
  LearnedSignOptions options_;
  Scale alpha_;
  at::Tensor gamma_;      // [count]
  at::Tensor binarized_;  // what was binarized last in training: latent weights or a look-ahead
};

/// By channel, [count]: the share of flips and the largest |G| of a step, whose product is ReBNN's
/// gamma.
at::Tensor flips_of_channels(const SignStep& step, const Slices& channels);
at::Tensor largest_gradients(const SignStep& step, const Slices& channels);

}  // namespace ounce::train
