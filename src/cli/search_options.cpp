#include "cli/search_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cli/method_request.h"
#include "graph/error.h"
#include "quantize/affine.h"
#include "report/format.h"

namespace ounce::cli {
namespace {

using quantize::search::Cost;
using quantize::search::Goal;
using quantize::search::Setting;

constexpr int kFewestBits = 2;

void define_goal(CLI::App& app, SearchArguments& options) {
  const std::string group = "Goal (default: --max-drop 1)";
  app.add_option("--max-drop", options.max_drop,
                 "At most so many points (hundredths) of the metric below the float model, at the "
                 "least cost")
      ->check(CLI::Range(0.0, 100.0))
      ->group(group);
  app.add_option("--for", options.cost, "The cost that --max-drop makes least: latency or size")
      ->check(CLI::IsMember({"latency", "size"}))
      ->group(group);
  app.add_option("--max-bytes", options.max_bytes,
                 "The model file has at most so many bytes (3MB, 800kB), at the least drop")
      ->transform(CLI::AsSizeValue(true))
      ->group(group);
  app.add_option("--max-ms", options.max_ms,
                 "A run takes at most so many milliseconds here, at the least drop")
      ->check(CLI::PositiveNumber)
      ->group(group);
}

}  // namespace

void define_search(CLI::App& app, SearchArguments& options) {
  add_model_argument(app, options.model);
  app.add_option("-o,--output", options.output,
                 "Folder to fill, and to go on from (default: the model's name and -search)");
  add_data_options(app, options.data.data,
                   "calibrate on and to judge on, never the same ones; or a folder of .npy arrays",
                   true);
  define_goal(app, options);
  app.add_option("--bits", options.bits,
                 "Settings that layers may have: bits of weights (activations then have 8, or as "
                 "many), W4A8 for one pair alone, float")
      ->delimiter(',')
      ->default_str("8,6,4,3,2,float");
  app.add_option("--minutes", options.minutes,
                 "Time after which nothing new is begun (0: until nothing promising is left)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--calibration", options.data.calibration,
                 "Pictures to calibrate on, spread evenly (default: a third, at most 128)")
      ->check(CLI::PositiveNumber);
  app.add_option("--judge", options.data.judge,
                 "Pictures to judge on at most, spread evenly over the others (0: all)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--eval-data", options.data.eval_data,
                 "Labelled pictures that judge in place of a share of --data");
  app.add_option("--eval-images", options.data.eval_images,
                 "Folder of the pictures of --eval-data");
  app.add_option("--sensitivity", options.sensitivity,
                 "Judging pictures to measure single layers on")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_method_options(app, options);
  app.add_option("--compare", options.compare,
                 "Pictures to compare tensors on in the end, layer by layer (0: not)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_runs_option(app, options.runs);
  app.add_flag("--restart", options.restart, "Forget what an earlier search left in the folder");
  app.add_flag("--dry-run", options.dry_run,
               "Say what would be measured and how long it takes, and stop");
  add_task_options(app, options.task);
}

Goal goal_of(const SearchArguments& options) {
  const int given = static_cast<int>(options.max_drop.has_value()) +
                    static_cast<int>(options.max_bytes.has_value()) +
                    static_cast<int>(options.max_ms.has_value());
  if (given > 1) throw UsageError("--max-drop, --max-bytes, --max-ms: one goal at a time");
  if (!options.cost.empty() && (options.max_bytes || options.max_ms)) {
    throw UsageError("--for goes with --max-drop; a budget is met at the least drop");
  }
  Goal goal;
  if (options.max_bytes) {
    goal = {Goal::Kind::kBudget, Cost::kBytes, static_cast<double>(*options.max_bytes)};
  } else if (options.max_ms) {
    goal = {Goal::Kind::kBudget, Cost::kLatency, *options.max_ms};
  } else {
    goal.limit = options.max_drop.value_or(goal.limit);
    goal.cost = options.cost == "size" ? Cost::kBytes : Cost::kLatency;
  }
  return goal;
}

std::string goal_text(const Goal& goal, const std::string& metric) {
  if (goal.kind == Goal::Kind::kMaxDrop) {
    return fmt::format("a drop of at most {:g} {} of {} at least {}", goal.limit,
                       goal.limit == 1.0 ? "point" : "points", metric,
                       goal.cost == Cost::kBytes ? "size" : "latency");
  }
  return fmt::format("at most {} at the least drop of {}",
                     goal.cost == Cost::kBytes
                         ? report::bytes_text(static_cast<int64_t>(goal.limit))
                         : fmt::format("{:g} ms", goal.limit),
                     metric);
}

Candidates candidates_of(const SearchArguments& options) {
  Candidates candidates;
  std::set<Setting, std::greater<>> settings;
  for (const std::string& word : options.bits) {
    if (quantize::is_float_word(word)) {
      candidates.allow_float = true;
      continue;
    }
    const auto pair = quantize::search::setting_from_name(word);
    const auto bits = quantize::bits_from_text(word);
    const int fewest = pair ? std::min(pair->weight_bits, pair->activation_bits) : bits ? *bits : 0;
    if (fewest == 1) {
      throw UsageError("--bits " + word +
                       ": one bit without training loses everything (try: 8,6,4,3,2, or ounce "
                       "train)");
    }
    if (fewest < kFewestBits) {
      throw UsageError("--bits " + word +
                       ": no kernel runs this (try: 2 to 8, pairs such as W4A8, float)");
    }
    if (pair) {
      settings.insert(*pair);
    } else {
      settings.insert({*bits, quantize::kMaxBits});
      settings.insert({*bits, *bits});
    }
  }
  if (settings.empty()) {
    throw UsageError("--bits names nothing but float (try: 8,6,4,3,2,float)");
  }
  candidates.settings.assign(settings.begin(), settings.end());
  return candidates;
}

methods::Request make_request(const SearchArguments& options) {
  try {
    methods::Request request;
    request.threads = options.common.threads;
    request.softmax = quantize::softmax_codes_from_name(options.softmax)
                          .value_or(quantize::SoftmaxCodes::kUniform);
    add_typed(request, options.method, options.method_options, options.overrides);
    for (const quantize::Override& setting : request.overrides) {
      if (setting.key != "dynamic") continue;
      throw Error("bits are searched for calibrated grids", "--set dynamic", "ounce quantize");
    }
    // What loses much is for the search to find and to settle; what a layer of few bits needs is on
    // whatever the bits of its neighbours.
    const std::pair<const char*, const char*> defaults[] = {
        {"guard", "off"},          {"keep-ends8", "off"},   {"drop-slow-layers", "off"},
        {"bias-correction", "on"}, {"weight-range", "mse"}, {"embeddings8", "on"}};
    for (const auto& [name, value] : defaults) request.options.emplace(name, value);
    const quantize::Options settings =
        methods::configure(methods::find_method(options.method), request);
    if (quantize::is_learned(settings.rounding)) {
      throw Error("learning the rounding anew for every trial would take days", "--option rounding",
                  "gptq or nearest, and ounce quantize on what comes out");
    }
    return request;
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

std::filesystem::path output_folder(const SearchArguments& options) {
  if (!options.output.empty()) return options.output;
  return std::filesystem::path(options.model).stem().string() + "-search";
}

}  // namespace ounce::cli
