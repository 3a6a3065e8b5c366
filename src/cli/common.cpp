#include "cli/common.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>

#include "graph/error.h"

namespace ounce::cli {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kMaxRuns = 1'000'000;

void log_to_stderr() {
  auto logger =
      std::make_shared<spdlog::logger>("ounce", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spdlog::level::debug);
  spdlog::set_default_logger(logger);
}

}  // namespace

void add_common_options(CLI::App& command, CommonOptions& options) {
  const std::string group = "Common options";
  command.add_flag("--json", options.json, "Print the result as JSON")->group(group);
  command.add_option("--threads", options.threads, "Threads of the engine")
      ->check(CLI::Range(1, kMaxThreads))
      ->capture_default_str()
      ->group(group);
  command.add_option("--seed", options.seed, "Seed of everything random")
      ->capture_default_str()
      ->group(group);
  command.add_flag("--progress", options.progress, "Show progress even when stderr is no terminal")
      ->group(group);
  command
      .add_flag_callback(
          "-v,--verbose",
          [&options] {
            options.verbose = true;
            log_to_stderr();
          },
          "Log what is being done, on stderr")
      ->group(group);
  spdlog::set_level(spdlog::level::off);
}

void add_model_argument(CLI::App& command, std::string& model) {
  command.add_option("model", model, "Model file (.onnx, .ounce)")->required();
}

void add_shape_option(CLI::App& command, std::vector<std::string>& shapes) {
  command.add_option("--shape", shapes, "Input shape, name=1x3x224x224");
}

void add_runs_option(CLI::App& command, int& runs) {
  command.add_option("--runs", runs, "Timed runs of each model")
      ->check(CLI::Range(1, kMaxRuns))
      ->capture_default_str();
}

void print_result(const CommonOptions& options, const report::Json& json, const std::string& text) {
  const std::string out = options.json ? report::json_text(json) + '\n' : text;
  if (std::fwrite(out.data(), 1, out.size(), stdout) != out.size() || std::fflush(stdout) != 0) {
    throw Error("cannot write the result", "stdout");
  }
}

}  // namespace ounce::cli
