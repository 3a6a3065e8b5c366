#include <filesystem>
#include <string>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_input.h"
#include "cli/output.h"
#include "formats/formats.h"
#include "report/format.h"

namespace ounce::cli {
namespace {

struct ConvertOptions {
  CommonOptions common;
  std::string input;
  std::string output;
};

void define(CLI::App& app, ConvertOptions& options) {
  app.add_option("input", options.input, "Model to read (.onnx, .ounce)")->required();
  app.add_option("-o,--output", options.output, "File to write; its extension names the format")
      ->required();
}

int convert(const ConvertOptions& options, const Invocation&) {
  const std::filesystem::path target = options.output;
  if (target.extension() != ".onnx" && target.extension() != ".ounce") {
    throw UsageError("-o " + options.output + ": unknown format \"" + target.extension().string() +
                     "\" (try: a name that ends in .onnx or .ounce)");
  }
  const Graph graph = load_model(options.input);
  check_interrupted();
  StagedFile staged(target);
  formats::write_model(graph, staged.path());
  check_interrupted();
  staged.commit();
  const int64_t before = file_bytes(options.input);
  const int64_t after = file_bytes(target);
  const report::Json json{{"input", options.input},
                          {"output", options.output},
                          {"input_bytes", before},
                          {"bytes", after}};
  print_result(options.common, json,
               report::printable(options.output) + "  " + report::bytes_text(after) + " (from " +
                   report::bytes_text(before) + ")\n");
  return 0;
}

constexpr const char* kExamples =
    "  ounce convert model.onnx -o model.ounce\n"
    "  ounce convert model.ounce -o model.onnx\n";

}  // namespace

void add_convert(CLI::App& app, Invocation& invocation) {
  add_command<ConvertOptions>(app, invocation, "convert",
                              "Read a model in one format and write it in another", kExamples,
                              define, convert);
}

}  // namespace ounce::cli
