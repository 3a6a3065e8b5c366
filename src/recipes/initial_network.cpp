#include "recipes/initial_network.h"

#include "engine/reference/reference.h"
#include "formats/formats.h"
#include "graph/error.h"
#include "graph/passes/passes.h"
#include "models/models.h"
#include "recipes/fine_tune.h"

namespace ounce::recipes {
namespace {

namespace fs = std::filesystem;

/// The size of the second dimension of the first output, if it is known.
std::optional<int64_t> class_count(const Graph& graph) {
  const auto& shape = graph.value(graph.outputs.at(0)).shape;
  if (!shape || shape->size() != 2 || !(*shape)[1].known()) return std::nullopt;
  return (*shape)[1].value;
}

Graph read_network(const fs::path& path, int64_t classes) {
  Graph graph = formats::read_model(path);
  // Exporters compute shapes and scales in the graph; methods look for numbers.
  fold_constants(graph, engine::reference::evaluator());
  graph.remove_dead();
  const auto known = class_count(graph);
  if (known && *known != classes) {
    throw Error("tells " + std::to_string(*known) + " classes apart, the pictures have " +
                    std::to_string(classes),
                path.string(), "a network for these classes");
  }
  return graph;
}

Graph built_network(const Recipe& recipe, int64_t classes) {
  const ModelSource& source = recipe.model;
  if (source.architecture == "deit") {
    if (recipe.data.size % source.patch != 0) {
      throw Error("pictures of " + std::to_string(recipe.data.size) +
                      " pixels are no whole number" + " of patches of " +
                      std::to_string(source.patch),
                  "model.patch", "a divisor of data.size");
    }
    return models::vit(recipe.name,
                       {.image = recipe.data.size,
                        .classes = classes,
                        .patch = source.patch,
                        .width = source.width,
                        .depth = source.depth,
                        .heads = source.heads,
                        .distilled = source.distilled,
                        .zero_biases = true},
                       recipe.seed);
  }
  if (source.architecture == "swin") {
    return models::swin(recipe.name,
                        {.image = recipe.data.size,
                         .classes = classes,
                         .patch = source.patch,
                         .window = source.window,
                         .width = source.width,
                         .depths = source.depths,
                         .heads = source.stage_heads,
                         .zero_biases = true},
                        recipe.seed);
  }
  if (source.architecture == "resnet") {
    return models::resnet(recipe.name,
                          {.image = recipe.data.size,
                           .classes = classes,
                           .width = source.width,
                           .depths = source.depths,
                           .react = source.react},
                          recipe.seed);
  }
  return models::cifar_resnet(recipe.name,
                              {.image = recipe.data.size,
                               .classes = classes,
                               .width = source.width,
                               .blocks = source.blocks,
                               .react = source.react},
                              recipe.seed);
}

}  // namespace

Graph initial_network(const Recipe& recipe, int64_t classes) {
  const ModelSource& source = recipe.model;
  if (!source.file.empty()) return read_network(source.file, classes);
  Graph graph = built_network(recipe, classes);
  if (!source.weights.empty()) take_weights(graph, source, classes);
  return graph;
}

std::optional<Graph> initial_teacher(const Recipe& recipe, int64_t classes) {
  if (recipe.model.teacher.empty()) return std::nullopt;
  return read_network(recipe.model.teacher, classes);
}

}  // namespace ounce::recipes
