#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "methods/picture_goals.h"
#include "quantize/quantizer.h"
#include "report/json.h"

namespace ounce::cli {

/// A run of what learns the rounding of weights.
struct TuningRun {
  uint64_t seed = 1;
  /// Where tuned blocks are kept meanwhile, and what a run must have in common with the one that
  /// left them there to go on with them.
  std::filesystem::path saved;
  std::string identity;
};

/// What was typed, and what is to be done about it.
struct Invocation {
  std::vector<std::string> command;
  std::function<int()> action;
  /// Makes what learns the rounding of weights; empty in a program without a trainer.
  std::function<quantize::Refinement(const quantize::Options& options, TuningRun run)> tuner;
  /// Makes pictures [1, 3, height, width] to calibrate a network on; empty likewise.
  std::function<std::vector<Tensor>(const Graph& graph, const methods::SynthesisOptions& options,
                                    const quantize::Progress& progress)>
      synthesizer;
};

/// A mistake in the command line that the parser cannot see (exit code 2).
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Options that every subcommand has.
struct CommonOptions {
  bool json = false;
  int threads = 1;
  uint64_t seed = 1;
  bool progress = false;  // show progress even when stderr is no terminal
  bool verbose = false;
};

/// Adds --json --threads --seed --progress -v to `command`, bound to `options`.
void add_common_options(CLI::App& command, CommonOptions& options);

/// Adds the first argument of most subcommands, the model to work on.
void add_model_argument(CLI::App& command, std::string& model);
/// Adds --shape, which `parse_shapes` (cli/model_input.h) understands.
void add_shape_option(CLI::App& command, std::vector<std::string>& shapes);
/// Adds --runs, whose default is what `runs` holds.
void add_runs_option(CLI::App& command, int& runs);

/// Makes a subcommand whose options live as long as the parser: `Options` starts with defaults and
/// is shared by `define(app, options)` and `act(options, invocation)`.
template <class Options>
void add_command(CLI::App& app, Invocation& invocation, const std::string& name,
                 const std::string& description, const std::string& examples,
                 void (*define)(CLI::App&, Options&),
                 int (*act)(const Options&, const Invocation&)) {
  CLI::App* command = app.add_subcommand(name, description);
  auto options = std::make_shared<Options>();
  define(*command, *options);
  add_common_options(*command, options->common);
  command->footer("Examples:\n" + examples);
  command->callback([options, act, &invocation] {
    invocation.action = [options, act, &invocation] { return act(*options, invocation); };
  });
}

/// Prints `json` on stdout when asked for, else `text`.
void print_result(const CommonOptions& options, const report::Json& json, const std::string& text);

}  // namespace ounce::cli
