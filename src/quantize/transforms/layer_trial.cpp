#include "quantize/transforms/layer_trial.h"

#include <algorithm>

#include "quantize/decibels.h"
#include "quantize/node_kind.h"
#include "quantize/range.h"
#include "quantize/transforms/matrix.h"

namespace ounce::quantize {
namespace {

Tensor transposed(const Tensor& matrix) {
  return tensor_of(matrix_of(matrix).transpose());
}

Tensor quantized_weights(const LinearLayer& layer) {
  if (layer.settings.float_weights) return layer.weights;
  return quantize_weights(layer.weights, {1, 0}, layer.settings.weights, "weights").dequantize();
}

}  // namespace

Strength& Strength::operator+=(const Strength& other) {
  signal += other.signal;
  noise += other.noise;
  return *this;
}

double mean_decibels(std::span<const Strength> layers) {
  double lost = 0.0;
  int64_t count = 0;
  for (const Strength& layer : layers) {
    if (layer.signal <= 0.0) continue;
    lost += layer.noise / layer.signal;
    ++count;
  }
  return decibels(static_cast<double>(count), lost);
}

LinearLayer linear_layer(const Graph& graph, const GraphIndex& index, int node,
                         const Options& options) {
  const ProductWeights weights = *product_weights(graph, index, node);
  const Tensor& constant = graph.value(weights.weights).constant;
  return {weights.axes.reduction == 0 ? constant : transposed(constant),
          settings_for(options, graph.nodes[static_cast<size_t>(node)])};
}

Tensor quantized_rows(const Tensor& rows, const LayerSettings& settings) {
  if (settings.float_activations) return rows;
  Extent extent;
  extent.add(rows.data<float>(), "rows");
  ObservedData data{Histogram(extent.range()), {}};
  data.histogram.add(rows.data<float>());
  RangeRequest request;
  request.rule = settings.range == RangeRule::kUnilateral ? RangeRule::kMse : settings.range;
  request.bits = std::max(settings.activation_bits, kMinBits);
  request.ternary = settings.ternary_activations;
  request.percentile = settings.percentile;
  Tensor result = Tensor::of(rows.to_f32(), rows.shape());
  fake_quantize(result.mutable_data<float>(), choose_range(data, request).params);
  return result;
}

Strength strength_of(const Tensor& rows, const LinearLayer& layer) {
  const Matrix exact = matrix_of(rows) * matrix_of(layer.weights);
  const Tensor x = quantized_rows(rows, layer.settings);
  const Tensor w = quantized_weights(layer);
  const Matrix quantized = matrix_of(x) * matrix_of(w);
  return {exact.cast<double>().squaredNorm(), (quantized - exact).cast<double>().squaredNorm()};
}

Strength strength_of(const Tensor& rows, std::span<const LinearLayer> layers) {
  Strength sum;
  for (const LinearLayer& layer : layers) sum += strength_of(rows, layer);
  return sum;
}

}  // namespace ounce::quantize
