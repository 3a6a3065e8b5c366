#include "cli_train/train.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "methods/trained/block_tuning/block_tuning.h"
#include "methods/trained/range_weights.h"
#include "methods/trained/synthesis/synthesis.h"
#include "recipes/plan.h"
#include "recipes/recipe.h"
#include "recipes/run.h"
#include "report/format.h"
#include "train/threads.h"

namespace ounce::cli {
namespace {

struct TrainOptions {
  CommonOptions common;
  std::string recipe;
  std::string output;
  std::vector<std::string> settings;
  int loaders = 1;
  bool dry_run = false;
};

void define(CLI::App& app, TrainOptions& options) {
  app.add_option("recipe", options.recipe, "Recipe (.toml)")->required();
  app.add_option("-o,--output", options.output,
                 "Folder of the run (default: runs/<recipe's name>)");
  app.add_option("--set", options.settings,
                 "key=value in place of the recipe's, any number of them");
  app.add_option("--loaders", options.loaders,
                 "Threads that make batches ahead (default 1; 0: none beside the others)")
      ->check(CLI::Range(0, 1024));
  app.add_flag("--dry-run", options.dry_run,
               "Say what would be trained and rounded, and, from a few steps, how long it takes");
}

report::Json to_json(const recipes::StageResult& stage) {
  return {{"name", stage.name},
          {"method", stage.method},
          {"steps", stage.steps},
          {"accuracy", stage.accuracy},
          {"parity",
           {{"pictures", stage.parity.pictures},
            {"trained_accuracy", stage.parity.trained_accuracy},
            {"engine_accuracy", stage.parity.engine_accuracy},
            {"other_class", stage.parity.other_class},
            {"largest_difference", stage.parity.largest_difference}}}};
}

report::Json to_json(const recipes::StagePlan& stage) {
  report::Json layers = report::Json::array();
  for (const recipes::PlannedLayer& layer : stage.layers) {
    layers.push_back({{"name", layer.name},
                      {"op", layer.op},
                      {"has_weights", layer.has_weights},
                      {"first", layer.first},
                      {"second", layer.second}});
  }
  return {{"name", stage.name},
          {"method", stage.method},
          {"epochs", stage.epochs},
          {"batch", stage.batch},
          {"steps_per_epoch", stage.steps_per_epoch},
          {"parameters", stage.parameters},
          {"quantizer_parameters", stage.quantizer_parameters},
          {"seconds_per_step", stage.seconds_per_step},
          {"memory", stage.memory},
          {"layers", layers}};
}

std::string to_text(const recipes::StagePlan& stage) {
  const double epoch = stage.seconds_per_step * static_cast<double>(stage.steps_per_epoch);
  std::string text = fmt::format(
      "{}: {}, {} epochs of {} steps with {} pictures\n"
      "  {} parameters, {} of quantizers; {:.0f} ms a step, {} an epoch, {} in all; up to {} of "
      "memory\n",
      report::printable(stage.name), stage.method, stage.epochs, stage.steps_per_epoch, stage.batch,
      stage.parameters, stage.quantizer_parameters, 1e3 * stage.seconds_per_step,
      report::duration_text(epoch),
      report::duration_text(epoch * static_cast<double>(stage.epochs)),
      report::bytes_text(stage.memory));
  for (const recipes::PlannedLayer& layer : stage.layers) {
    text += fmt::format("    {:<40} {:<7} activations {:<12} {} {}\n",
                        report::printable(layer.name), layer.op, layer.first,
                        layer.has_weights ? "weights" : "activations", layer.second);
  }
  return text;
}

int plan_only(const recipes::Recipe& recipe, const TrainOptions& options) {
  report::Json json{
      {"name", recipe.name}, {"seed", recipe.seed}, {"stages", report::Json::array()}};
  std::string text = recipe.name + "\n";
  for (const recipes::StagePlan& stage : recipes::plan(recipe, options.common.threads)) {
    json["stages"].push_back(to_json(stage));
    text += to_text(stage);
  }
  print_result(options.common, json, text);
  return 0;
}

int carry_out(const TrainOptions& options, const Invocation&) {
  const recipes::Recipe recipe = recipes::read_recipe(options.recipe, options.settings);
  if (options.dry_run) return plan_only(recipe, options);
  recipes::RunOptions run_options;
  run_options.output = options.output.empty() ? "runs/" + recipe.name : options.output;
  run_options.threads = options.common.threads;
  run_options.loaders = options.loaders;
  const bool speaks = recipes::is_first_process();
  Progress progress(options.common);
  run_options.report = [&](const std::string& what, int64_t done, int64_t total,
                           const std::string& line) {
    if (was_interrupted()) return false;
    if (speaks) progress.step(what, done, total, line);
    return true;
  };
  const recipes::RunResult result = recipes::run(recipe, run_options);
  progress.clear();
  if (!result.finished) throw Interrupted();
  if (!speaks) return 0;
  report::Json json{{"output", run_options.output.string()}, {"stages", report::Json::array()}};
  std::string text;
  for (const recipes::StageResult& stage : result.stages) {
    json["stages"].push_back(to_json(stage));
    text += fmt::format(
        "{}: {:.2f} % on the test set; of {} pictures of it {:.2f} % as trained and {:.2f} % "
        "frozen in the engine ({} another class, logits within {:.1e} of their range)\n",
        report::printable(stage.name), 100 * stage.accuracy, stage.parity.pictures,
        100 * stage.parity.trained_accuracy, 100 * stage.parity.engine_accuracy,
        stage.parity.other_class, stage.parity.largest_difference);
  }
  text += "written to " + report::printable(run_options.output.string()) + "\n";
  print_result(options.common, json, text);
  return 0;
}

constexpr const char* kExamples =
    "  ounce train recipes/lsq-resnet20-cifar10.toml\n"
    "  ounce train recipe.toml -o runs/second --set seed=2 --set stage.1.epochs=5\n"
    "A run that was stopped goes on when the same command is given again.\n";

}  // namespace

void add_training(CLI::App& app, Invocation& invocation) {
  invocation.tuner = [](const quantize::Options& options, TuningRun run) {
    quantize::Refinement refine;
    if (quantize::is_learned(options.rounding)) {
      methods::BlockTuningOptions tuning = methods::tuning_options(options, run.seed);
      tuning.saved = std::move(run.saved);
      tuning.identity = std::move(run.identity);
      refine = methods::block_tuning(tuning);
    }
    if (options.range_loss == quantize::ErrorWeighing::kFisher) {
      refine.weigh = methods::range_weights(run.seed, options.threads);
    }
    return refine;
  };
  invocation.synthesizer = methods::synthesize;
  add_quantize(app, invocation);
  add_command<TrainOptions>(app, invocation, "train", "Train a network by a recipe", kExamples,
                            define, carry_out);
}

}  // namespace ounce::cli
