// Writes the networks that the benchmarks time, with random weights, as ONNX files, and those with
// layers of one bit, which ONNX would spell out in other operators, as .ounce files:
// benchmark_models FOLDER [NAME...]
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "formats/formats.h"
#include "graph/error.h"
#include "models/models.h"

namespace {

const char* extension(const ounce::Graph& graph) {
  const bool binary = std::any_of(graph.nodes.begin(), graph.nodes.end(),
                                  [](const ounce::Node& node) { return node.op == "Binarize"; });
  return binary ? ".ounce" : ".onnx";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: benchmark_models FOLDER [NAME...]\n");
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  const std::vector<std::string> wanted(argv + 2, argv + argc);
  try {
    std::filesystem::create_directories(folder);
    for (const ounce::models::Architecture& architecture : ounce::models::architectures()) {
      const std::string name(architecture.name);
      if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end())
        continue;
      const ounce::Graph graph = architecture.build(1);
      ounce::formats::write_model(graph, folder / (name + extension(graph)));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "benchmark_models: %s\n", error.what());
    return 1;
  }
}
