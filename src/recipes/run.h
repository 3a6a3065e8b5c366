#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "recipes/judge.h"
#include "recipes/recipe.h"

namespace ounce::recipes {

struct StageResult {
  std::string name;
  std::string method;
  int64_t steps = 0;
  double accuracy = 0;  // on the test set, as trained
  Parity parity;        // of the same network frozen, in the engine
};

struct RunOptions {
  std::filesystem::path output;
  int threads = 1;
  int loaders = 1;  // threads beside, which make the batches of the next steps
  /// Told where the run stands: "decode" or the stage's name, steps done and in all, and a line
  /// such as "loss 1.23"; returning false ends the run behind a checkpoint.
  std::function<bool(const std::string& what, int64_t done, int64_t total, const std::string& line)>
      report;
};

struct RunResult {
  std::vector<StageResult> stages;
  bool finished = false;  // false: stopped by `report`
};

/// Carries a recipe out, or goes on where an earlier run of it in the same folder was stopped:
/// `output` gets recipe.toml (as resolved), log.jsonl (a line an epoch) and the same for
/// TensorBoard (events.out.tfevents.*), checkpoint/<stage>, a
/// <stage>.ounce (as deployed) and <stage>.network.ounce (as trained, for a recipe's `model.file`
/// or `model.teacher`) when a stage ends, and model.ounce and model.onnx of the last one.
///
/// Processes that torchrun, mpirun or srun started (train/distributed.h) carry it out together; the
/// first of them judges and writes.
RunResult run(const Recipe& recipe, const RunOptions& options);

/// Whether this is the process of such a run that reports.
bool is_first_process();

}  // namespace ounce::recipes
