#include "quantize/transforms/stream_rotation.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "quantize/node_kind.h"
#include "quantize/transforms/channel_axis.h"
#include "quantize/transforms/layer_edits.h"
#include "quantize/transforms/norm_trial.h"
#include "quantize/transforms/orthogonal.h"
#include "quantize/transforms/row_sampler.h"

namespace ounce::quantize {
namespace {

/// Of the signs; any other does as well.
constexpr uint32_t kSeed = 1;

const Node& at(const Graph& graph, int node) {
  return graph.nodes[static_cast<size_t>(node)];
}

/// Multiplies a constant input of a node along `axis`.
void rotate_constant(Graph& graph, int node, size_t input, int64_t axis, const DoubleMatrix& q) {
  Tensor& constant = own_constant(graph, node, input);
  constant = rotated(constant, axis, q);
}

std::vector<float> vector_at(const Graph& graph, const Node& node, size_t input) {
  const Tensor* constant = graph.constant(node.input(input));
  return constant != nullptr ? constant->to_f32() : std::vector<float>{};
}

/// gamma = 1 and beta = 0.
void clear_norm(Graph& graph, int norm) {
  const std::span<float> gamma = own_constant(graph, norm, 1).mutable_data<float>();
  std::fill(gamma.begin(), gamma.end(), 1.0F);
  if (at(graph, norm).op != "LayerNormalization" || at(graph, norm).input(2) == kNoValue) return;
  const std::span<float> beta = own_constant(graph, norm, 2).mutable_data<float>();
  std::fill(beta.begin(), beta.end(), 0.0F);
}

/// A layer behind a normalization, with what the normalization no longer does.
struct LayerBehind {
  int layer = -1;
  std::vector<float> gamma;
  std::vector<float> beta;
};

void rotate_behind_norms(Graph& graph, const ResidualStream& stream, const DoubleMatrix& q) {
  std::vector<LayerBehind> behind;
  for (const NormFold& fold : stream.norms) {
    const Node& norm = at(graph, fold.norm);
    const std::vector<float> gamma = vector_at(graph, norm, 1);
    const std::vector<float> beta =
        fold.has_offset ? vector_at(graph, norm, 2) : std::vector<float>{};
    for (const int layer : fold.layers) behind.push_back({layer, gamma, beta});
    for (const ValueId id : fold.values) mark_changed(graph, id);
    clear_norm(graph, fold.norm);
  }
  // From the last: a bias that is inserted moves what is behind it.
  std::sort(behind.begin(), behind.end(),
            [](const LayerBehind& a, const LayerBehind& b) { return a.layer > b.layer; });
  for (const LayerBehind& one : behind) {
    absorb_affine(graph, one.layer, one.gamma, one.beta);
    const auto product = product_weights(graph, GraphIndex(graph), one.layer);
    rotate_constant(graph, one.layer, 1, product->axes.reduction, q);
  }
}

/// What a normalization makes of rows before gamma and beta.
Matrix normalized(const Tensor& rows, const Node& norm) {
  Matrix x = matrix_of(rows);
  const double epsilon = norm.attributes.get_float("epsilon", 1e-5F);
  for (int64_t i = 0; i < x.rows(); ++i) {
    if (norm.op == "LayerNormalization") x.row(i).array() -= x.row(i).mean();
    const double power = x.row(i).cast<double>().squaredNorm() / static_cast<double>(x.cols());
    x.row(i) *= static_cast<float>(1.0 / std::sqrt(power + epsilon));
  }
  return x;
}

/// Both sides of the trial of a stream.
struct Trial {
  std::vector<Strength> before;
  std::vector<Strength> after;
};

class StreamTrial {
 public:
  StreamTrial(const Graph& graph, const Options& options, const ResidualStream& stream,
              const DoubleMatrix& q)
      : graph_(graph), index_(graph), options_(options), stream_(stream), q_(q) {}

  /// Values of which rows are wanted: the stream before each normalization, and what the layers
  /// read that write to it or read it.
  std::vector<std::string> values() const {
    std::set<std::string> names;
    for (const NormFold& fold : stream_.norms) names.insert(name_of_input(fold.norm));
    for (const auto* layers : {&stream_.readers, &stream_.writers}) {
      for (const int i : *layers) {
        if (at(graph_, i).op != "Conv") names.insert(name_of_input(i));
      }
    }
    return {names.begin(), names.end()};
  }

  Trial run(const SampledRows& rows) const {
    Trial trial;
    for (const NormFold& fold : stream_.norms) {
      const auto found = rows.find(name_of_input(fold.norm));
      if (found != rows.end()) try_norm(fold, found->second, trial);
    }
    const auto try_layers = [&](const std::vector<int>& layers, bool reads) {
      for (const int i : layers) {
        const auto found = rows.find(name_of_input(i));
        if (found == rows.end() || at(graph_, i).op == "Conv") continue;
        LinearLayer layer = linear_layer(graph_, index_, i, options_);
        const Tensor seen = reads ? rotated(found->second, 1, q_) : found->second;
        trial.before.push_back(strength_of(found->second, layer));
        layer.weights = rotated(layer.weights, reads ? 0 : 1, q_);
        trial.after.push_back(strength_of(seen, layer));
      }
    };
    try_layers(stream_.readers, true);
    try_layers(stream_.writers, false);
    return trial;
  }

