#include "quantize/transforms/norm_trial.h"

#include <algorithm>
#include <cmath>

namespace ounce::quantize {
namespace {

std::vector<LinearLayer> layers_of(const Graph& graph, const Options& options,
                                   const NormFold& fold) {
  const GraphIndex index(graph);
  std::vector<LinearLayer> layers;
  for (const int i : fold.layers) layers.push_back(linear_layer(graph, index, i, options));
  return layers;
}

}  // namespace

NormTrial::NormTrial(const Graph& graph, const Options& options, const NormFold& fold,
                     const ObservedChannels& seen)
    : NormTrial(layers_of(graph, options, fold), fold.has_offset, seen) {}

NormTrial::NormTrial(std::vector<LinearLayer> layers, bool has_offset, const ObservedChannels& seen)
    : layers_(std::move(layers)), has_offset_(has_offset), seen_(seen) {}

bool NormTrial::matters() const {
  return std::any_of(layers_.begin(), layers_.end(),
                     [](const LinearLayer& layer) { return !layer.settings.float_weights; });
}

NormScaling NormTrial::scaling(const TransformOptions& options) const {
  if (options.norms == NormTransform::kSmooth) {
    return smooth_scaling(magnitudes(), weight_magnitudes(), options.smooth_alpha);
  }
  RangeRequest request;
  request.rule = RangeRule::kMse;
  request.integer_zero_point = false;
  request.bits = activation_bits();
  return repq_scaling(seen_.channels, request, has_offset_);
}

Strength NormTrial::strength() const {
  return strength_of(seen_.rows, layers_);
}

Strength NormTrial::strength(const NormScaling& scaling) const {
  Tensor rows = Tensor::of(seen_.rows.to_f32(), seen_.rows.shape());
  const std::span<float> x = rows.mutable_data<float>();
  const size_t channels = scaling.scales.size();
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t c = i % channels;
    x[i] = x[i] / scaling.scales[c] - (scaling.shifts.empty() ? 0.0F : scaling.shifts[c]);
  }
  std::vector<LinearLayer> layers = layers_;
  for (LinearLayer& layer : layers) {
    layer.weights = Tensor::of(layer.weights.to_f32(), layer.weights.shape());
    const std::span<float> w = layer.weights.mutable_data<float>();
    const auto columns = static_cast<size_t>(layer.weights.shape()[1]);
    for (size_t i = 0; i < w.size(); ++i) w[i] *= scaling.scales[i / columns];
  }
  return strength_of(rows, layers);
}

Strength NormTrial::best(const TransformOptions& options) const {
  Strength plain = strength();
  if (options.norms == NormTransform::kNone) return plain;
  plain.noise = std::min(plain.noise, strength(scaling(options)).noise);
  return plain;
}

int NormTrial::activation_bits() const {
  int bits = kMinBits;
  for (const LinearLayer& layer : layers_) bits = std::max(bits, layer.settings.activation_bits);
  return bits;
}

std::vector<float> NormTrial::magnitudes() const {
  std::vector<float> result;
  for (const ObservedData& channel : seen_.channels) {
    const Range range = channel.histogram.interval();
    result.push_back(std::max(std::abs(range.low), std::abs(range.high)));
  }
  return result;
}

std::vector<float> NormTrial::weight_magnitudes() const {
  std::vector<float> result(static_cast<size_t>(seen_.rows.shape()[1]), 0.0F);
  for (const LinearLayer& layer : layers_) {
    const auto w = layer.weights.data<float>();
    const auto columns = static_cast<size_t>(layer.weights.shape()[1]);
    for (size_t i = 0; i < w.size(); ++i) {
      result[i / columns] = std::max(result[i / columns], std::abs(w[i]));
    }
  }
  return result;
}

ObservedChannels channels_of_rows(Tensor rows) {
  ObservedChannels result;
  const int64_t channels = rows.shape()[1];
  const auto x = rows.data<float>();
  std::vector<float> column(static_cast<size_t>(rows.shape()[0]));
  for (int64_t c = 0; c < channels; ++c) {
    for (size_t i = 0; i < column.size(); ++i) {
      column[i] = x[i * static_cast<size_t>(channels) + static_cast<size_t>(c)];
    }
    Extent extent;
    extent.add(column, "rows");
    ObservedData data{Histogram(extent.range()), {}};
    data.histogram.add(column);
    result.channels.push_back(std::move(data));
  }
  result.rows = std::move(rows);
  return result;
}

}  // namespace ounce::quantize
