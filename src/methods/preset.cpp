#include "methods/preset.h"

#include <algorithm>
#include <array>
#include <limits>

#include "engine/reference/reference.h"
#include "graph/operator.h"
#include "quantize/blocks.h"

namespace ounce::methods {
namespace {

constexpr std::array<std::string_view, 3> kNames = {"fast", "good", "best"};

/// A product of a softmax: attention.
bool is_transformer(const Graph& graph) {
  const GraphIndex index(graph);
  return std::any_of(graph.nodes.begin(), graph.nodes.end(), [&](const Node& node) {
    if (node.op == "Attention") return true;
    if (node.op != "Softmax") return false;
    const auto& readers = index.consumers(node.output(0));
    return std::any_of(readers.begin(), readers.end(), [&](int reader) {
      return graph.nodes[static_cast<size_t>(reader)].op == "MatMul";
    });
  });
}

/// The layers with weights of each part that rounding can be learned for as a whole; none where the
/// network is no chain of parts.
std::vector<size_t> layers_of_blocks(const Graph& graph) {
  std::vector<int> layers;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const bool multiplies = node.op == "Conv" || node.op == "MatMul" || node.op == "Gemm";
    if (multiplies && graph.constant(node.input(1)) != nullptr) {
      layers.push_back(static_cast<int>(i));
    }
  }
  std::vector<size_t> sizes;
  for (const quantize::Block& block : quantize::split_into_blocks(graph, layers)) {
    sizes.push_back(block.layers.size());
  }
  return sizes;
}

/// How rounding is learned best for a network of convolutions.
std::string convolution_rounding(const Graph& graph, bool narrow_activations) {
  // Shortcuts to the far end, as detectors and enlargers of pictures have them, leave one block of
  // most layers: so many at once are not learned (docs/results.md), but layer by layer they are.
  constexpr size_t kMostLayers = 16;
  const std::vector<size_t> blocks = layers_of_blocks(graph);
  if (blocks.empty()) return "gptq";
  if (*std::max_element(blocks.begin(), blocks.end()) > kMostLayers) return "adaround";
  return narrow_activations ? "straight-through" : "brecq";
}

/// Steps of learned rounding for `seconds`, "auto" where that is time enough for all that the
/// pictures bear.
std::string steps_for(double seconds, int64_t macs, int64_t pictures) {
  // What tuning ViT-tiny and ResNet-20 reaches on one thread, forward and backward counted as three
  // runs; a step shows each block 16 runs of the data.
  constexpr double kMacsPerSecond = 2.5e10;
  constexpr double kRunsPerStep = 3.0 * 16.0;
  constexpr double kFewest = 30.0;
  constexpr double kStepsPerPicture = 30.0 / 16.0;  // thirty passes
  const double step =
      kRunsPerStep * static_cast<double>(std::max<int64_t>(1, macs)) / kMacsPerSecond;
  const double steps = std::max(seconds / step, kFewest);
  if (steps >= kStepsPerPicture * static_cast<double>(pictures)) return "auto";
  return std::to_string(static_cast<int64_t>(steps));
}

}  // namespace

std::optional<Preset> preset_from_name(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<Preset>(found - kNames.begin());
}

PresetChoice preset_choice(Preset preset, const Graph& graph, const Request& request, int64_t macs,
                           int64_t pictures) {
  constexpr int kFewestUniformMapBits = 5;
  constexpr double kGoodSeconds = 240.0;
  constexpr double kBestSeconds = 1500.0;
  PresetChoice choice;
  auto& options = choice.options;
  if (!request.needs_ranges()) {
    options["rounding"] = "gptq";
    return choice;
  }
  const bool transformer = is_transformer(graph);
  const bool narrow_activations = request.activation_bits < quantize::kMaxBits;
  const bool narrow_weights = request.weight_bits < quantize::kMaxBits;
  if (request.activation_bits == 1 || request.weight_bits == 1) return choice;
  if (transformer) {
    options["norms"] = narrow_weights || narrow_activations ? "repq" : "smooth";
    if (request.activation_bits < kFewestUniformMapBits) {
      choice.softmax = quantize::SoftmaxCodes::kLogSqrt2;
    }
  }
  if (!narrow_weights && !narrow_activations) return choice;
  options["keep-ends8"] = "on";
  if (preset == Preset::kFast) {
    options["rounding"] = "gptq";
    return choice;
  }
  if (narrow_activations) options["range-loss"] = "fisher";
  // Convolutions of so many bits lose next to nothing by rounding.
  constexpr int kFewestNearestBits = 6;
  if (!transformer && request.weight_bits >= kFewestNearestBits) return choice;
  // Here blocks that were tuned on 32 pictures were behind GPTQ (docs/results.md).
  constexpr int kFewestGptqBits = 4;
  if (transformer && request.weight_bits >= kFewestGptqBits &&
      request.activation_bits > kFewestGptqBits) {
    options["rounding"] = "gptq";
    options["weight-range"] = "mse";
    return choice;
  }
  options["rounding"] =
      transformer ? "straight-through" : convolution_rounding(graph, narrow_activations);
  if (options["rounding"] == "gptq") return choice;
  if (options["rounding"] == "adaround") {
    options.erase("range-loss");  // YOLOX-nano at W4A4 was worse for it
    options["weight-range"] = "mse";
  }
  // Of the residual stream a few channels are so large that errors elsewhere would not count.
  if (transformer) options["tuning-loss"] = "fisher";
  const double seconds = preset == Preset::kGood ? kGoodSeconds : kBestSeconds;
  const std::string steps = steps_for(seconds, macs, pictures);
  if (steps != "auto") options["tuning-steps"] = steps;
  return choice;
}

std::string flags_text(const PresetChoice& choice) {
  std::string text;
  if (choice.softmax != quantize::SoftmaxCodes::kUniform) {
    text += "--softmax " + std::string(quantize::name_of(choice.softmax));
  }
  for (const auto& [name, value] : choice.options) {
    text += (text.empty() ? "" : " ");
    text += "--option " + name + "=" + value;
  }
  return text.empty() ? "no flags: the defaults" : text;
}

int64_t macs_of_run(const Graph& graph) {
  constexpr int64_t kOpenSide = 128;  // of networks for pictures of any size
  Graph concrete = graph;
  std::vector<Shape> shapes;
  for (const ValueId id : graph.inputs) {
    Shape shape;
    for (const Dim& dim : graph.value(id).shape.value_or(SymbolicShape())) {
      const int64_t open = shape.empty() ? 1 : kOpenSide;
      shape.push_back(dim.known() ? dim.value : open);
    }
    shapes.push_back(std::move(shape));
  }
  InferOptions inference;
  inference.evaluator = &engine::reference::evaluator();
  specialize_inputs(concrete, shapes, inference);
  int64_t macs = 0;
  for (const Node& node : concrete.nodes) {
    if (!shapes_known(concrete, node)) continue;
    const int64_t more = cost_of(concrete, node).macs;
    macs = more > std::numeric_limits<int64_t>::max() - macs ? std::numeric_limits<int64_t>::max()
                                                             : macs + more;
  }
  return macs;
}

}  // namespace ounce::methods
