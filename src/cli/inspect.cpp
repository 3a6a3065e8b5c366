#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/model_input.h"
#include "formats/formats.h"
#include "report/inspection.h"

namespace ounce::cli {
namespace {

struct InspectOptions {
  CommonOptions common;
  std::string model;
  std::vector<std::string> shapes;
};

void define(CLI::App& app, InspectOptions& options) {
  add_model_argument(app, options.model);
  add_shape_option(app, options.shapes);
}

int inspect_model(const InspectOptions& options, const Invocation&) {
  const auto shapes = parse_shapes(options.shapes);
  Graph graph = formats::read_model(options.model);
  settle_shapes(graph, shapes);
  report::ModelSummary summary = report::inspect(graph);
  summary.file = options.model;
  summary.file_bytes = file_bytes(options.model);
  print_result(options.common, report::to_json(summary), report::text(summary));
  return 0;
}

constexpr const char* kExamples =
    "  ounce inspect model.onnx\n"
    "  ounce inspect model.onnx --shape pixels=1x3x384x384\n"
    "  ounce inspect model.ounce --json | jq '.parameters'\n";

}  // namespace

void add_inspect(CLI::App& app, Invocation& invocation) {
  add_command<InspectOptions>(
      app, invocation, "inspect",
      "Show inputs, outputs, parameters, cost and bits of a model, by layer", kExamples, define,
      inspect_model);
}

}  // namespace ounce::cli
