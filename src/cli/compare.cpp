#include "quantize/analysis/compare.h"

#include <fmt/format.h>

#include <memory>
#include <string>

#include "cli/calibration_inputs.h"
#include "cli/commands.h"
#include "cli/examine.h"
#include "cli/model_input.h"
#include "cli/progress.h"
#include "cli/task_options.h"
#include "report/format.h"
#include "report/quantization.h"
#include "report/summary.h"

namespace ounce::cli {
namespace {

struct CompareArguments {
  CommonOptions common;
  std::string exact;
  std::string quantized;
  DataOptions data;
  TaskArguments task;
  int64_t sensitivity = 4;
};

void define(CLI::App& app, CompareArguments& options) {
  options.data.limit = 16;  // tensors of that many pictures tell as much as thousands
  app.add_option("exact", options.exact, "Model to measure against, usually the float one")
      ->required();
  app.add_option("quantized", options.quantized, "Model to measure, made from the first")
      ->required();
  add_data_options(app, options.data, "run both on; none for random inputs", true);
  app.add_option("--sensitivity", options.sensitivity,
                 "Pictures on which one layer at a time is quantized, and restored (0: not)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_task_options(app, options.task);
}

report::Json result_json(const quantize::Comparison& comparison,
                         const report::Examination& examination) {
  report::Json json{{"runs", comparison.runs}, {"worst", nullptr}};
  for (const quantize::TensorComparison& tensor : comparison.tensors) {
    if (tensor.value != comparison.worst) continue;
    json["worst"] = {
        {"name", tensor.node}, {"tensor", tensor.value}, {"own_sqnr_db", tensor.own.sqnr_db}};
  }
  report::add_json(json, examination);
  json["errors"] = report::to_json(report::errors_of(comparison));
  return json;
}

std::string result_text(const quantize::Comparison& comparison,
                        const report::Examination& examination) {
  std::string text = report::errors_text(report::errors_of(comparison));
  const auto worst = report::worst_first(report::errors_of(comparison), 1);
  if (worst.empty()) return text + "\nthe models agree exactly\n";
  text += fmt::format("\nlost most on its own: {} ({}), {:.1f} dB, over {} inputs\n",
                      report::printable(worst[0].name), worst[0].op, worst[0].own_sqnr_db,
                      comparison.runs);
  const std::string found = report::examination_text(examination);
  return found.empty() ? text : text + '\n' + found;
}

int compare(const CompareArguments& options, const Invocation&) {
  const Graph exact = load_model(options.exact);
  const Graph quantized = load_model(options.quantized);
  const CalibrationInputs inputs(options.data, exact, options.exact, options.task,
                                 options.common.seed);
  Progress progress(options.common);
  quantize::CompareOptions settings;
  settings.threads = options.common.threads;
  settings.histograms = 0;
  const quantize::Comparison comparison =
      quantize::compare(exact, quantized, inputs.source(), settings, quantize_hooks(progress));
  const auto examination = examine(comparison, exact, quantized, inputs.source(),
                                   options.sensitivity, options.common.threads, progress);
  progress.clear();
  warn_skipped(inputs.skipped(), inputs.items());
  print_result(options.common, result_json(comparison, examination),
               result_text(comparison, examination));
  return 0;
}

constexpr const char* kExamples =
    "  ounce compare model.onnx out/model.ounce --data photos/\n"
    "  ounce compare model.onnx out/model.ounce --data photos/ --limit 64 --json\n"
    "  ounce compare model.onnx out/model.ounce --data photos/ --sensitivity 0\n";

}  // namespace

void add_compare(CLI::App& app, Invocation& invocation) {
  add_command<CompareArguments>(app, invocation, "compare",
                                "Set a model and its quantized form side by side, layer by layer",
                                kExamples, define, compare);
}

}  // namespace ounce::cli