 private:
  std::string name_of_input(int node) const { return graph_.value(at(graph_, node).input(0)).name; }

  void try_norm(const NormFold& fold, const Tensor& rows, Trial& trial) const {
    const Node& norm = at(graph_, fold.norm);
    const Matrix plain = normalized(rows, norm);
    const std::vector<float> gamma = vector_at(graph_, norm, 1);
    const std::vector<float> beta =
        fold.has_offset ? vector_at(graph_, norm, 2) : std::vector<float>{};
    Matrix before = plain;
    std::vector<LinearLayer> layers;
    for (const int i : fold.layers) {
      layers.push_back(linear_layer(graph_, index_, i, options_));
    }
    std::vector<LinearLayer> turned = layers;
    for (LinearLayer& layer : turned) {
      Matrix weights = matrix_of(layer.weights);
      for (int64_t c = 0; c < weights.rows(); ++c) weights.row(c) *= gamma[static_cast<size_t>(c)];
      layer.weights = rotated(tensor_of(weights), 0, q_);
    }
    for (int64_t c = 0; c < before.cols(); ++c) {
      before.col(c) *= gamma[static_cast<size_t>(c)];
      if (!beta.empty()) before.col(c).array() += beta[static_cast<size_t>(c)];
    }
    const ObservedChannels seen = channels_of_rows(tensor_of(before));
    const ObservedChannels seen_turned = channels_of_rows(rotated(tensor_of(plain), 1, q_));
    const TransformOptions& transforms = options_.transforms;
    trial.before.push_back(NormTrial(layers, fold.has_offset, seen).best(transforms));
    trial.after.push_back(NormTrial(turned, fold.has_offset, seen_turned).best(transforms));
    // Biases take over what beta made: the signal is that of before.
    trial.after.back().signal = trial.before.back().signal;
  }

  const Graph& graph_;
  GraphIndex index_;
  const Options& options_;
  const ResidualStream& stream_;
  const DoubleMatrix& q_;
};

}  // namespace

Tensor rotated(const Tensor& tensor, int64_t axis, const DoubleMatrix& q) {
  const Shape& shape = tensor.shape();
  const int64_t width = shape[static_cast<size_t>(axis)];
  int64_t inner = 1;
  for (size_t i = static_cast<size_t>(axis) + 1; i < shape.size(); ++i) inner *= shape[i];
  const int64_t outer = tensor.size() / std::max<int64_t>(width * inner, 1);
  Tensor result(DType::f32, shape);
  const float* from = tensor.data<float>().data();
  float* to = result.mutable_data<float>().data();
  const DoubleMatrix transposed = q.transpose();
  for (int64_t i = 0; i < outer; ++i) {
    const Eigen::Map<const Matrix> source(from + i * width * inner, width, inner);
    Eigen::Map<Matrix>(to + i * width * inner, width, inner) =
        (transposed * source.cast<double>()).cast<float>();
  }
  return result;
}

void rotate_stream(Graph& graph, const ResidualStream& stream, const DoubleMatrix& q) {
  for (const ValueId id : stream.values) mark_changed(graph, id);
  for (const ResidualStream::Constant& constant : stream.constants) {
    rotate_constant(graph, constant.node, constant.input, constant.axis, q);
  }
  for (const int writer : stream.writers) {
    const ProductWeights product = *product_weights(graph, GraphIndex(graph), writer);
    rotate_constant(graph, writer, 1, product.axes.channel, q);
    // The bias of a MatMul stands in an Add, which belongs to the stream.
    if (product.bias != kNoValue && product.bias_node < 0) {
      rotate_constant(graph, writer, 2, rank_of(graph, product.bias) - 1, q);
    }
  }
  for (const int reader : stream.readers) {
    const ProductWeights product = *product_weights(graph, GraphIndex(graph), reader);
    rotate_constant(graph, reader, 1, product.axes.reduction, q);
  }
  rotate_behind_norms(graph, stream, q);
}

void rotate_streams(Graph& graph, const Options& options, InputSource& source,
                    const Progress& progress, std::vector<TransformRecord>& records) {
  // One at a time: a bias that is inserted moves the nodes of the streams behind it.
  const size_t count = residual_streams(graph).size();
  for (size_t i = 0; i < count; ++i) {
    const ResidualStream stream = residual_streams(graph)[i];
    if (stream.norms.empty() && stream.obstacle.empty()) continue;
    TransformRecord& record = records.emplace_back();
    record.kind = "rotation";
    record.obstacle = stream.obstacle;
    record.node = stream.values.empty() ? "" : graph.value(stream.values.front()).name;
    if (!stream.obstacle.empty()) {
      progress.tell("the stream of '" + record.node + "' is not rotated: " + stream.obstacle);
      continue;
    }
    const DoubleMatrix q = mean_preserving_rotation(stream.width, kSeed);
    const StreamTrial trial(graph, options, stream, q);
    const Trial result = trial.run(
        sample_rows(graph, trial.values(), source, kJudgedRows, options.threads, progress));
    judge(mean_decibels(result.before), mean_decibels(result.after), progress, record);
    if (record.kept) rotate_stream(graph, stream, q);
  }
}

}  // namespace ounce::quantize
