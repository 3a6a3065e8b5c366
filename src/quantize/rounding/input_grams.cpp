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

bool is_by_single_pixels(const Node& node, const Tensor& weights) {
  return weights.rank() == 4 && weights.shape()[2] == 1 && weights.shape()[3] == 1 &&
         node.attributes.get_int("group", 1) == 1;
}

/// Adds nodes that make x' x of a value [.., size], or of an image [n, size, h, w] one for each n.
/// Returns their result.
ValueId add_gram(Graph& graph, ValueId value, int64_t size, bool is_image,
                 const std::string& name) {
  const std::vector<int64_t> shape =
      is_image ? std::vector<int64_t>{0, size, -1} : std::vector<int64_t>{-1, size};
  const ValueId target = graph.add_constant(name + ".shape", Tensor::of_i64(shape));
  const ValueId rows = graph.add_node("Reshape", {value, target}, {}, name + ".rows");
  AttributeMap perm;
  perm.set("perm",
           is_image ? std::vector<int64_t>{0, 2, 1} : std::vector<int64_t>{1, 0});
  const ValueId turned = graph.add_node("Transpose", {rows}, std::move(perm), name + ".turned");
  return is_image ? graph.add_node("MatMul", {rows, turned}, {}, name)
                  : graph.add_node("MatMul", {turned, rows}, {}, name);
}

void add_up(const Tensor& product, Gram& gram) {
  const auto count = static_cast<size_t>(gram.size * gram.size);
  gram.sums.resize(count, 0.0);
  const auto values = product.data<float>();
  for (size_t i = 0; i < values.size(); ++i) gram.sums[i % count] += values[i];
}

}  // namespace

InputGrams::InputGrams(const Graph& prepared, const Graph& quantized, const Plan& plan)
    : quantized_(quantized) {
  std::map<std::string, const Node*, std::less<>> nodes;
  for (const Node& node : quantized.nodes) nodes.emplace(node.name, &node);
  std::map<ValueId, size_t> reader_of;
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    const LayerPlan& layer = plan.layers[i];
    if (!layer.weights) continue;
    const Node& node = prepared.nodes[static_cast<size_t>(layer.node)];
    const Tensor& weights = prepared.value(layer.weights->weights).constant;
    const bool is_image = node.op == "Conv";
    if (is_image ? !is_by_single_pixels(node, weights) : weights.rank() != 2) continue;
    const auto found = nodes.find(node.name);
    if (found == nodes.end()) continue;
    const ValueId value = found->second->input(0);
    const auto [entry, added] = reader_of.try_emplace(value, readers_.size());
    if (added) {
      const auto axis = static_cast<size_t>(layer.weights->axes.reduction);
      readers_.push_back({value, weights.shape()[axis], is_image, {}});
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
      const ValueId gram = add_gram(graph, reader.value, reader.size, reader.is_image,
                                    "gram" + std::to_string(last));
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
