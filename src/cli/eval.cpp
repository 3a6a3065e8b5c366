#include <string>

#include "cli/commands.h"
#include "cli/model_input.h"
#include "cli/task_options.h"
#include "report/format.h"
#include "report/table.h"

namespace ounce::cli {
namespace {

struct EvalOptions {
  CommonOptions common;
  std::string model;
  DataOptions data;
  TaskArguments task;
};

void define(CLI::App& app, EvalOptions& options) {
  add_model_argument(app, options.model);
  add_data_options(app, options.data, "judge on, with labels", true);
  add_task_options(app, options.task);
}

report::Json result_json(const tasks::Task& task, const tasks::EvaluationResult& result) {
  report::Json json{{"task", std::string(task.name())},
                    {"metrics", report::Json::object()},
                    {"pictures", result.pictures},
                    {"skipped", skipped_lines(result.skipped)}};
  for (const auto& [name, value] : result.metrics) json["metrics"][name] = value;
  return json;
}

std::string result_text(const tasks::Task& task, const tasks::EvaluationResult& result) {
  using Align = report::Table::Align;
  report::Table table({{std::string(task.name()), Align::left}, {"value", Align::right}});
  for (const auto& [name, value] : result.metrics) {
    table.add_row({name, report::metric_text(value, task.unit_of(name))});
  }
  return table.text() + std::to_string(result.pictures) + " pictures\n";
}

int eval(const EvalOptions& options, const Invocation&) {
  const Graph graph = load_model(options.model);
  const auto task = make_task(graph, options.model, options.task);
  const tasks::Dataset dataset = open_data(options.data);
  engine::Session session = open_session(graph, options.common);
  Progress progress(options.common);
  const auto result = evaluate(*task, dataset, session, progress, "evaluating");
  warn_skipped(result.skipped, dataset.size());
  print_result(options.common, result_json(*task, result), result_text(*task, result));
  return 0;
}

constexpr const char* kExamples =
    "  ounce eval vit.onnx --data photos.txt --resize 248 --crop 224 --mean 0.5 --std 0.5\n"
    "  ounce eval detector.onnx --task detection --data instances.json --images photos/\n"
    "  ounce eval imdn.ounce --task super-resolution --data Set5/\n"
    "  ounce eval out/model.ounce --data val/ --threads 2 --json\n";

}  // namespace

void add_eval(CLI::App& app, Invocation& invocation) {
  add_command<EvalOptions>(app, invocation, "eval", "Judge a model on labelled pictures", kExamples,
                           define, eval);
}

}  // namespace ounce::cli
