#include "cli/task_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "report/format.h"

namespace ounce::cli {

void add_data_options(CLI::App& app, DataOptions& options, const std::string& purpose,
                      bool required) {
  app.add_option(
         "--data", options.data,
         "Pictures to " + purpose +
             ": folder of class folders, list of `path label` lines, COCO JSON, VOC folder, "
             "or a plain folder")
      ->required(required);
  app.add_option("--images", options.images, "Folder of the pictures that a JSON names");
  app.add_option("--low-resolution", options.low_resolution,
                 "Folder of the same pictures made small, for super-resolution (default: they are "
                 "made)");
  app.add_option("--limit", options.limit, "Use at most so many pictures, spread evenly (0: all)")
      ->check(CLI::NonNegativeNumber);
}

tasks::Dataset open_data(const DataOptions& options) {
  tasks::DatasetOptions dataset;
  dataset.images = options.images;
  dataset.low_resolution = options.low_resolution;
  dataset.limit = options.limit;
  return tasks::open_dataset(options.data, dataset);
}

void add_task_options(CLI::App& app, TaskArguments& options) {
  const std::string group = "Task and preprocessing (default: what the model stores)";
  const auto add = [&](const std::string& name, std::string& value, const std::string& help) {
    app.add_option(name, value, help)->group(group);
  };
  add("--task", options.task, "classification, detection, super-resolution or text-detection");
  add("--head", options.head, "Description of a detector's outputs (default: MODEL's name, .toml)");
  add("--classes", options.classes, "File with one class name a line");
  add("--resize", options.preprocess.resize, "Scale the short side to SHORT pixels");
  add("--crop", options.preprocess.crop, "Cut the centre: SIZE or HEIGHTxWIDTH");
  add("--mean", options.preprocess.mean, "R,G,B to subtract, of pixels in 0..1");
  add("--std", options.preprocess.std, "R,G,B to divide by");
  add("--channels", options.preprocess.channels, "rgb or bgr");
  add("--letterbox", options.preprocess.letterbox, "Scale to fit and pad: SIZE or HEIGHTxWIDTH");
}

std::unique_ptr<tasks::Task> make_task(const Graph& graph, const std::string& model_path,
                                       const TaskArguments& options) {
  return tasks::make_task(graph, {.task = options.task,
                                  .preprocess = options.preprocess,
                                  .model = model_path,
                                  .head = options.head,
                                  .classes = options.classes});
}

tasks::EvaluationResult evaluate(tasks::Task& task, const tasks::Dataset& dataset,
                                 engine::Session& session, Progress& progress,
                                 const std::string& stage) {
  tasks::EvaluationResult result = tasks::evaluate(
      task, dataset, [&](std::span<const Tensor> inputs) { return session.run(inputs); },
      [&](int64_t done, int64_t total) {
        progress.step(stage, done, total);
        return true;
      });
  progress.clear();
  return result;
}

std::vector<std::string> skipped_lines(const std::vector<tasks::SkippedSample>& skipped) {
  std::vector<std::string> lines;
  for (const tasks::SkippedSample& one : skipped) lines.push_back(one.path + ": " + one.reason);
  return lines;
}

void warn_skipped(const std::vector<tasks::SkippedSample>& skipped, int64_t total) {
  if (skipped.empty()) return;
  constexpr size_t kNamed = 3;
  std::string names;
  for (size_t i = 0; i < std::min(skipped.size(), kNamed); ++i) {
    names += (i == 0 ? " " : "; ") + skipped[i].path + ": " + skipped[i].reason;
  }
  if (skipped.size() > kNamed) names += "; ...";
  fmt::print(stderr, "ounce: warning: skipped {} of {} pictures:{}\n", skipped.size(), total,
             report::printable(names));
}

}  // namespace ounce::cli
