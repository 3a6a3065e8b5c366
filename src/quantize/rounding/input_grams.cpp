#include "quantize/rounding/input_grams.h"

#include <algorithm>
#include <map>
#include <string>

#include "engine/reference/reference.h"
#include "graph/operator.h"
#include "quantize/tapped_run.h"

namespace ounce::quantize {
namespace {

constexpr int64_t kBudgetBytes = int64_t{512} << 20;

/// Height and width of the windows of a convolution that do not overlap and need no padding, where
/// they divide the image; empty otherwise.
Shape window_of(const Graph& graph, const Node& node, const Tensor& weights) {
  const auto& image = graph.value(node.input(0)).shape;
  if (weights.rank() != 4 || !image || image->size() != 4 ||
      node.attributes.get_int("group", 1) != 1 ||
      node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET") {
    return {};
  }
  const Shape kernel = {weights.shape()[2], weights.shape()[3]};
  const auto strides = node.attributes.get_ints("strides", {1, 1});
  const auto pads = node.attributes.get_ints("pads", {});
  const auto dilations = node.attributes.get_ints("dilations", {1, 1});
  const bool pixels = kernel == Shape{1, 1};
  for (size_t i = 0; i < 2; ++i) {
    const Dim& extent = (*image)[2 + i];
    if (strides[i] != kernel[i] || (kernel[i] != 1 && dilations[i] != 1)) return {};
    if (!pixels && (!extent.known() || extent.value % kernel[i] != 0)) return {};
  }
  const bool padded = std::any_of(pads.begin(), pads.end(), [](int64_t pad) { return pad != 0; });
  return padded ? Shape{} : kernel;
}

void add_up(const Tensor& product, Gram& gram) {
  const auto count = static_cast<size_t>(gram.size * gram.size);
  gram.sums.resize(count, 0.0);
  const auto values = product.data<float>();
  for (size_t i = 0; i < values.size(); ++i) gram.sums[i % count] += values[i];
}

AttributeMap permutation(std::vector<int64_t> perm) {
  AttributeMap attributes;
  attributes.set("perm", std::move(perm));
  return attributes;
}

/// Rows divided by the roots of their mean squares: a few tokens of a transformer are some hundred
/// times as large as the others and mean no more, and would make up the sums alone.
ValueId of_equal_size(Graph& graph, ValueId rows, int64_t size, const std::string& name) {
  const std::vector<float> ones(static_cast<size_t>(size), 1.0F);
  const ValueId gain = graph.add_constant(name + ".ones", Tensor::of(ones, {size}));
  AttributeMap attributes;
  attributes.set("epsilon", 1e-20F);  // rows of zeros stay zeros
  return graph.add_node("RMSNorm", {rows, gain}, std::move(attributes), name + ".equal");
}

}  // namespace

/// Adds nodes that make x' x of the rows of a value, for an image one for each picture. Returns
/// their result.
ValueId InputGrams::add_gram(Graph& graph, const Reader& reader, const std::string& name) {
  const auto reshaped = [&](ValueId x, std::vector<int64_t> shape, const char* suffix) {
    const ValueId target =
        graph.add_constant(name + suffix + ".shape", Tensor::of_i64(std::move(shape)));
    return graph.add_node("Reshape", {x, target}, {}, name + suffix);
  };
  const auto turned = [&](ValueId x, std::vector<int64_t> perm, const char* suffix) {
    return graph.add_node("Transpose", {x}, permutation(std::move(perm)), name + suffix);
  };
  if (reader.kernel == Shape{1, 1}) {
    const ValueId columns = reshaped(reader.value, {0, reader.size, -1}, ".columns");
    return graph.add_node("MatMul", {columns, turned(columns, {0, 2, 1}, ".rows")}, {}, name);
  }
  ValueId x = reader.value;
  if (!reader.kernel.empty()) {
    const int64_t height = reader.kernel[0];
    const int64_t width = reader.kernel[1];
    const int64_t across = (*graph.value(x).shape)[3].value / width;
    const int64_t channels = reader.size / (height * width);
    x = reshaped(x, {0, channels, -1, height, across, width}, ".windows");
    x = turned(x, {0, 2, 4, 1, 3, 5}, ".patches");
  }
  ValueId rows = reshaped(x, {-1, reader.size}, ".rows");
  if (reader.kernel.empty()) rows = of_equal_size(graph, rows, reader.size, name);
  return graph.add_node("MatMul", {turned(rows, {1, 0}, ".columns"), rows}, {}, name);
}

InputGrams::InputGrams(const Graph& prepared, const Graph& quantized, const Plan& plan)
    : quantized_(quantized) {
  std::map<std::string, const Node*, std::less<>> nodes;
  for (const Node& node : quantized.nodes) nodes.emplace(node.name, &node);
  std::map<std::pair<ValueId, Shape>, size_t> reader_of;
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    const LayerPlan& layer = plan.layers[i];
    if (!layer.weights) continue;
    const Node& node = prepared.nodes[static_cast<size_t>(layer.node)];
    const Tensor& weights = prepared.value(layer.weights->weights).constant;
    const Shape kernel = node.op == "Conv" ? window_of(prepared, node, weights) : Shape{};
    if (node.op == "Conv" ? kernel.empty() : weights.rank() != 2) continue;
    const auto found = nodes.find(node.name);
    if (found == nodes.end()) continue;
    const ValueId value = found->second->input(0);
    const auto [entry, added] = reader_of.try_emplace({value, kernel}, readers_.size());
    if (added) {
      const auto axis = static_cast<size_t>(layer.weights->axes.channel);
      readers_.push_back({value, weights.size() / weights.shape()[axis], kernel, {}});
    }
    readers_[entry->second].layers.push_back(i);
  }
}

void InputGrams::for_each(InputSource& source, int threads, const Progress& progress,
                          const std::function<void(size_t, const Gram&)>& use) const {
  for (size_t first = 0; first < readers_.size();) {
    Graph graph = quantized_;
    std::vector<std::string> taps;
    std::map<std::string, size_t, std::less<>> reader_of;
    std::vector<Gram> grams(readers_.size());
    size_t last = first;
    for (int64_t bytes = 0; last < readers_.size(); ++last) {
      const Reader& reader = readers_[last];
      bytes += reader.size * reader.size * static_cast<int64_t>(sizeof(double));
      if (bytes > kBudgetBytes && last > first) break;
      const ValueId gram = add_gram(graph, reader, "gram" + std::to_string(last));
      taps.push_back(graph.value(gram).name);
      reader_of.emplace(taps.back(), last);
      grams[last].size = reader.size;
    }
    graph.sort_topologically();
    for (const std::string& tap : taps) graph.outputs.push_back(graph.find_value(tap));
    InferOptions inference;
    inference.evaluator = &engine::reference::evaluator();
    infer_shapes(graph, inference);
    TappedRun run(graph, taps, threads);
    for_each_run(source, "correlations", progress, [&](const std::vector<Tensor>& inputs) {
      run.run(inputs, [&](std::string_view name, const Tensor& tensor) {
        add_up(tensor, grams[reader_of.find(name)->second]);
      });
    });
    for (; first < last; ++first) {
      for (const size_t layer : readers_[first].layers) use(layer, grams[first]);
    }
  }
}

}  // namespace ounce::quantize
