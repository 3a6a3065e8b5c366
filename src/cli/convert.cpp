#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_input.h"
#include "cli/output.h"
#include "formats/formats.h"
#include "models/load_weights.h"
#include "models/models.h"
#include "report/format.h"

namespace ounce::cli {
namespace {

struct ConvertOptions {
  CommonOptions common;
  std::string input;
  std::string output;
  std::string architecture;
  std::string prefix;
  std::vector<std::string> renames;
};

void define(CLI::App& app, ConvertOptions& options) {
  app.add_option("input", options.input, "Model to read (.onnx, .ounce), or a checkpoint")
      ->required();
  app.add_option("-o,--output", options.output, "File to write; its extension names the format")
      ->required();
  app.add_option("--architecture", options.architecture,
                 "The input is a checkpoint (.pth, .safetensors) of this network");
  app.add_option(
      "--prefix", options.prefix,
      "What every name of the checkpoint begins with (default: as in the published one)");
  app.add_option("--rename", options.renames,
                 "theirs=ours: parts of names that the architecture has otherwise");
}

models::WeightNames weight_names(const ConvertOptions& options) {
  models::WeightNames names;
  names.prefix = options.prefix;
  for (const std::string& text : options.renames) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) {
      throw UsageError("--rename " + text + ": is not theirs=ours (try: --rename linear=fc)");
    }
    names.renames.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return names;
}

/// Makes the network that `options` name of a checkpoint's tensors.
std::function<Graph(const std::map<std::string, Tensor>&)> architecture(
    const ConvertOptions& options) {
  std::string known;
  const auto is_meant = [&](std::string_view name) {
    known += (known.empty() ? "" : ", ") + std::string(name);
    return name == options.architecture;
  };
  for (const models::Architecture& one : models::architectures()) {
    if (!is_meant(one.name)) continue;
    return [&options, one](const std::map<std::string, Tensor>& checkpoint) {
      Graph graph = one.build(options.common.seed);
      models::WeightNames names = weight_names(options);
      if (names.prefix.empty()) names.prefix = one.prefix;
      models::load_weights(graph, checkpoint, names);
      return graph;
    };
  }
  for (const models::CheckpointArchitecture& one : models::checkpoint_architectures()) {
    if (!is_meant(one.name)) continue;
    return [&](const std::map<std::string, Tensor>& checkpoint) {
      return one.read(models::renamed_checkpoint(checkpoint, weight_names(options)));
    };
  }
  throw UsageError("--architecture " + options.architecture + ": not known (try: " + known + ")");
}

/// A checkpoint in the network that it was trained for.
Graph read_weights(const ConvertOptions& options) {
  const auto make = architecture(options);
  try {
    return make(formats::read_checkpoint(options.input));
  } catch (const Error& error) {
    const bool placed = error.where().starts_with(options.input);
    throw placed ? error : Error(error.message(), options.input, error.remedy());
  }
}

int convert(const ConvertOptions& options, const Invocation&) {
  const std::filesystem::path target = options.output;
  if (target.extension() != ".onnx" && target.extension() != ".ounce") {
    throw UsageError("-o " + options.output + ": unknown format \"" + target.extension().string() +
                     "\" (try: a name that ends in .onnx or .ounce)");
  }
  const Graph graph =
      options.architecture.empty() ? load_model(options.input) : read_weights(options);
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
    "  ounce convert model.ounce -o model.onnx\n"
    "  ounce convert resnet20.th -o resnet20.onnx --architecture resnet20_cifar "
    "--prefix state_dict.module. --rename linear=fc\n"
    "  ounce convert imdn.pth -o imdn.ounce --architecture imdn\n"
    "  ounce convert model.th -o adabin.ounce --architecture resnet20_adabin "
    "--prefix state_dict.module.\n";

}  // namespace

void add_convert(CLI::App& app, Invocation& invocation) {
  add_command<ConvertOptions>(app, invocation, "convert",
                              "Read a model in one format and write it in another", kExamples,
                              define, convert);
}

}  // namespace ounce::cli
