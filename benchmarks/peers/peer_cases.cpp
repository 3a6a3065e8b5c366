// Writes what ounce computes for real pictures, so that another runtime can be compared with it:
// peer_cases [--simulate] MODEL DATA COUNT FOLDER [PREPARED]
//   -> FOLDER/<i>.input.npy and FOLDER/<i>.output.npy, with --simulate also
//   FOLDER/<i>.simulated.npy
//
// MODEL, or PREPARED if given, carries the preprocessing (as `ounce quantize` leaves it): so that a
// float model sees the pictures as its quantized form does. DATA: whatever `--data` takes.
// Simulated is what the reference operators make of the file, node by node: floats that are rounded
// to grids, where the engine computes on codes.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "engine/session.h"
#include "formats/formats.h"
#include "formats/npy.h"
#include "tasks/dataset.h"
#include "tasks/task.h"

int main(int argc, char** argv) {
  const bool simulate = argc > 1 && std::string_view(argv[1]) == "--simulate";
  if (simulate) {
    ++argv;
    --argc;
  }
  if (argc != 5 && argc != 6) {
    std::fprintf(stderr, "usage: peer_cases [--simulate] MODEL DATA COUNT FOLDER [PREPARED]\n");
    return 2;
  }
  try {
    const ounce::Graph graph = ounce::formats::read_model(argv[1]);
    ounce::tasks::TaskOptions task_options;
    task_options.model = argv[argc - 1 == 5 ? 5 : 1];
    const ounce::Graph prepared = ounce::formats::read_model(task_options.model);
    const auto task = ounce::tasks::make_task(prepared, task_options);
    ounce::tasks::DatasetOptions data_options;
    data_options.limit = std::atoll(argv[3]);
    const ounce::tasks::Dataset dataset = ounce::tasks::open_dataset(argv[2], data_options);
    ounce::engine::Session session(graph);
    ounce::engine::SessionOptions plain;
    plain.reference_only = true;
    std::optional<ounce::engine::Session> simulation;
    if (simulate) simulation.emplace(graph, plain);
    const std::filesystem::path folder = argv[4];
    std::filesystem::create_directories(folder);
    ounce::tasks::DatasetStream stream(dataset);
    int number = 0;
    while (auto item = stream.next()) {
      const ounce::Tensor pixels = task->prepare(item->image).pixels;
      const std::string base = std::to_string(number++);
      ounce::formats::write_npy(pixels, folder / (base + ".input.npy"));
      ounce::formats::write_npy(session.run(std::span(&pixels, 1))[0],
                                folder / (base + ".output.npy"));
      if (simulation) {
        ounce::formats::write_npy(simulation->run(std::span(&pixels, 1))[0],
                                  folder / (base + ".simulated.npy"));
      }
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "peer_cases: %s\n", error.what());
    return 1;
  }
}
