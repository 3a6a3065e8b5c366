#include <algorithm>
#include <cmath>

#include "graph/error.h"
#include "graph/passes/passes.h"
#include "graph/rewrite.h"

namespace ounce {
namespace {

/// y = x * scale + shift, one pair a channel (or one for all).
struct Affine {
  std::vector<double> scale;
  std::vector<double> shift;

  double scale_of(int64_t channel) const {
    return scale[scale.size() == 1 ? 0 : static_cast<size_t>(channel)];
  }
  double shift_of(int64_t channel) const {
    return shift[shift.size() == 1 ? 0 : static_cast<size_t>(channel)];
  }
};

std::optional<Affine> batch_norm_affine(const Graph& graph, const Node& node) {
  std::vector<float> parameters[4];  // gamma, beta, mean, variance
  for (size_t i = 0; i < 4; ++i) {
    const Tensor* tensor = graph.constant(node.input(i + 1));
    if (tensor == nullptr) return std::nullopt;
    parameters[i] = tensor->to_f32();
    if (parameters[i].size() != parameters[0].size()) return std::nullopt;
  }
  const double epsilon = node.attributes.get_float("epsilon", 1e-5f);
  Affine affine;
  for (size_t c = 0; c < parameters[0].size(); ++c) {
    const double scale = parameters[0][c] / std::sqrt(parameters[3][c] + epsilon);
    affine.scale.push_back(scale);
    affine.shift.push_back(parameters[1][c] - parameters[2][c] * scale);
  }
  return affine;
}

/// Where the output of a linear operator has its channels.
struct Channels {
  size_t rank = 0;
  size_t axis = 1;
  int64_t count = 0;
};

/// A constant that is one number, or one a channel, along the axis where those are.
std::optional<std::vector<double>> per_channel(const Tensor* tensor, const Channels& channels) {
  if (tensor == nullptr || !is_float(tensor->dtype()) || tensor->shape().size() > channels.rank)
    return std::nullopt;
  const Shape& shape = tensor->shape();
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool is_channel_axis = channels.rank - shape.size() + i == channels.axis;
    if (shape[i] != 1 && !(is_channel_axis && shape[i] == channels.count)) return std::nullopt;
  }
  const std::vector<float> values = tensor->to_f32();
  return std::vector<double>(values.begin(), values.end());
}

/// The affine map that `node` applies to its input `x`, whose channels are `channels`.
std::optional<Affine> affine_of(const Graph& graph, const Node& node, ValueId x,
                                const Channels& channels) {
  std::optional<Affine> affine;
  if (node.op == "BatchNormalization" && node.input(0) == x && channels.axis == 1) {
    affine = batch_norm_affine(graph, node);
  } else if (node.op == "Mul" || node.op == "Add" || node.op == "Div" || node.op == "Sub") {
    const bool x_first = node.input(0) == x;
    if (!x_first && (node.op == "Div" || node.op == "Sub")) return std::nullopt;
    const auto operand = per_channel(graph.constant(node.input(x_first ? 1 : 0)), channels);
    if (!operand) return std::nullopt;
    affine.emplace();
    for (const double number : *operand) {
      const bool scales = node.op == "Mul" || node.op == "Div";
      affine->scale.push_back(node.op == "Mul" ? number : node.op == "Div" ? 1 / number : 1);
      affine->shift.push_back(scales ? 0 : node.op == "Add" ? number : -number);
    }
  }
  if (!affine) return std::nullopt;
  const auto is_finite = [](double number) { return std::isfinite(number); };
  const bool usable =
      std::all_of(affine->scale.begin(), affine->scale.end(), is_finite) &&
      std::all_of(affine->shift.begin(), affine->shift.end(), is_finite) &&
      (affine->scale.size() == 1 || affine->scale.size() == static_cast<size_t>(channels.count));
  return usable ? affine : std::nullopt;
}

/// How the weights of a linear operator lie.
struct WeightLayout {
  int64_t channels = 0;  // output channels
  int64_t inner = 0;     // elements that follow each other with the same output channel
  int64_t group = 1;     // ConvTranspose
  int64_t per_group = 0;
  int64_t rows_per_group = 0;

