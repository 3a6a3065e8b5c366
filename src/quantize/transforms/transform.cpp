#include "quantize/transforms/transform.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "quantize/node_kind.h"
#include "quantize/transforms/channel_observer.h"
#include "quantize/transforms/norm_fold.h"
#include "quantize/transforms/norm_scaling.h"

namespace ounce::quantize {
namespace {

/// Rows of calibration data that a transform is judged on.
constexpr int64_t kJudgedRows = 128;

/// A linear layer on its own: weights [K, N].
struct LinearLayer {
  Tensor weights;
  LayerSettings settings;
};

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const Matrix> matrix_of(const Tensor& tensor) {
  return {tensor.data<float>().data(), tensor.shape()[0], tensor.shape()[1]};
}

Tensor transposed(const Tensor& matrix) {
  Tensor result(DType::f32, {matrix.shape()[1], matrix.shape()[0]});
  Eigen::Map<Matrix>(result.mutable_data<float>().data(), matrix.shape()[1], matrix.shape()[0]) =
      matrix_of(matrix).transpose();
  return result;
}

/// What the rows are as a layer of these settings reads them.
Tensor quantized_rows(const Tensor& rows, const LayerSettings& settings) {
  if (settings.float_activations) return rows;
  Extent extent;
  extent.add(rows.data<float>(), "rows");
  ObservedData data{Histogram(extent.range()), {}};
  data.histogram.add(rows.data<float>());
  RangeRequest request;
  request.rule = settings.range == RangeRule::kUnilateral ? RangeRule::kMse : settings.range;
  request.bits = std::max(settings.activation_bits, kMinBits);
  request.percentile = settings.percentile;
  Tensor result = Tensor::of(rows.to_f32(), rows.shape());
  fake_quantize(result.mutable_data<float>(), choose_range(data, request).params);
  return result;
}

Tensor quantized_weights(const LinearLayer& layer) {
  if (layer.settings.float_weights) return layer.weights;
  return quantize_weights(layer.weights, {1, 0}, layer.settings.weights, "weights").dequantize();
}

double decibels(double signal, double noise) {
  constexpr double kSilentDb = 200.0;
  return noise > 0.0 && signal > 0.0 ? 10.0 * std::log10(signal / noise) : kSilentDb;
}

/// What all layers make of `rows`, squared and summed, and what of it is lost where the rows and
/// the weights are quantized.
struct Strength {
  double signal = 0.0;
  double noise = 0.0;
};
Strength strength_of(const Tensor& rows, const std::vector<LinearLayer>& layers) {
  Strength sum;
  for (const LinearLayer& layer : layers) {
    const Matrix exact = matrix_of(rows) * matrix_of(layer.weights);
    const Tensor x = quantized_rows(rows, layer.settings);
    const Tensor w = quantized_weights(layer);
    const Matrix quantized = matrix_of(x) * matrix_of(w);
    sum.signal += exact.cast<double>().squaredNorm();
    sum.noise += (quantized - exact).cast<double>().squaredNorm();
  }
  return sum;
}

/// A normalization with the layers behind it, before and after it is scaled.
class FoldTrial {
 public:
  FoldTrial(const Graph& graph, const Options& options, const NormFold& fold,
            const ObservedChannels& seen)
      : fold_(fold), seen_(seen) {
    const GraphIndex index(graph);
    for (const int i : fold.layers) {
      const ProductWeights weights = *product_weights(graph, index, i);
      const Tensor& constant = graph.value(weights.weights).constant;
      layers_.push_back({weights.axes.reduction == 0 ? constant : transposed(constant),
                         settings_for(options, graph.nodes[static_cast<size_t>(i)])});
    }
  }

  NormScaling scaling(const TransformOptions& options) const {
    if (options.norms == NormTransform::kSmooth) {
      return smooth_scaling(magnitudes(), weight_magnitudes(), options.smooth_alpha);
    }
    RangeRequest request;
    request.rule = RangeRule::kMse;
    request.integer_zero_point = false;
    request.bits = activation_bits();
    return repq_scaling(seen_.channels, request, fold_.has_offset);
  }

  /// Whether any layer quantizes anything.
  bool matters() const {
    return std::any_of(layers_.begin(), layers_.end(),
                       [](const LinearLayer& layer) { return !layer.settings.float_weights; });
  }

  void judge(const NormScaling& scaling, TransformRecord& record) const {
    const Strength before = strength_of(seen_.rows, layers_);

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
    // What shifts take off the results is a constant that biases hold: the signal is that of
    // before.
    record.before_db = decibels(before.signal, before.noise);
    record.after_db = decibels(before.signal, strength_of(rows, layers).noise);
    record.kept = record.after_db > record.before_db;
  }

 private:
  int activation_bits() const {
    int bits = kMinBits;
    for (const LinearLayer& layer : layers_) {
      bits = std::max(bits, layer.settings.activation_bits);
    }
    return bits;
  }
  std::vector<float> magnitudes() const {
    std::vector<float> result;
    for (const ObservedData& channel : seen_.channels) {
      const Range range = channel.histogram.interval();
      result.push_back(std::max(std::abs(range.low), std::abs(range.high)));
    }
    return result;
  }
  std::vector<float> weight_magnitudes() const {
    std::vector<float> result(static_cast<size_t>(fold_.channels), 0.0F);
    for (const LinearLayer& layer : layers_) {
      const auto w = layer.weights.data<float>();
      const auto columns = static_cast<size_t>(layer.weights.shape()[1]);
      for (size_t i = 0; i < w.size(); ++i) {
        result[i / columns] = std::max(result[i / columns], std::abs(w[i]));
      }
    }
    return result;
  }

  const NormFold& fold_;
  const ObservedChannels& seen_;
  std::vector<LinearLayer> layers_;
};

void transform_norms(Graph& graph, const Options& options, InputSource& source,
                     const Progress& progress, std::vector<TransformRecord>& records) {
  const std::vector<NormFold> folds = norm_folds(graph);
  if (folds.empty()) return;
  std::vector<std::string> values;
  for (const NormFold& fold : folds) {
    values.push_back(graph.value(graph.nodes[static_cast<size_t>(fold.norm)].output(0)).name);
  }
  const std::vector<ObservedChannels> seen =
      observe_channels(graph, values, source, kJudgedRows, options.threads, progress);
  // From the last: folding may insert nodes behind.
  for (size_t i = folds.size(); i-- > 0;) {
    const FoldTrial trial(graph, options, folds[i], seen[i]);
    if (!trial.matters()) continue;
    TransformRecord& record = records.emplace_back();
    record.node = graph.nodes[static_cast<size_t>(folds[i].norm)].name;
    record.kind = name_of(options.transforms.norms);
    const NormScaling scaling = trial.scaling(options.transforms);
    trial.judge(scaling, record);
    char text[96];
    std::snprintf(text, sizeof text, ": %s %.1f dB to %.1f dB%s", record.kind.c_str(),
                  record.before_db, record.after_db, record.kept ? "" : ", left alone");
    progress.tell(record.node + text);
    if (record.kept) fold_into_norm(graph, folds[i], scaling.scales, scaling.shifts);
  }
  std::reverse(records.begin(), records.end());
}

}  // namespace

std::vector<TransformRecord> transform(Graph& prepared, const Options& options, InputSource& source,
                                       const Progress& progress) {
  std::vector<TransformRecord> records;
  if (options.transforms.norms != NormTransform::kNone) {
    transform_norms(prepared, options, source, progress, records);
  }
  return records;
}

}  // namespace ounce::quantize
