#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/model_input.h"
#include "cli/progress.h"
#include "engine/isa.h"
#include "engine/reference/reference.h"
#include "graph/operator.h"
#include "quantize/analysis/operation_count.h"
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

using Counts = std::vector<std::optional<quantize::OperationCount>>;

report::Json to_json(const std::optional<quantize::OperationCount>& count) {
  if (!count) return nullptr;
  return {{"products", count->products}, {"others", count->others}};
}

/// How much faster the fewer operations of the first model promise to be.
std::optional<double> theoretical_speedup(const Counts& counts) {
  if (!counts[0] || !counts[1] || counts[0]->total() == 0) return std::nullopt;
  return counts[1]->total() / counts[0]->total();
}

double measured_speedup(const std::vector<report::Measurement>& results) {
  return results[1].quantile_ms(0.5) / results[0].quantile_ms(0.5);
}

report::Json result_json(const std::vector<report::Measurement>& results, const Counts& counts,
                         const BenchOptions& options) {
  report::Json json = report::to_json(results[0], options.common.threads);
  json["operations"] = to_json(counts[0]);
  json["peak_rss_bytes"] = report::peak_resident_bytes();
  json["instruction_set"] = std::string(engine::isa_name(engine::current_isa()));
  json["seed"] = options.common.seed;
  if (results.size() > 1) {
    json["against"] = report::to_json(results[1], options.common.threads);
    json["against"]["operations"] = to_json(counts[1]);
    json["speedup"] = measured_speedup(results);
    const auto theoretical = theoretical_speedup(counts);
    json["theoretical_speedup"] = theoretical ? report::Json(*theoretical) : report::Json(nullptr);
  }
  return json;
}

std::string theory_text(const std::vector<report::Measurement>& results, const Counts& counts) {
  const auto theoretical = theoretical_speedup(counts);
  if (!theoretical) return "";
  return fmt::format(
      "\noperations: worth {:.4g} and {:.4g} M in floats, so {:.3g}x in theory; measured {:.3g}x\n",
      counts[0]->total() / 1e6, counts[1]->total() / 1e6, *theoretical, measured_speedup(results));
}

std::string result_text(const std::vector<report::Measurement>& results, const Counts& counts,
                        const BenchOptions& options) {
  std::string out = report::text(results);
  if (results.size() > 1) out += theory_text(results, counts);
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
  Counts counts;
  for (LoadedModel& model : models) {
    specialize_inputs(model.graph, input_shapes, {.evaluator = &engine::reference::evaluator()});
    counts.push_back(quantize::count_operations(model.graph));
  }
  print_result(options.common, result_json(results, counts, options),
               result_text(results, counts, options));
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