  int64_t channel_of(int64_t element) const {
    if (per_group == 0) return element / inner % channels;
    const int64_t row = element / inner / per_group;  // input channel
    return row / rows_per_group * per_group + element / inner % per_group;
  }
};

std::optional<WeightLayout> layout_of(const Node& node, const Shape& w) {
  const auto volume = [&](size_t from) {
    return element_count(std::span<const int64_t>(w).subspan(from));
  };
  WeightLayout layout;
  if (std::any_of(w.begin(), w.end(), [](int64_t dim) { return dim == 0; })) return std::nullopt;
  if (node.op == "Conv" && w.size() >= 3) {
    layout.channels = w[0];
    layout.inner = volume(1);
  } else if (node.op == "ConvTranspose" && w.size() >= 3) {
    layout.group = node.attributes.get_int("group", 1);
    if (layout.group < 1 || w[0] % layout.group != 0) return std::nullopt;
    layout.per_group = w[1];
    layout.rows_per_group = w[0] / layout.group;
    layout.channels = w[1] * layout.group;
    layout.inner = volume(2);
  } else if ((node.op == "Gemm" || node.op == "MatMul") && w.size() == 2) {
    const bool transposed = node.op == "Gemm" && node.attributes.get_int("transB", 0) != 0;
    layout.channels = w[transposed ? 0 : 1];
    layout.inner = transposed ? w[1] : 1;
  } else {
    return std::nullopt;
  }
  return layout;
}

/// The bias of a Conv or Gemm as one number a channel, `beta` included; zeros without one.
std::optional<std::vector<double>> bias_of(const Graph& graph, const Node& node, int64_t channels) {
  std::vector<double> bias(static_cast<size_t>(channels), 0);
  if (node.op == "MatMul" || node.input(2) == kNoValue) return bias;
  const Tensor* tensor = graph.constant(node.input(2));
  if (tensor == nullptr) return std::nullopt;
  const size_t rank = node.op == "Gemm" ? 2 : 1;
  const bool is_vector = tensor->shape() == Shape{channels};
  if (!is_vector && !per_channel(tensor, {.rank = rank, .count = channels})) return std::nullopt;
  const std::vector<float> values = tensor->to_f32();
  const double beta = node.op == "Gemm" ? node.attributes.get_float("beta", 1.0f) : 1.0;
  for (size_t c = 0; c < bias.size(); ++c) bias[c] = beta * values[values.size() == 1 ? 0 : c];
  return bias;
}

Tensor scaled_weights(const Tensor& weights, const WeightLayout& layout, const Affine& affine) {
  std::vector<float> values = weights.to_f32();
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] =
        static_cast<float>(values[i] * affine.scale_of(layout.channel_of(static_cast<int64_t>(i))));
  }
  return cast(Tensor::of(values, weights.shape()), weights.dtype());
}

/// The tensors after folding: weights and, per channel, bias.
struct Folded {
  Tensor weights;
  Tensor bias;
  bool has_bias = false;
};

std::optional<Folded> fold(const Graph& graph, const Node& node, const Affine& affine,
                           const WeightLayout& layout) {
  const Tensor& weights = *graph.constant(node.inputs[1]);
  const auto bias = bias_of(graph, node, layout.channels);
  if (!bias) return std::nullopt;
  std::vector<float> shifted;
  Folded folded;
  for (int64_t c = 0; c < layout.channels; ++c) {
    const double b = (*bias)[static_cast<size_t>(c)] * affine.scale_of(c) + affine.shift_of(c);
    shifted.push_back(static_cast<float>(b));
    folded.has_bias = folded.has_bias || b != 0;
  }
  folded.weights = scaled_weights(weights, layout, affine);
  folded.bias = cast(Tensor::of(shifted, {layout.channels}), weights.dtype());
  return folded;
}

/// Axis 1 of the output of convolutions and Gemm, the last one of a MatMul's; nullopt where the
/// rank of that is not known.
std::optional<Channels> channels_of(const Graph& graph, const Node& node, const Tensor& weights,
                                    int64_t count) {
  const size_t rank = weights.shape().size();
  if (node.op != "MatMul") return Channels{rank, 1, count};
  const auto& x = graph.value(node.inputs[0]).shape;
  if (!x || x->size() < 2) return std::nullopt;
  return Channels{x->size(), x->size() - 1, count};
}

/// A MatMul and the Add of its bias.
struct BiasedMatMul {
  int matmul;
  int add;
  Channels channels;
  WeightLayout layout;
  Affine bias;
};

/// Folds what scales the sum of a MatMul and its bias into both: a LayerScale, or a
/// BatchNormalization.
bool fold_behind_bias(GraphEditor& editor, const GraphIndex& index, const BiasedMatMul& biased) {
  Graph& graph = editor.graph();
  Node& matmul = graph.nodes[static_cast<size_t>(biased.matmul)];
  Node& add = graph.nodes[static_cast<size_t>(biased.add)];
  const ValueId sum = add.output(0);
  if (!index.has_single_use(sum)) return false;
  const int last = index.consumers(sum)[0];
  const Node& scaling = graph.nodes[static_cast<size_t>(last)];
  if (scaling.op == "Add" || scaling.op == "Sub") return false;  // would join it for nothing
  const auto affine = affine_of(graph, scaling, sum, biased.channels);
  if (!affine) return false;
  std::vector<float> bias;
  for (int64_t c = 0; c < biased.channels.count; ++c) {
    bias.push_back(
        static_cast<float>(biased.bias.shift_of(c) * affine->scale_of(c) + affine->shift_of(c)));
  }
  const Tensor& weights = *graph.constant(matmul.inputs[1]);
  const std::string name = graph.value(matmul.inputs[1]).name;
  const DType dtype = weights.dtype();
  Tensor scaled = scaled_weights(weights, biased.layout, *affine);
  matmul.inputs[1] = editor.add_constant(name + ".folded", std::move(scaled));
  add.inputs = {matmul.output(0),
                editor.add_constant(add.name + ".bias",
                                    cast(Tensor::of(bias, {biased.channels.count}), dtype))};
  add.outputs[0] = scaling.outputs[0];
  editor.erase(last);
  return true;
}

