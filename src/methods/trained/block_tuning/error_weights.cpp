#include "methods/trained/block_tuning/error_weights.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <string>

#include "graph/error.h"
#include "train/module.h"
#include "train/tensor.h"

namespace ounce::methods {
namespace {

/// Draws for each run: what one draw says is mostly chance.
constexpr int64_t kDraws = 2;

int64_t channel_axis(const at::Tensor& value) {
  return value.dim() == 4 ? 1 : value.dim() - 1;
}

/// [1, channels, 1, 1] or [1, .., channels]
at::Tensor mean_over_places(const at::Tensor& value) {
  std::vector<int64_t> axes(static_cast<size_t>(value.dim()));
  for (int64_t i = 0; i < value.dim(); ++i) axes[static_cast<size_t>(i)] = i;
  axes.erase(axes.begin() + channel_axis(value));
  return value.mean(axes, /*keepdim=*/true);
}

/// A number whose squared gradients have the Fisher information for their mean.
at::Tensor drawn_loss(const std::vector<at::Tensor>& outputs, at::Generator& random) {
  at::Tensor loss;
  const auto add = [&](const at::Tensor& more) { loss = loss.defined() ? loss + more : more; };
  for (const at::Tensor& output : outputs) {
    if (!output.is_floating_point() || !output.requires_grad()) continue;
    if (output.dim() == 2 && output.size(1) > 1) {
      const at::Tensor scores = output.log_softmax(1);
      const at::Tensor drawn = scores.detach().exp().multinomial(1, false, random);
      add(-scores.gather(1, drawn).sum());
    } else {
      const at::Tensor signs = at::empty_like(output).bernoulli_(0.5, random) * 2 - 1;
      const at::Tensor size = output.detach().square().mean().sqrt().clamp_min(1e-12);
      add((output * signs).sum() / size);
    }
  }
  if (!loss.defined()) {
    throw Error("has no output of which errors could be weighed", "model",
                "--option tuning-loss=plain");
  }
  return loss;
}

/// Makes the means 1.
void normalize(ErrorWeights& weights) {
  constexpr double kTiny = 1e-30;  // a value that no output depends on
  at::Tensor mean = at::zeros({});
  for (const at::Tensor& places : weights.places) mean += places.mean();
  mean = (mean / static_cast<double>(weights.places.size())).clamp_min(kTiny);
  for (at::Tensor& places : weights.places) places = places / mean;
  weights.channels = weights.channels / weights.channels.mean().clamp_min(kTiny);
}

}  // namespace

at::Tensor ErrorWeights::of(std::span<const size_t> runs) const {
  std::vector<at::Tensor> chosen;
  for (const size_t run : runs) chosen.push_back(places[run]);
  return channels * at::cat(chosen, 0).sqrt();
}

std::map<ValueId, ErrorWeights> error_weights(const Graph& graph,
                                              const std::vector<ValueId>& values,
                                              const std::vector<Tensor>& inputs, uint64_t seed,
                                              const quantize::Progress& progress) {
  std::vector<std::string> taps;
  for (const ValueId id : values) taps.push_back(graph.value(id).name);
  train::Module module(graph);
  module.set_training(false);
  module.freeze_parameters();
  at::Generator random = at::detail::createCPUGenerator(seed);
  std::map<ValueId, ErrorWeights> result;
  for (const Tensor& input : inputs) {
    progress.step("error weights", &input - inputs.data(), static_cast<int64_t>(inputs.size()));
    const at::Tensor x = train::to_torch(input).clone().requires_grad_(true);
    const train::Module::Result seen = module.forward({&x, 1}, taps);
    std::vector<at::Tensor> tapped;
    for (const std::string& tap : taps) tapped.push_back(seen.taps.at(tap));
    for (int64_t draw = 0; draw < kDraws; ++draw) {
      const bool last = draw + 1 == kDraws;
      const std::vector<at::Tensor> gradients =
          torch::autograd::grad({drawn_loss(seen.outputs, random)}, tapped, {}, !last, false, true);
      for (size_t i = 0; i < values.size(); ++i) {
        const at::Tensor squares =
            gradients[i].defined() ? gradients[i].square() : at::zeros_like(tapped[i]);
        const at::Tensor channels = mean_over_places(squares);
        const at::Tensor places = squares.mean(channel_axis(squares), /*keepdim=*/true);
        ErrorWeights& weights = result[values[i]];
        weights.channels = weights.channels.defined() ? weights.channels + channels : channels;
        if (draw == 0)
          weights.places.push_back(places);
        else
          weights.places.back() += places;
      }
    }
  }
  for (auto& [id, weights] : result) normalize(weights);
  return result;
}

}  // namespace ounce::methods
