#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/common.h"
#include "cli/progress.h"
#include "engine/session.h"
#include "report/json.h"
#include "report/report.h"
#include "tasks/dataset.h"
#include "tasks/task.h"

namespace ounce::cli {

/// Where pictures come from.
struct DataOptions {
  std::string data;
  std::string images;
  int64_t limit = 0;
  std::string low_resolution = {};
};

/// Adds --data --images --low-resolution --limit; `purpose` completes "Pictures to ...".
void add_data_options(CLI::App& app, DataOptions& options, const std::string& purpose,
                      bool required);
tasks::Dataset open_data(const DataOptions& options);

/// What the network is for and how pictures enter it.
struct TaskArguments {
  std::string task;
  std::string head;
  std::string classes;
  tasks::PreprocessOptions preprocess;

  /// Whether anything was given.
  bool any() const {
    return !task.empty() || !head.empty() || !classes.empty() || preprocess.any();
  }
};

/// Adds --task --head --classes --resize --crop --mean --std --channels --letterbox.
void add_task_options(CLI::App& app, TaskArguments& options);
std::unique_ptr<tasks::Task> make_task(const Graph& graph, const std::string& model_path,
                                       const TaskArguments& options);

/// Judges a session on a data set, with progress under `stage`. Throws `Interrupted` on Ctrl-C.
tasks::EvaluationResult evaluate(tasks::Task& task, const tasks::Dataset& dataset,
                                 engine::Session& session, Progress& progress,
                                 const std::string& stage);

/// ["path: reason", ...]
std::vector<std::string> skipped_lines(const std::vector<tasks::SkippedSample>& skipped);

/// One warning line on stderr that names the first skipped pictures; nothing when there are none.
void warn_skipped(const std::vector<tasks::SkippedSample>& skipped, int64_t total);

}  // namespace ounce::cli
