#include "quantize/transforms/head_rotation.h"

#include <algorithm>
#include <set>

#include "quantize/node_kind.h"
#include "quantize/transforms/channel_axis.h"
#include "quantize/transforms/layer_edits.h"
#include "quantize/transforms/layer_trial.h"
#include "quantize/transforms/orthogonal.h"
#include "quantize/transforms/row_sampler.h"

namespace ounce::quantize {
namespace {

constexpr uint32_t kSeed = 2;

using Channels = std::vector<std::vector<int64_t>>;  // [heads][channels of a head]

const Node& at(const Graph& graph, int node) {
  return graph.nodes[static_cast<size_t>(node)];
}

/// The elements at `places` along `axis`, head by head, as rows times `r`. Heads that share their
/// places are turned once.
Tensor rotated_heads(const Tensor& tensor, int64_t axis, const Channels& places,
                     const DoubleMatrix& r) {
  Tensor result = Tensor::of(tensor.to_f32(), tensor.shape());
  const Shape& shape = tensor.shape();
  const int64_t width = shape[static_cast<size_t>(axis)];
  int64_t inner = 1;
  for (size_t i = static_cast<size_t>(axis) + 1; i < shape.size(); ++i) inner *= shape[i];
  const int64_t outer = tensor.size() / (width * inner);
  float* x = result.mutable_data<float>().data();
  const std::set<std::vector<int64_t>> once(places.begin(), places.end());
  Eigen::VectorXd head(r.rows());
  for (const std::vector<int64_t>& channels : once) {
    for (int64_t i = 0; i < outer * inner; ++i) {
      float* const base = x + i / inner * width * inner + i % inner;
      for (int64_t k = 0; k < r.rows(); ++k)
        head[k] = base[channels[static_cast<size_t>(k)] * inner];
      const Eigen::VectorXd turned = r.transpose() * head;
      for (int64_t k = 0; k < r.rows(); ++k) {
        base[channels[static_cast<size_t>(k)] * inner] = static_cast<float>(turned[k]);
      }
    }
  }
  return result;
}

/// What v loses by its own rounding.
Strength rounding_of(const Tensor& rows, const LayerSettings& settings) {
  const auto exact = matrix_of(rows);
  const Tensor quantized = quantized_rows(rows, settings);
  return {exact.cast<double>().squaredNorm(),
          (matrix_of(quantized) - exact).cast<double>().squaredNorm()};
}

void try_heads(const Graph& graph, const Options& options, const ValueHeads& heads,
               const DoubleMatrix& r, InputSource& source, const Progress& progress,
               TransformRecord& record) {
  const GraphIndex index(graph);
  const auto input_of = [&](int node, size_t i) {
    return graph.value(at(graph, node).input(i)).name;
  };
  const std::string v = input_of(heads.product, 1);
  const SampledRows rows = sample_rows(graph, {v, input_of(heads.from, 0), input_of(heads.to, 0)},
                                       source, kJudgedRows, options.threads, progress);
  const LayerSettings settings = settings_for(options, at(graph, heads.product));
  std::vector<Strength> before, after;
  const Tensor& values = rows.find(v)->second;
  before.push_back(rounding_of(values, settings));
  after.push_back(
      rounding_of(tensor_of((matrix_of(values).cast<double>() * r).cast<float>()), settings));
  LinearLayer from = linear_layer(graph, index, heads.from, options);
  const Tensor& read = rows.find(input_of(heads.from, 0))->second;
  before.push_back(strength_of(read, from));
  from.weights = rotated_heads(from.weights, 1, heads.columns, r);
  after.push_back(strength_of(read, from));
  LinearLayer to = linear_layer(graph, index, heads.to, options);
  const Tensor& mixed = rows.find(input_of(heads.to, 0))->second;
  before.push_back(strength_of(mixed, to));
  to.weights = rotated_heads(to.weights, 0, heads.rows, r);
  after.push_back(strength_of(rotated_heads(mixed, 1, heads.rows, r), to));
  judge(mean_decibels(before), mean_decibels(after), progress, record);
}

}  // namespace

void rotate_heads(Graph& graph, const ValueHeads& heads, const DoubleMatrix& r) {
  for (const ValueId id : heads.values) mark_changed(graph, id);
  const GraphIndex index(graph);
  const ProductWeights from = *product_weights(graph, index, heads.from);
  const ProductWeights to = *product_weights(graph, index, heads.to);
  const auto turn = [&](int node, size_t input, int64_t axis, const Channels& places) {
    Tensor& constant = own_constant(graph, node, input);
    constant = rotated_heads(constant, axis, places, r);
  };
  turn(heads.from, 1, from.axes.channel, heads.columns);
  turn(heads.to, 1, to.axes.reduction, heads.rows);
  if (from.bias == kNoValue) return;
  const int holder = from.bias_node >= 0 ? from.bias_node : heads.from;
  const std::vector<ValueId>& inputs = at(graph, holder).inputs;
  const auto input = std::find(inputs.begin(), inputs.end(), from.bias) - inputs.begin();
  turn(holder, static_cast<size_t>(input), rank_of(graph, from.bias) - 1, heads.columns);
}

void rotate_heads(Graph& graph, const Options& options, InputSource& source,
                  const Progress& progress, std::vector<TransformRecord>& records) {
  for (const ValueHeads& heads : value_heads(graph)) {
    TransformRecord& record = records.emplace_back();
    record.node = at(graph, heads.product).name;
    record.kind = "head rotation";
    const DoubleMatrix r =
        random_rotation(static_cast<int64_t>(heads.columns.front().size()), kSeed);
    try_heads(graph, options, heads, r, source, progress, record);
    if (record.kept) rotate_heads(graph, heads, r);
  }
}

}  // namespace ounce::quantize
