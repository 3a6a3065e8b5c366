#include "quantize/analysis/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "engine/session.h"
#include "graph/error.h"
#include "quantize/decibels.h"
#include "quantize/isolate.h"
#include "quantize/node_kind.h"

namespace ounce::quantize {
namespace {

using Runs = std::vector<std::vector<Tensor>>;

bool rounds(std::string_view op) {
  return op == "DequantizeLinear" || op == "Binarize" || op == "LogQuantize" ||
         op == "DynamicFakeQuant";
}

/// Shared values that are made by a layer with a rounded operand.
std::vector<SharedValue> quantized_layers(const Graph& exact, const Graph& quantized) {
  const GraphIndex index(quantized);
  std::vector<SharedValue> layers;
  for (SharedValue& value : shared_values(exact, quantized)) {
    const int producer = index.producer(value.in_quantized);
    if (producer < 0) continue;
    const Node& node = quantized.nodes[static_cast<size_t>(producer)];
    const bool rounded = std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) {
      const int before = id == kNoValue ? -1 : index.producer(id);
      return before >= 0 && rounds(quantized.nodes[static_cast<size_t>(before)].op);
    });
    if (is_heavy(node) && rounded) layers.push_back(std::move(value));
  }
  return layers;
}

Runs outputs_of(const Graph& graph, const Runs& inputs, int threads) {
  engine::SessionOptions options;
  options.threads = threads;
  engine::Session session(graph, options);
  Runs outputs;
  for (const std::vector<Tensor>& run : inputs) outputs.push_back(session.run(run));
  return outputs;
}

/// Mean over outputs of noise over signal, in dB.
double signal_to_noise(const Runs& exact, const Runs& other) {
  double lost = 0.0;
  int64_t counted = 0;
  for (size_t output = 0; output < exact.front().size(); ++output) {
    if (exact.front()[output].dtype() != DType::f32) continue;
    double signal = 0.0;
    double noise = 0.0;
    for (size_t run = 0; run < exact.size(); ++run) {
      const auto a = exact[run][output].data<float>();
      const auto b = other[run][output].data<float>();
      for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
        const double difference = static_cast<double>(a[i]) - b[i];
        signal += static_cast<double>(a[i]) * a[i];
        noise += difference * difference;
      }
    }
    if (signal <= 0.0) continue;
    lost += noise / signal;
    ++counted;
  }
  return decibels(static_cast<double>(counted), lost);
}

}  // namespace

Sensitivity measure_sensitivity(const Graph& exact, const Graph& quantized, InputSource& source,
                                int threads, const Progress& progress) {
  if (exact.inputs.size() != quantized.inputs.size() ||
      exact.outputs.size() != quantized.outputs.size()) {
    throw Error("the two models have different inputs or outputs, so they cannot be compared", {},
                "a model and its quantized form");
  }
  Runs inputs;
  for_each_run(source, "reading inputs", progress,
               [&](const std::vector<Tensor>& run) { inputs.push_back(run); });
  if (inputs.empty()) throw Error("there is no input to measure on");
  const std::vector<SharedValue> layers = quantized_layers(exact, quantized);
  const Runs expected = outputs_of(exact, inputs, threads);
  const auto quality = [&](const Graph& graph) {
    return signal_to_noise(expected, outputs_of(graph, inputs, threads));
  };
  Sensitivity result;
  result.runs = static_cast<int64_t>(inputs.size());
  result.all_db = quality(quantized);
  for (size_t i = 0; i < layers.size(); ++i) {
    progress.step("sensitivity", static_cast<int64_t>(i), static_cast<int64_t>(layers.size()));
    const SharedValue& layer = layers[i];
    result.layers.push_back({layer.node, layer.op,
                             quality(substitute(exact, quantized, layer.name)),
                             quality(substitute(quantized, exact, layer.name))});
  }
  return result;
}

}  // namespace ounce::quantize
