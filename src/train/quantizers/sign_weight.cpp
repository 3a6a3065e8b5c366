#include "train/quantizers/sign_weight.h"

#include <torch/csrc/autograd/custom_function.h>

#include "graph/error.h"
#include "train/distributed.h"
#include "train/quantizers/straight_through.h"

namespace ounce::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// |alpha| * sign(w); backward by the options.
class ScaledSign : public torch::autograd::Function<ScaledSign> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& w, const at::Tensor& alpha,
                            const LearnedSignOptions& options) {
    context->save_for_backward({w, alpha});
    context->saved_data["axis"] = options.channels.axis;
    context->saved_data["count"] = options.channels.count;
    context->saved_data["window"] = options.window;
    context->saved_data["latent"] = options.latent_scale_gradient;
    return signs_of(w).mul_(along(alpha.abs(), options.channels, w));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& w = saved[0];
    const at::Tensor& alpha = saved[1];
    const Slices channels = {context->saved_data["axis"].toInt(),
                             context->saved_data["count"].toInt()};
    variable_list result(3);
    if (context->needs_input_grad(0)) {
      result[0] = gradients[0] * along(alpha.abs(), channels, w);
      if (context->saved_data["window"].toBool()) result[0].masked_fill_(w.abs().gt(1), 0);
    }
    if (context->needs_input_grad(1)) {
      const bool latent = context->saved_data["latent"].toBool();
      const at::Tensor product = gradients[0] * (latent ? w : signs_of(w));
      // d|alpha| / dalpha
      result[1] = sum_of_slices(product, channels).mul_(signs_of(alpha));
    }
    return result;
  }
};

at::Tensor mean_magnitude(const at::Tensor& w, const Slices& channels) {
  return mean_of_slices(w.detach().abs(), channels).clamp_min_(kLeastStep);
}

}  // namespace

double FlipTally::rate() const {
  if (steps == 0) return 0.0;
  return flips.sum().item<double>() / static_cast<double>(steps * weights);
}

double FlipTally::stuck() const {
  if (steps == 0) return 0.0;
  return flips.eq(0).to(at::kDouble).mean().item<double>();
}

at::Tensor SignWeight::fake_quant(const at::Tensor& x, bool training) {
  if (training) follow(x);
  return binarize(x, training);
}

void SignWeight::follow(const at::Tensor& weights) {
  weights_ = weights.detach();  // shares the memory that the optimizer writes
  negative_ = weights_.lt(0);
}

void SignWeight::record_gradient(const at::Tensor& binarized) {
  if (!binarized.requires_grad()) return;
  // Batches of one step add up.
  binarized.register_hook([sum = gradient_](const at::Tensor& gradient) {
    *sum = sum->defined() ? *sum + gradient.detach() : gradient.detach();
  });
}

void SignWeight::after_step() {
  if (!negative_.defined()) return;
  const at::NoGradGuard no_grad;
  if (gradient_->defined()) {
    // Hooks see this rank's batches alone.
    *gradient_ = gradient_->contiguous();
    world().average({*gradient_});
  }
  const SignStep step = {weights_, weights_.lt(0).logical_xor_(negative_), *gradient_};
  const at::Tensor flips = sum_of_slices(step.flipped.to(weights_.scalar_type()), channels_);
  tally_.flips = tally_.flips.defined() ? tally_.flips + flips : flips;
  tally_.weights = weights_.numel();
  ++tally_.steps;
  on_step(step);
  negative_.reset();
  gradient_->reset();
}

Grid SignWeight::freeze(const at::Tensor& x) const {
  return SignGrid{alpha(x).clone(), channels_.axis};
}

at::Tensor MeanSignWeight::binarize(const at::Tensor& w, bool /*training*/) {
  const at::Tensor scale = alpha(w);
  if (gradient_ == SignGradient::kScaled) {
    return ScaledSign::apply(w, scale, LearnedSignOptions{.channels = channels()});
  }
  const at::Tensor latent = w.detach();
  return straight_through(w, signs_of(latent).mul_(along(scale, channels(), latent)), Slope::kClip);
}

at::Tensor MeanSignWeight::alpha(const at::Tensor& w) const {
  return mean_magnitude(w, channels());
}

LearnedSignWeight::LearnedSignWeight(const LearnedSignOptions& options)
    : SignWeight(options.channels),
      options_(options),
      alpha_(options.channels, Scale::Kind::kLearned),
      gamma_(at::full({options.channels.count}, options.gamma, at::kFloat)) {}

std::vector<NamedTensor> LearnedSignWeight::buffers() {
  return {{"ready", alpha_.ready_flag()}, {"gamma", gamma_}};
}

at::Tensor LearnedSignWeight::binarize(const at::Tensor& w, bool training) {
  if (!alpha_.ready()) alpha_.set(mean_magnitude(w, channels()));
  const at::Tensor result = ScaledSign::apply(w, alpha_.tensor(), options_);
  if (training) {
    binarized_ = w;
    if (options_.adaptive) record_gradient(result);
  }
  return result;
}

at::Tensor LearnedSignWeight::alpha(const at::Tensor& w) const {
  return alpha_.ready() ? alpha_.frozen().abs() : mean_magnitude(w, channels());
}

at::Tensor LearnedSignWeight::penalty() {
  const bool penalised = options_.adaptive || options_.gamma != 0.0;
  if (!penalised || !binarized_.defined()) return {};
  const at::Tensor signs = signs_of(binarized_.detach());
  const at::Tensor error = binarized_ - along(alpha_.tensor().abs(), channels(), signs) * signs;
  return (sum_of_slices(error.square(), channels()) * gamma_).sum() / 2;
}

void LearnedSignWeight::set_gamma(const at::Tensor& gamma) {
  const at::NoGradGuard no_grad;
  gamma_.copy_(gamma);
}

void LearnedSignWeight::after_step() {
  SignWeight::after_step();
  binarized_.reset();
  const at::NoGradGuard no_grad;
  // Not |alpha|: its sign is part of what is learned.
  const at::Tensor& raw = alpha_.tensor();
  raw.copy_(signs_of(raw).mul_(raw.abs().clamp_min_(kLeastStep)));
}

at::Tensor flips_of_channels(const SignStep& step, const Slices& channels) {
  return mean_of_slices(step.flipped.to(step.weights.scalar_type()), channels);
}

at::Tensor largest_gradients(const SignStep& step, const Slices& channels) {
  if (!step.gradient.defined()) throw Error("the gradient of binary weights was not recorded");
  return largest_of_slices(step.gradient.abs(), channels);
}

}  // namespace ounce::train
