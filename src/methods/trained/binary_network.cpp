#include "methods/trained/binary_network.h"

#include <algorithm>

#include "graph/error.h"
#include "train/quantizers/lsq.h"
#include "train/quantizers/sign_activation.h"
#include "train/quantizers/sign_weight.h"

namespace ounce::methods {
namespace {

constexpr int kEndBits = 8;

train::LsqOptions end_options(const train::Slices& slices = {}) {
  train::LsqOptions options;
  options.bits = kEndBits;
  options.slices = slices;
  return options;
}

/// A sign of what is never negative tells nothing.
void check_input(const GraphIndex& index, const Graph& graph, const Node& conv) {
  const int producer = index.producer(conv.input(0));
  if (producer < 0 || graph.nodes[static_cast<size_t>(producer)].op != "Relu") return;
  throw Error("reads what Relu leaves, of which all signs are the same", "node " + conv.name,
              "a network of shifts and PRelu (cifar_resnet with react = true)");
}

}  // namespace

Ends read_ends(Settings& stage, Ends fallback) {
  const auto word = stage.choice("ends", {"float", "w8a8"});
  return word ? static_cast<Ends>(*word) : fallback;
}

std::vector<train::ProductLayer> binary_layers(const Graph& graph) {
  std::vector<train::ProductLayer> result;
  bool is_first = true;
  for (const train::ProductLayer& layer : train::product_layers(graph)) {
    const Node& node = graph.nodes[static_cast<size_t>(layer.node)];
    if (node.op != "Conv") continue;
    const bool was_first = is_first;
    is_first = false;
    if (was_first || !layer.has_weights) continue;
    const Shape& shape = graph.constant(node.input(1))->shape();
    if (std::any_of(shape.begin() + 2, shape.end(), [](int64_t extent) { return extent > 1; })) {
      result.push_back(layer);
    }
  }
  return result;
}

train::Student binary_network(const Graph& graph, Ends ends, const MakeSignWeight& weights) {
  const std::vector<train::ProductLayer> binary = binary_layers(graph);
  if (binary.empty()) {
    throw Error("has no convolution of more than 1x1 behind its first: nothing can be binary",
                "network " + graph.name, "cifar_resnet with react = true");
  }
  const GraphIndex index(graph);
  train::FakeQuantInserter inserter(graph);
  for (const train::ProductLayer& layer : binary) {
    check_input(index, graph, graph.nodes[static_cast<size_t>(layer.node)]);
    inserter.quantize(layer.node, 0, inserter.shared_name(layer.node, 0) + ".sign",
                      [] { return std::make_shared<train::SignActivation>(); });
    if (!weights) continue;
    inserter.quantize(layer.node, 1, inserter.shared_name(layer.node, 1), [&] {
      return weights({layer.channel_axis, layer.channels});
    });
  }
  if (ends == Ends::kFloat) return inserter.finish();
  for (const train::ProductLayer& layer : train::product_layers(graph)) {
    const bool is_binary = std::any_of(binary.begin(), binary.end(),
                                       [&](const auto& other) { return other.node == layer.node; });
    if (is_binary || !layer.has_weights) continue;
    inserter.quantize(layer.node, 0, inserter.shared_name(layer.node, 0),
                      [] { return std::make_shared<train::LsqActivation>(end_options()); });
    inserter.quantize(layer.node, 1, inserter.shared_name(layer.node, 1), [&] {
      return std::make_shared<train::LsqWeight>(end_options({layer.channel_axis, layer.channels}));
    });
  }
  return inserter.finish();
}

std::map<std::string, double> take_flips(const train::Module& module) {
  std::map<std::string, double> measures;
  for (const auto& [name, quantizer] : module.quantizers()) {
    auto* signs = dynamic_cast<train::SignWeight*>(quantizer.get());
    if (signs == nullptr) continue;
    const train::FlipTally tally = signs->take_flips();
    if (tally.steps == 0) continue;
    measures["flip_rate/" + name] = tally.rate();
    measures["stuck/" + name] = tally.stuck();
  }
  return measures;
}

}  // namespace ounce::methods
