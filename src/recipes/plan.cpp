#include "recipes/plan.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <variant>

#include "graph/operator.h"
#include "recipes/initial_network.h"
#include "recipes/pictures.h"
#include "recipes/stage_training.h"
#include "train/insert.h"
#include "train/threads.h"

namespace ounce::recipes {
namespace {

/// The first step sets up quantizers and allocates; the median of the others is reported.
constexpr int kSteps = 6;

std::string bits_of(const train::AffineGrid& grid) {
  const int64_t levels = grid.highest - grid.lowest + 1;
  if (levels == 3) return "ternary";
  int bits = 0;
  while ((int64_t{1} << bits) < levels) ++bits;
  return std::to_string(bits) + " bits";
}

std::string bits_of(const train::Grid& grid) {
  if (const auto* affine = std::get_if<train::AffineGrid>(&grid)) return bits_of(*affine);
  return std::get<train::SignGrid>(grid).is_map ? "1 bit (0, 1)" : "1 bit";
}

/// How the value `id` is rounded on its way from where it was computed.
std::string rounding_of(const train::Module& module, const Graph& graph, const GraphIndex& index,
                        ValueId id) {
  static const std::vector<std::string_view> kMoves = {"Reshape", "Transpose", "Flatten",
                                                       "Squeeze", "Unsqueeze", "Slice"};
  while (true) {
    const int producer = index.producer(id);
    if (producer < 0) return "float";
    const Node& node = graph.nodes[static_cast<size_t>(producer)];
    if (node.op == "FakeQuant") {
      const Tensor* weights = graph.constant(node.input(0));
      const at::Tensor tensor =
          weights == nullptr ? at::Tensor() : module.tensor(graph.value(node.input(0)).name);
      return bits_of(module.quantizers().at(node.name)->freeze(tensor));
    }
    if (std::find(kMoves.begin(), kMoves.end(), node.op) == kMoves.end()) return "float";
    id = node.input(0);
  }
}

bool has_weights(const Graph& graph, const GraphIndex& index, const Node& node) {
  ValueId id = node.input(1);
  if (const int producer = index.producer(id); producer >= 0) {
    const Node& before = graph.nodes[static_cast<size_t>(producer)];
    if (before.op == "FakeQuant") id = before.input(0);
  }
  return graph.constant(id) != nullptr;
}

std::vector<PlannedLayer> layers_of(const train::Module& module) {
  const Graph graph = module.graph();
  const GraphIndex index(graph);
  std::vector<PlannedLayer> layers;
  for (const Node& node : graph.nodes) {
    if (node.op != "Conv" && node.op != "MatMul" && node.op != "Gemm") continue;
    layers.push_back({node.name, node.op, has_weights(graph, index, node),
                      rounding_of(module, graph, index, node.input(1)),
                      rounding_of(module, graph, index, node.input(0))});
  }
  return layers;
}

int64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

/// Seconds of the median step.
double timed_steps(StageTraining& training, const Stage& stage, const train::BatchSource& source) {
  train::TrainerOptions settings = stage.training;
  settings.epochs = kSteps;
  settings.accumulate = 1;
  train::Trainer trainer(training.student(), settings);
  std::vector<double> seconds;
  auto last = std::chrono::steady_clock::now();
  trainer.run(source, training.objective(), [&](const train::Progress&) {
    const auto now = std::chrono::steady_clock::now();
    seconds.push_back(std::chrono::duration<double>(now - last).count());
    last = now;
    return seconds.size() < kSteps;
  });
  seconds.erase(seconds.begin());
  std::nth_element(seconds.begin(), seconds.begin() + std::ptrdiff_t(seconds.size() / 2),
                   seconds.end());
  return seconds[seconds.size() / 2] * static_cast<double>(stage.training.accumulate);
}

StagePlan plan_stage(const Stage& stage, StageTraining& training, const train::BatchSource& source,
                     int64_t pictures) {
  StagePlan result;
  result.name = stage.name;
  result.method = stage.method;
  result.epochs = stage.training.epochs;
  result.batch = stage.batch * stage.training.accumulate;
  result.steps_per_epoch = pictures / result.batch;
  for (const train::Parameter& parameter : training.student().parameters()) {
    (parameter.kind == train::ParameterKind::kQuantizer ? result.quantizer_parameters
                                                        : result.parameters) +=
        parameter.tensor.numel();
  }
  result.seconds_per_step = timed_steps(training, stage, source);
  result.memory = peak_memory();
  result.layers = layers_of(training.student());
  return result;
}

}  // namespace

std::vector<StagePlan> plan(const Recipe& recipe, int threads) {
  train::set_threads(threads);
  int64_t largest_batch = 0;
  for (const Stage& stage : recipe.stages) largest_batch = std::max(largest_batch, stage.batch);
  const int64_t pictures = count_pictures(recipe.data.train, recipe.data.limit);
  const train::ImageSet some =
      read_pictures(recipe.data.train, recipe.data.size, std::min(largest_batch, pictures));
  const auto classes = static_cast<int64_t>(some.classes.size());
  Graph network = initial_network(recipe, classes);
  std::optional<Graph> teacher = initial_teacher(recipe, classes);
  std::vector<StagePlan> stages;
  for (const Stage& stage : recipe.stages) {
    at::manual_seed(recipe.seed);
    StageTraining training(stage, network, teacher ? &*teacher : nullptr);
    const train::BatchSource source(some, {std::min(stage.batch, some.size()), recipe.seed,
                                           recipe.data.normalization, stage.augmentation});
    stages.push_back(plan_stage(stage, training, source, pictures));
    network = train::without_fake_quant(training.student().graph());
    if (stage.method == "float") teacher = network;
  }
  return stages;
}

}  // namespace ounce::recipes
