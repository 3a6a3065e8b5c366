#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/model_input.h"
#include "cli/progress.h"
#include "engine/isa.h"
#include "report/format.h"
#include "report/measurement.h"

namespace ounce::cli {
namespace {

struct BenchOptions {
  CommonOptions common;
  std::string model;
  std::string against;
  int runs = 50;
  int warmup = 3;
  bool profile = false;
  bool no_winograd = false;
  std::vector<std::string> shapes;
};

void define(CLI::App& app, BenchOptions& options) {
  add_model_argument(app, options.model);
  app.add_option("--against", options.against,
                 "Second model, timed run by run in turn with the first on the same inputs");
  add_runs_option(app, options.runs);
  app.add_option("--warmup", options.warmup, "Runs before the clock starts")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_flag("--profile", options.profile, "Time every layer");
  app.add_flag("--no-winograd", options.no_winograd,
               "Float 3x3 convolutions as plain sums of products");
  add_shape_option(app, options.shapes);
}

struct LoadedModel {
  std::string path;
  double read_ms = 0;
  Graph graph;
};

LoadedModel load(const std::string& path) {
  const auto start = std::chrono::steady_clock::now();
  LoadedModel model{path, 0, load_model(path)};
  model.read_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return model;
}

report::Json result_json(const std::vector<report::Measurement>& results,
                         const BenchOptions& options) {
  report::Json json = report::to_json(results[0], options.common.threads);
  json["peak_rss_bytes"] = report::peak_resident_bytes();
  json["instruction_set"] = std::string(engine::isa_name(engine::current_isa()));
  json["seed"] = options.common.seed;
  if (results.size() > 1) {
    json["against"] = report::to_json(results[1], options.common.threads);
    json["speedup"] = results[1].quantile_ms(0.5) / results[0].quantile_ms(0.5);
  }
  return json;
}

std::string result_text(const std::vector<report::Measurement>& results,
                        const BenchOptions& options) {
  std::string out = report::text(results);
  out += "\n" + std::to_string(options.runs) + " runs, " + std::to_string(options.common.threads) +
         " thread(s), " + std::string(engine::isa_name(engine::current_isa())) + ", peak RSS " +
         report::bytes_text(report::peak_resident_bytes()) + "\n";
  if (!options.profile) return out;
  for (const report::Measurement& one : results) {
    out += "\n" + report::printable(one.label) + "\n" + report::profile_text(one);
  }
  return out;
}

int bench(const BenchOptions& options, const Invocation&) {
  const auto shapes = parse_shapes(options.shapes);
  std::vector<LoadedModel> models;
  models.push_back(load(options.model));
  if (!options.against.empty()) models.push_back(load(options.against));
  const std::vector<Shape> input_shapes = report::input_shapes(models[0].graph, shapes);
  const std::vector<Tensor> inputs =
      report::random_inputs(models[0].graph, input_shapes, options.common.seed);
  std::vector<const Graph*> graphs;
  for (const LoadedModel& model : models) graphs.push_back(&model.graph);

  report::MeasureOptions measure;
  measure.threads = options.common.threads;
  measure.runs = options.runs;
  measure.warmup = options.warmup;
  measure.profile = options.profile || options.common.json;
  measure.winograd = !options.no_winograd;
  Progress progress(options.common);
  std::vector<report::Measurement> results = report::measure_interleaved(
      graphs, inputs, measure,
      [&](int64_t done, int64_t total) { progress.step("timing", done, total); });
  progress.clear();
  for (size_t i = 0; i < results.size(); ++i) {
    results[i].label = models[i].path;
    results[i].read_ms = models[i].read_ms;
  }
  print_result(options.common, result_json(results, options), result_text(results, options));
  return 0;
}

constexpr const char* kExamples =
    "  ounce bench model.onnx --threads 2\n"
    "  ounce bench out/model.ounce --against model.onnx\n"
    "  ounce bench model.onnx --profile --runs 20\n"
    "  ounce bench model.onnx --shape pixels=8x3x224x224 --json\n";

}  // namespace

void add_bench(CLI::App& app, Invocation& invocation) {
  add_command<BenchOptions>(app, invocation, "bench",
                            "Time a model: latency, throughput, memory, layers", kExamples, define,
                            bench);
}

}  // namespace ounce::cli
