#include "methods/trained/block_tuning/error_weights.h"

#include "methods/trained/squared_gradients.h"

namespace ounce::methods {
namespace {

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
  SquaredGradients gradients(graph, values, seed);
  std::map<ValueId, ErrorWeights> result;
  for (const Tensor& input : inputs) {
    progress.step("error weights", &input - inputs.data(), static_cast<int64_t>(inputs.size()));
    const std::vector<SquaredGradients::Seen> seen = gradients.at_values(input);
    for (size_t i = 0; i < values.size(); ++i) {
      const at::Tensor& squares = seen[i].squares;
      const at::Tensor channels = mean_over_places(squares);
      ErrorWeights& weights = result[values[i]];
      weights.channels = weights.channels.defined() ? weights.channels + channels : channels;
      weights.places.push_back(squares.mean(channel_axis(squares), /*keepdim=*/true));
    }
  }
  for (auto& [id, weights] : result) normalize(weights);
  return result;
}

}  // namespace ounce::methods
