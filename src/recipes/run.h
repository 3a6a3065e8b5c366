#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "recipes/recipe.h"

namespace ounce::recipes {

/// How the frozen network in the engine compares with the trainer's executor, over the test set.
struct Parity {
  int64_t pictures = 0;
  int64_t other_class = 0;        // pictures whose largest logit differs
  double largest_difference = 0;  // of logits, over their range
};

struct StageResult {
  std::string name;
  std::string method;
  int64_t steps = 0;
  double accuracy = 0;         // on the test set, as trained
  double engine_accuracy = 0;  // the same network frozen, in the engine
  Parity parity;
};

struct RunOptions {
  std::filesystem::path output;
  int threads = 1;
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
/// `output` gets recipe.toml (as resolved), log.jsonl (a line an epoch), checkpoint/<stage>, a
/// <stage>.ounce when a stage ends, and model.ounce and model.onnx of the last one.
RunResult run(const Recipe& recipe, const RunOptions& options);

/// The network that the first stage begins with.
Graph initial_network(const Recipe& recipe, int64_t classes);

}  // namespace ounce::recipes
