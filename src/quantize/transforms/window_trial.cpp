#include "quantize/transforms/window_trial.h"

#include <algorithm>
#include <string>

#include "graph/error.h"
#include "quantize/node_kind.h"
#include "quantize/tapped_run.h"
#include "quantize/transforms/matrix.h"
#include "quantize/transforms/row_sampler.h"

namespace ounce::quantize {
namespace {

/// How a convolution over pixels steps.
struct Steps {
  int64_t kernel[2];
  int64_t strides[2];
  int64_t dilations[2];
  int64_t begins[2];  // pads
  int64_t ends[2];

  /// Positions along an axis (0 or 1) of an image of this extent.
  int64_t count(int axis, int64_t extent) const {
    const int64_t span = dilations[axis] * (kernel[axis] - 1) + 1;
    return (extent + begins[axis] + ends[axis] - span) / strides[axis] + 1;
  }
};

/// nullopt for what is no convolution over pixels with pads of its own.
std::optional<Steps> steps_of(const Node& node, const Shape& weights) {
  if (weights.size() != 4 || node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET") {
    return std::nullopt;
  }
  const auto strides = node.attributes.get_ints("strides", {1, 1});
  const auto dilations = node.attributes.get_ints("dilations", {1, 1});
  const auto pads = node.attributes.get_ints("pads", {0, 0, 0, 0});
  if (strides.size() != 2 || dilations.size() != 2 || pads.size() != 4) return std::nullopt;
  Steps steps{};
  for (size_t i = 0; i < 2; ++i) {
    steps.kernel[i] = weights[2 + i];
    steps.strides[i] = strides[i];
    steps.dilations[i] = dilations[i];
    steps.begins[i] = pads[i];
    steps.ends[i] = pads[i + 2];
  }
  return steps;
}

/// The numbers of one window of `image` [pictures, channels, height, width], channel by channel;
/// zeros outside of the image.
void append_window(const Tensor& image, const Steps& steps, int64_t picture, int64_t row,
                   int64_t column, std::vector<float>& windows) {
  const int64_t channels = image.shape()[1];
  const int64_t height = image.shape()[2];
  const int64_t width = image.shape()[3];
  const float* x = image.data<float>().data() + picture * channels * height * width;
  for (int64_t c = 0; c < channels; ++c, x += height * width) {
    for (int64_t i = 0; i < steps.kernel[0]; ++i) {
      const int64_t y = row * steps.strides[0] - steps.begins[0] + i * steps.dilations[0];
      for (int64_t j = 0; j < steps.kernel[1]; ++j) {
        const int64_t z = column * steps.strides[1] - steps.begins[1] + j * steps.dilations[1];
        const bool inside = y >= 0 && y < height && z >= 0 && z < width;
        windows.push_back(inside ? x[y * width + z] : 0.0F);
      }
    }
  }
}

/// `wanted` windows spread over the pictures, rows and columns.
void append_windows(const Tensor& image, const Steps& steps, int64_t wanted, int64_t run,
                    std::vector<float>& windows) {
  const int64_t rows = steps.count(0, image.shape()[2]);
  const int64_t columns = steps.count(1, image.shape()[3]);
  const int64_t count = image.shape()[0] * rows * columns;
  if (rows < 1 || columns < 1) return;
  constexpr int64_t kStride = 7919;  // a prime: all rows and columns get their turn
  for (int64_t i = 0; i < std::min(wanted, count); ++i) {
    const int64_t place = (i * count / std::min(wanted, count) + run * kStride) % count;
    append_window(image, steps, place / (rows * columns), place / columns % rows, place % columns,
                  windows);
  }
}

/// [outputs, inputs / groups, taps]
Tensor channel_weights(const Tensor& weights, WeightAxes axes) {
  const Shape& shape = weights.shape();
  const int64_t outputs = shape[static_cast<size_t>(axes.channel)];
  const int64_t inputs = shape[static_cast<size_t>(axes.reduction)];
  if (axes.channel == 0) {
    return Tensor::of(weights.data<float>(), {outputs, inputs, weights.size() / outputs / inputs});
  }
  return Tensor::of(tensor_of(matrix_of(weights).transpose()).data<float>(), {outputs, inputs, 1});
}

/// The rows of one group, times the weights of its outputs.
Matrix group_product(const Matrix& windows, const Tensor& weights, int64_t group, int64_t groups) {
  const int64_t outputs = weights.shape()[0] / groups;
  const int64_t width = weights.shape()[1] * weights.shape()[2];
  const Eigen::Map<const Matrix> mine(weights.data<float>().data() + group * outputs * width,
                                      outputs, width);
  return windows.middleCols(group * width, width) * mine.transpose();
}

}  // namespace

WindowTrials::WindowTrials(const Graph& graph, const std::vector<int>& nodes, InputSource& source,
                           int threads, const Progress& progress) {
  const GraphIndex index(graph);
  std::map<std::string, std::vector<int>, std::less<>> readers;
  std::map<int, Steps> steps;
  for (const int i : nodes) {
    const Node& node = graph.nodes[static_cast<size_t>(i)];
    const auto product = product_weights(graph, index, i);
    if (!product || layers_.count(i) != 0) continue;
    const Tensor& weights = graph.value(product->weights).constant;
    if (node.op == "Conv") {
      const auto found = steps_of(node, weights.shape());
      if (!found) continue;
      steps.emplace(i, *found);
    }
    layers_[i] = {channel_weights(weights, product->axes), product->groups, {}};
    readers[graph.value(node.input(0)).name].push_back(i);
  }
  std::vector<std::string> values;
  for (const auto& reader : readers) values.push_back(reader.first);
  const int64_t runs = count_runs(source);
  if (runs == 0) throw Error("the calibration data is empty");
  TappedRun run(graph, values, threads);
  int64_t done = 0;
  for_each_run(source, "sampling windows", progress, [&](const std::vector<Tensor>& inputs) {
    // As many as make the share of the runs done so far.
    const int64_t wanted = kWindows * (done + 1) / runs - kWindows * done / runs;
    run.run(inputs, [&](std::string_view name, const Tensor& tensor) {
      for (const int i : readers.find(name)->second) {
        const auto found = steps.find(i);
        if (found != steps.end()) {
          append_windows(tensor, found->second, wanted, done, layers_[i].windows);
        } else {
          append_rows(tensor, wanted, layers_[i].windows);
        }
      }
    });
    ++done;
  });
}

std::optional<Strength> WindowTrials::strength(int node, const LayerSettings& settings,
                                               std::span<const float> inputs,
                                               std::span<const float> outputs) const {
  const auto found = layers_.find(node);
  if (found == layers_.end() || found->second.windows.empty()) return std::nullopt;
  const Layer& layer = found->second;
  const int64_t reduction = layer.weights.shape()[1];
  const int64_t taps = layer.weights.shape()[2];
  const int64_t group_outputs = layer.weights.shape()[0] / layer.groups;
  const int64_t width = reduction * layer.groups * taps;
  const Shape shape = {static_cast<int64_t>(layer.windows.size()) / width, width};

  Tensor rows = Tensor::of(layer.windows, shape);
  Tensor weights = Tensor::of(layer.weights.to_f32(), layer.weights.shape());
  const std::span<float> x = rows.mutable_data<float>();
  const std::span<float> w = weights.mutable_data<float>();
  if (!inputs.empty()) {
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] /= inputs[i % static_cast<size_t>(width) / static_cast<size_t>(taps)];
    }
  }
  for (int64_t i = 0; i < weights.size(); ++i) {
    const int64_t output = i / (reduction * taps);
    const int64_t input = i / taps % reduction + output / group_outputs * reduction;
    if (!inputs.empty()) w[static_cast<size_t>(i)] *= inputs[static_cast<size_t>(input)];
    if (!outputs.empty()) w[static_cast<size_t>(i)] /= outputs[static_cast<size_t>(output)];
  }
  const Matrix read = matrix_of(quantized_rows(rows, settings));
  if (!settings.float_weights) {
    weights = quantize_weights(weights, {0, 1}, settings.weights, "weights").dequantize();
  }
  const Matrix seen = matrix_of(Tensor::of(layer.windows, shape));
  Strength sum;
  for (int64_t group = 0; group < layer.groups; ++group) {
    const Matrix exact = group_product(seen, layer.weights, group, layer.groups);
    Matrix result = group_product(read, weights, group, layer.groups);
    for (int64_t o = 0; o < group_outputs && !outputs.empty(); ++o) {
      result.col(o) *= outputs[static_cast<size_t>(group * group_outputs + o)];
    }
    sum.signal += exact.cast<double>().squaredNorm();
    sum.noise += (result - exact).cast<double>().squaredNorm();
  }
  return sum;
}

}  // namespace ounce::quantize
