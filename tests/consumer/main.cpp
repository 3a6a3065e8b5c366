// Runs the model named on the command line on a zero input and prints the shape of each output.
#include <cstdio>
#include <vector>

#include "engine/session.h"
#include "formats/ounce_file/ounce_file.h"
#include "graph/error.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    const ounce::Graph graph = ounce::formats::read_ounce(argv[1]);
    ounce::engine::Session session(graph);
    std::vector<ounce::Tensor> inputs;
    for (const ounce::ValueId id : graph.inputs) {
      ounce::Shape shape;
      for (const ounce::Dim& dim : *graph.value(id).shape)
        shape.push_back(dim.known() ? dim.value : 1);
      inputs.emplace_back(graph.value(id).dtype, shape);
    }
    for (const ounce::Tensor& output : session.run(inputs)) {
      std::printf("%s\n", ounce::to_string(output.shape()).c_str());
    }
  } catch (const ounce::Error& error) {
    std::fprintf(stderr, "consumer: %s\n", error.what());
    return 1;
  }
}
