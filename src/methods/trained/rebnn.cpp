#include "methods/trained/rebnn.h"

namespace ounce::methods {
namespace {

using Gamma = RebnnSettings::Gamma;
using Scale = RebnnSettings::Scale;

train::LearnedSignOptions sign_options(const train::Slices& channels,
                                       const RebnnSettings& settings) {
  train::LearnedSignOptions options;
  options.channels = channels;
  options.gamma = settings.gamma == Gamma::kConstant ? settings.constant_gamma : 0.0;
  options.window = !settings.released_gradient;
  options.latent_scale_gradient = settings.released_gradient;
  options.adaptive = settings.gamma == Gamma::kAdaptive;
  return options;
}

class Rebnn final : public TrainedMethod {
 public:
  explicit Rebnn(const RebnnSettings& settings) : settings_(settings) {}

  train::Student student(const Graph& network) override { return rebnn(network, settings_); }

  /// Section 4.1: L = L_task + 1/2 sum gamma ||w - alpha sign(w)||^2.
  at::Tensor loss(train::Module& module, const train::Module::Result& /*student*/,
                  const train::Module::Result* /*teacher*/) override {
    return module.penalty();
  }

  std::map<std::string, double> measures(const train::Module& module) override {
    return take_flips(module);
  }

 private:
  RebnnSettings settings_;
};

}  // namespace

ResilientSignWeight::ResilientSignWeight(const train::Slices& channels,
                                         const RebnnSettings& settings)
    : LearnedSignWeight(sign_options(channels, settings)),
      is_adaptive_(settings.gamma == Gamma::kAdaptive) {
  if (settings.clamp_gamma) most_ = settings.constant_gamma;
}

void ResilientSignWeight::on_step(const train::SignStep& step) {
  // A layer that no gradient has reached keeps its gamma.
  if (!is_adaptive_ || !step.gradient.defined()) return;
  at::Tensor gamma =
      train::flips_of_channels(step, channels()) * train::largest_gradients(step, channels());
  if (most_) gamma = gamma.clamp(kLeastGamma, *most_);
  set_gamma(gamma);
}

train::Student rebnn(const Graph& graph, const RebnnSettings& settings) {
  return binary_network(graph, settings.ends,
                        [&](const train::Slices& channels) -> std::shared_ptr<train::Quantizer> {
                          if (settings.scale == Scale::kMean) {
                            return std::make_shared<train::MeanSignWeight>(
                                train::MeanSignOptions{.channels = channels});
                          }
                          return std::make_shared<ResilientSignWeight>(channels, settings);
                        });
}

RebnnSettings read_rebnn_settings(Settings& stage) {
  RebnnSettings settings;
  settings.ends = read_ends(stage);
  const auto scale = stage.choice("scale", {"mean", "learned"});
  if (scale) settings.scale = static_cast<Scale>(*scale);
  const bool is_mean = settings.scale == Scale::kMean;
  if (is_mean) settings.gamma = Gamma::kZero;
  if (const auto gamma = stage.choice("gamma", {"zero", "constant", "adaptive"})) {
    settings.gamma = static_cast<Gamma>(*gamma);
    if (is_mean && settings.gamma != Gamma::kZero) {
      throw stage.error("gamma", "weighs the penalty of a learned scale", "scale = \"learned\"");
    }
  }
  settings.clamp_gamma = stage.flag("clamp_gamma").value_or(false);
  const double least = settings.clamp_gamma ? kLeastGamma : 0.0;
  if (const auto constant = stage.number("constant_gamma", least, 1)) {
    settings.constant_gamma = *constant;
    if (settings.gamma != Gamma::kConstant && !settings.clamp_gamma) {
      throw stage.error("constant_gamma", "is that of a constant or clamped gamma",
                        "gamma = \"constant\"");
    }
  }
  if (settings.clamp_gamma && settings.gamma != Gamma::kAdaptive) {
    throw stage.error("clamp_gamma", "keeps an adaptive gamma in its range",
                      "gamma = \"adaptive\"");
  }
  settings.released_gradient = stage.choice("gradient", {"exact", "released"}).value_or(0) == 1;
  if (is_mean && settings.released_gradient) {
    throw stage.error("gradient", "is that of a learned scale", "scale = \"learned\"");
  }
  return settings;
}

std::unique_ptr<TrainedMethod> read_rebnn(Settings& stage) {
  return std::make_unique<Rebnn>(read_rebnn_settings(stage));
}

}  // namespace ounce::methods
