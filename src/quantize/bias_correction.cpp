#include "quantize/bias_correction.h"

#include <cmath>
#include <map>
#include <string>

#include "quantize/isolate.h"
#include "quantize/tapped_run.h"

namespace ounce::quantize {
namespace {

/// Sums of per-run channel means as integers, so that their order does not matter to the last bit.
/// The unit is far below any step of an accumulator, and leaves room for 2^63 * 1e-9 = 9e9.
class ChannelSums {
 public:
  static constexpr double kUnit = 1e-9;

  void add(const Tensor& tensor, int64_t axis_from_end, int64_t sign) {
    const int64_t axis = tensor.rank() - axis_from_end;
    if (axis < 0 || tensor.size() == 0) return;
    const int64_t channels = tensor.shape()[static_cast<size_t>(axis)];
    const int64_t inner = row_major_strides(tensor.shape())[static_cast<size_t>(axis)];
    sums_.resize(static_cast<size_t>(channels), 0);
    std::vector<double> run(static_cast<size_t>(channels), 0.0);
    const float* x = tensor.data<float>().data();
    for (int64_t outer = 0; outer < tensor.size() / (channels * inner); ++outer) {
      for (double& sum : run) {
        for (int64_t i = 0; i < inner; ++i) sum += *x++;
      }
    }
    const double scale = static_cast<double>(channels) / static_cast<double>(tensor.size()) / kUnit;
    for (size_t c = 0; c < run.size(); ++c) sums_[c] += sign * std::llround(run[c] * scale);
  }

  std::vector<float> means(int64_t runs) const {
    std::vector<float> result;
    for (const int64_t sum : sums_) {
      result.push_back(
          static_cast<float>(static_cast<double>(sum) * kUnit / static_cast<double>(runs)));
    }
    return result;
  }

 private:
  std::vector<int64_t> sums_;
};

/// The value that holds a layer's result: behind the bias of a MatMul.
const std::string& result_of(const Graph& graph, const LayerPlan& layer) {
  const int bias_node = layer.weights->bias_node;
  const int node = bias_node >= 0 ? bias_node : layer.node;
  return graph.value(graph.nodes[static_cast<size_t>(node)].output(0)).name;
}

}  // namespace

std::vector<std::vector<float>> mean_layer_errors(const Graph& prepared, const Graph& quantized,
                                                  const Plan& plan, InputSource& source,
                                                  int threads, const Progress& progress) {
  std::map<std::string, size_t, std::less<>> layers;
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    if (plan.layers[i].weights) layers.emplace(result_of(prepared, plan.layers[i]), i);
  }
  std::vector<SharedValue> values;
  for (SharedValue& value : shared_values(prepared, quantized)) {
    if (layers.count(value.name) == 0) continue;
    value.seen = value.in_quantized;  // what the layer computes, not what becomes of it
    values.push_back(std::move(value));
  }
  std::vector<std::string> taps;
  const Graph alone = isolate(prepared, quantized, values, taps);
  // A tap adds (+) or subtracts (-) itself from its layer's sum.
  std::map<std::string, std::pair<size_t, int64_t>, std::less<>> roles;
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t layer = layers.find(values[i].name)->second;
    roles[taps[i]] = {layer, 1};
    roles[values[i].name] = {layer, -1};
  }
  taps.clear();
  for (const auto& role : roles) taps.push_back(role.first);

  std::vector<ChannelSums> sums(plan.layers.size());
  int64_t runs = 0;
  TappedRun run(alone, taps, threads);
  for_each_run(source, "biases", progress, [&](const std::vector<Tensor>& inputs) {
    run.run(inputs, [&](std::string_view name, const Tensor& tensor) {
      const auto [layer, sign] = roles.find(name)->second;
      const Node& node = prepared.nodes[static_cast<size_t>(plan.layers[layer].node)];
      sums[layer].add(tensor, node.op == "Conv" ? tensor.rank() - 1 : 1, sign);
    });
    ++runs;
  });
  std::vector<std::vector<float>> means;
  for (const ChannelSums& sum : sums) means.push_back(sum.means(runs));
  return means;
}

}  // namespace ounce::quantize