/// Folds the only reader of `n`'s output into it.
bool fold_reader(GraphEditor& editor, const GraphIndex& index, int n) {
  Graph& graph = editor.graph();
  Node& node = graph.nodes[static_cast<size_t>(n)];
  const ValueId y = node.output(0);
  if (y == kNoValue || !index.has_single_use(y) || index.producer(node.input(1)) >= 0) return false;
  const Tensor* weights = graph.constant(node.input(1));
  if (weights == nullptr || !is_float(weights->dtype())) return false;
  const auto layout = layout_of(node, weights->shape());
  if (!layout) return false;
  const auto channels = channels_of(graph, node, *weights, layout->channels);
  if (!channels) return false;
  const int reader_index = index.consumers(y)[0];
  Node& reader = graph.nodes[static_cast<size_t>(reader_index)];
  const auto affine = affine_of(graph, reader, y, *channels);
  if (!affine) return false;
  if (node.op == "MatMul" && reader.op == "Add") {
    return fold_behind_bias(editor, index, {n, reader_index, *channels, *layout, *affine});
  }
  // MatMul has no bias: only a BatchNormalization pays for the Add that takes its place.
  if (node.op == "MatMul" && reader.op != "BatchNormalization" && reader.op != "Mul" &&
      reader.op != "Div") {
    return false;
  }
  auto folded = fold(graph, node, *affine, *layout);
  if (!folded) return false;

  const std::string name = graph.value(node.inputs[1]).name;
  node.inputs[1] = editor.add_constant(name + ".folded", std::move(folded->weights));
  const ValueId bias = editor.add_constant(node.name + ".bias", std::move(folded->bias));
  if (node.op == "MatMul" && folded->has_bias) {
    editor.replace(reader_index, "Add", {y, bias});
    return true;
  }
  if (node.op != "MatMul") {
    node.inputs.resize(3, kNoValue);
    node.inputs[2] = folded->has_bias ? bias : kNoValue;
    if (node.op == "Gemm") node.attributes.set("beta", 1.0f);
  }
  node.outputs[0] = reader.outputs[0];
  editor.erase(reader_index);
  return true;
}

int fold_once(Graph& graph) {
  const GraphIndex index(graph);
  GraphEditor editor(graph);
  int count = 0;
  for (int n = 0; n < static_cast<int>(graph.nodes.size()); ++n) {
    const std::string& op = graph.nodes[static_cast<size_t>(n)].op;
    if (op != "Conv" && op != "ConvTranspose" && op != "Gemm" && op != "MatMul") continue;
    if (fold_reader(editor, index, n)) ++count;
  }
  editor.commit();
  return count;
}

}  // namespace

int fold_batch_norm(Graph& graph) {
  int total = 0;
  while (const int count = fold_once(graph)) total += count;
  graph.remove_dead();
  return total;
}

int lower_batch_norm(Graph& graph) {
  GraphEditor editor(graph);
  int count = 0;
  for (int n = 0; n < static_cast<int>(graph.nodes.size()); ++n) {
    const Node& node = graph.nodes[static_cast<size_t>(n)];
    if (node.op != "BatchNormalization") continue;
    const Value& x = graph.value(node.inputs[0]);
    const auto affine = batch_norm_affine(graph, node);
    if (!affine || !x.shape || x.shape->size() < 2) continue;
    Shape shape(x.shape->size() - 1, 1);  // [channels, 1, ...] broadcasts to axis 1
    shape[0] = static_cast<int64_t>(affine->scale.size());
    const DType dtype = graph.constant(node.input(1))->dtype();
    const auto constant = [&](const std::vector<double>& values, const char* suffix) {
      const std::vector<float> numbers(values.begin(), values.end());
      return editor.add_constant(node.name + suffix, cast(Tensor::of(numbers, shape), dtype));
    };
    const ValueId scale = constant(affine->scale, ".scale");
    const ValueId shift = constant(affine->shift, ".shift");
    const ValueId input = node.inputs[0];
    const ValueId scaled = editor.insert(n, "scale", "Mul", {input, scale});
    editor.replace(n, "Add", {scaled, shift});
    ++count;
  }
  editor.commit();
  return count;
}

}  // namespace ounce
