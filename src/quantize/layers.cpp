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

/// Rounds the bias where the layer works on integers.
void set_bias(QuantizedLayer& layer, const LayerPlan& plan, const std::vector<float>& bias,
              float input_scale) {
  if (bias.empty()) return;
  if (!plan.reads_grid() || plan.settings.weights.granularity == Granularity::kGroup) {
    layer.bias = Tensor::of(bias, {static_cast<int64_t>(bias.size())});
  } else {
    round_bias(layer, bias, input_scale);
  }
}

/// Scale of the grid that a layer reads; 1 where it reads floats.
float input_scale_of(const Graph& graph, const Plan& plan, const LayerPlan& layer,
                     const std::vector<QuantParams>& grids) {
  const ValueId input = graph.nodes[static_cast<size_t>(layer.node)].input(0);
  const int grid = plan.grid_of[static_cast<size_t>(input)];
  return grid >= 0 ? grids[static_cast<size_t>(grid)].scale : 1.0F;
}

QuantizedLayer quantize_layer(const Graph& graph, const LayerPlan& plan, float input_scale) {
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
  if (plan.reads_grid()) {
    for (const float b : bias) least.push_back(least_weight_scale(b, input_scale));
  }
  QuantizedLayer layer;
  layer.bits = plan.settings.weights.bits;
  layer.weights =
      quantize_weights(value.constant, product.axes, plan.settings.weights, value.name, least);
  set_bias(layer, plan, bias, input_scale);
  return layer;
}

}  // namespace

std::vector<QuantizedLayer> quantize_layers(const Graph& prepared, const Plan& plan,
                                            const std::vector<QuantParams>& grids) {
  std::vector<QuantizedLayer> layers;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.weights) {
      layers.emplace_back();
      continue;
    }
    layers.push_back(quantize_layer(prepared, layer, input_scale_of(prepared, plan, layer, grids)));
  }
  return layers;
}

void set_bias(const Graph& prepared, const Plan& plan, size_t layer, const std::vector<float>& bias,
              Calibration& calibration) {
  set_bias(calibration.layers[layer], plan.layers[layer], bias,
           input_scale_of(prepared, plan, plan.layers[layer], calibration.grids));
}

void correct_biases(const Graph& prepared, const Plan& plan,
                    const std::vector<std::vector<float>>& mean_errors, Calibration& calibration) {
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    const LayerPlan& layer = plan.layers[i];
    if (!layer.weights || mean_errors[i].empty()) continue;
    const Node& node = prepared.nodes[static_cast<size_t>(layer.node)];
    if (node.op == "MatMul" && layer.weights->bias_node < 0) continue;  // nowhere to put it
    QuantizedLayer& quantized = calibration.layers[i];
    std::vector<float> bias =
        quantized.bias.defined() ? quantized.bias.to_f32() : std::vector<float>{};
    bias.resize(mean_errors[i].size(), 0.0F);
    for (size_t c = 0; c < bias.size(); ++c) bias[c] -= mean_errors[i][c];
    set_bias(prepared, plan, i, bias, calibration);
  }
}

}  // namespace ounce::quantize
