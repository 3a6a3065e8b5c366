#include <cmath>
#include <limits>
#include <string>

#include "graph/error.h"
#include "quantize/quantizer.h"

namespace ounce::quantize {
namespace {

std::vector<float> bias_of(const Graph& graph, const LayerPlan& layer) {
  const Tensor* bias = graph.constant(layer.weights->bias);
  return bias != nullptr ? bias->to_f32() : std::vector<float>{};
}

/// b_o <- b_o - E[error that the weight codes add to output o].
void correct_bias(std::vector<float>& bias, const Tensor& weights,
                  const QuantizedWeights& quantized, const ProductWeights& product,
                  const std::vector<float>& input_means) {
  const std::vector<float> error =
      mean_output_error(weights, quantized.dequantize(), product.axes, input_means, product.groups);
  bias.resize(error.size(), 0.0F);
  for (size_t c = 0; c < bias.size(); ++c) bias[c] -= error[c];
}

/// The bias in steps of the accumulator, and as the float numbers that these stand for.
void round_bias(QuantizedLayer& layer, const std::vector<float>& bias, float input_scale) {
  const std::span<const float> scales = layer.weights.scales.data<float>();
  layer.bias_codes = quantize_bias(bias, input_scale, scales);
  std::vector<float> steps(bias.size());
  std::vector<float> rounded(bias.size());
  for (size_t c = 0; c < bias.size(); ++c) {
    steps[c] = input_scale * scales[scales.size() == 1 ? 0 : c];
    rounded[c] = steps[c] * static_cast<float>(layer.bias_codes.data<int32_t>()[c]);
  }
  const auto channels = static_cast<int64_t>(bias.size());
  layer.bias_scales = Tensor::of(steps, {channels});
  layer.bias = Tensor::of(rounded, {channels});
}

QuantizedLayer quantize_layer(const Graph& graph, const LayerPlan& plan, float input_scale,
                              const std::vector<float>& input_means) {
  const ProductWeights& product = *plan.weights;
  const Value& value = graph.value(product.weights);
  std::vector<float> bias = bias_of(graph, plan);
  for (const float b : bias) {
    if (!(std::abs(b) <= std::numeric_limits<float>::max())) {
      throw Error("NaN or infinite bias", "'" + graph.value(product.bias).name + "'",
                  "repair the model");
    }
  }
  std::vector<float> least;
  if (!plan.weight_only) {
    for (const float b : bias) least.push_back(least_weight_scale(b, input_scale));
  }
  QuantizedLayer layer;
  layer.bits = plan.settings.weights.bits;
  layer.weights =
      quantize_weights(value.constant, product.axes, plan.settings.weights, value.name, least);
  const Node& node = graph.nodes[static_cast<size_t>(plan.node)];
  const bool can_hold_bias = node.op != "MatMul" || product.bias_node >= 0;
  if (!input_means.empty() && can_hold_bias) {
    correct_bias(bias, value.constant, layer.weights, product, input_means);
  }
  if (bias.empty()) return layer;
  if (plan.weight_only || plan.settings.weights.granularity == Granularity::kGroup) {
    layer.bias = Tensor::of(bias, {static_cast<int64_t>(bias.size())});
  } else {
    round_bias(layer, bias, input_scale);
  }
  return layer;
}

}  // namespace

std::vector<QuantizedLayer> quantize_layers(const Graph& prepared, const Plan& plan,
                                            const std::vector<QuantParams>& grids,
                                            const Observations& observations,
                                            const Options& options) {
  std::vector<QuantizedLayer> layers;
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    const LayerPlan& layer = plan.layers[i];
    if (!layer.weights) {
      layers.emplace_back();
      continue;
    }
    const ValueId input = prepared.nodes[static_cast<size_t>(layer.node)].input(0);
    const int grid = plan.grid_of[static_cast<size_t>(input)];
    const float scale = grid >= 0 ? grids[static_cast<size_t>(grid)].scale : 1.0F;
    const bool correct = options.bias_correction && i < observations.input_means.size();
    layers.push_back(quantize_layer(prepared, layer, scale,
                                    correct ? observations.input_means[i] : std::vector<float>{}));
  }
  return layers;
}

}  // namespace ounce::quantize
