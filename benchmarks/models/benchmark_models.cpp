// Writes the networks that the benchmarks time, with random weights, as ONNX files:
// benchmark_models FOLDER [NAME...]
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "formats/formats.h"
#include "graph/error.h"
#include "models/models.h"

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
      ounce::formats::write_model(architecture.build(1), folder / (name + ".onnx"));
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "benchmark_models: %s\n", error.what());
    return 1;
  }
}
