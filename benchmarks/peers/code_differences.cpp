// Where the engine and the simulation of a quantized model part: tensors of codes in order, and how
// many of them differ.
// code_differences MODEL DATA [COUNT]
//
// For one picture of DATA (whatever `--data` takes), the first COUNT (10) tensors with differences
// go to stdout. Simulated is what the reference operators make of the file, node by node. Every
// tensor is looked at in a run of its own: only there nothing else is computed as written.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/session.h"
#include "formats/formats.h"
#include "tasks/dataset.h"
#include "tasks/task.h"

namespace {

using namespace ounce;

std::vector<std::string> tensors_of_codes(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes) {
    if (node.op == "QuantizeLinear") names.push_back(graph.value(node.output(0)).name);
  }
  return names;
}

std::map<std::string, std::vector<float>> run(const Graph& graph, const Tensor& pixels,
                                              const std::vector<std::string>& names,
                                              bool simulate) {
  engine::SessionOptions options;
  options.taps = names;
  options.reference_only = simulate;
  std::map<std::string, std::vector<float>> codes;
  engine::Session(graph, options)
      .run({&pixels, 1}, [&](std::string_view name, const Tensor& tensor) {
        codes[std::string(name)] = tensor.to_f32();
      });
  return codes;
}

void print_differences(const Graph& graph, const Tensor& pixels, int64_t count) {
  const std::vector<std::string> names = tensors_of_codes(graph);
  const auto simulated = run(graph, pixels, names, true);
  for (const std::string& name : names) {
    if (count == 0) return;
    const std::vector<float> codes = run(graph, pixels, {name}, false).at(name);
    const std::vector<float>& expected = simulated.at(name);
    int64_t differing = 0;
    float largest = 0.0F;
    for (size_t i = 0; i < codes.size(); ++i) {
      const float difference = std::abs(codes[i] - expected[i]);
      if (difference > 0) ++differing;
      largest = std::max(largest, difference);
    }
    if (differing == 0) continue;
    --count;
    std::printf("%s: %lld of %zu codes, by %g at most\n", name.c_str(),
                static_cast<long long>(differing), codes.size(), largest);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    std::fprintf(stderr, "usage: code_differences MODEL DATA [COUNT]\n");
    return 2;
  }
  try {
    const Graph graph = formats::read_model(argv[1]);
    tasks::TaskOptions task_options;
    task_options.model = argv[1];
    const auto task = tasks::make_task(graph, task_options);
    tasks::DatasetOptions data_options;
    data_options.limit = 1;
    const tasks::Dataset dataset = tasks::open_dataset(argv[2], data_options);
    tasks::DatasetStream stream(dataset);
    while (auto item = stream.next()) {
      print_differences(graph, task->prepare(item->image).pixels,
                        argc == 4 ? std::atoll(argv[3]) : 10);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "code_differences: %s\n", error.what());
    return 1;
  }
}
