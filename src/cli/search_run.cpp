#include "cli/search_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <set>
#include <sstream>

#include "cli/interrupt.h"
#include "cli/model_input.h"
#include "cli/search_report.h"
#include "graph/error.h"
#include "quantize/search/costs.h"
#include "report/format.h"
#include "report/measurement.h"
#include "report/summary.h"

namespace ounce::cli {

using namespace quantize::search;

namespace {

constexpr const char* kStateFile = "search.json";
constexpr int kInterruptedCode = 130;
constexpr int kMissedCode = 1;
constexpr int kCostRepetitions = 15;

std::string read_text(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace

SearchRun::SearchRun(const SearchArguments& options, const Invocation& invocation)
    : options_(options),
      request_(make_request(options)),
      candidates_(candidates_of(options)),
      goal_(goal_of(options)),
      method_(methods::find_method(options.method)),
      folder_(output_folder(options)),
      graph_(load_model(options.model)),
      progress_(options.common),
      invocation_(invocation),
      data_(options.data, graph_, options.model, options.task) {}

// ---- state -------------------------------------------------------------------------------------

std::string SearchRun::fingerprint() const {
  std::vector<std::string> settings;
  for (const Setting& setting : candidates_.settings) settings.push_back(name_of(setting));
  return fmt::format(
      "ounce {}; model {}; data {}; {}; method {} {} softmax {} set [{}]; bits {}; sensitivity {}; "
      "threads {}; machine {}",
      make_provenance(invocation_, options_.common, options_.model).versions[0].second,
      file_hash(options_.model), data_.hash(), data_.text(), options_.method, request_.options,
      options_.softmax, fmt::join(options_.overrides, " "), fmt::join(settings, ","),
      options_.sensitivity, options_.common.threads, machine_text());
}

bool SearchRun::load_state() {
  const std::filesystem::path file = folder_ / kStateFile;
  std::error_code failed;
  if (options_.restart || !std::filesystem::exists(file, failed)) return false;
  state_ = from_json(read_text(file), file.string());
  if (state_.fingerprint != fingerprint()) {
    throw Error("is of a search with another model, other data, settings or machine", file.string(),
                "the same command again, another -o, or --restart");
  }
  return true;
}

void SearchRun::save_state() const {
  StagedOutput output(folder_);
  output.write_text(kStateFile, to_json(state_));
  output.commit();
}

// ---- measuring ---------------------------------------------------------------------------------

double SearchRun::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

std::string SearchRun::standing() const {
  std::string text = report::duration_text(seconds());
  if (options_.minutes > 0.0) {
    text += " of at most " + report::duration_text(60.0 * options_.minutes);
  }
  if (!best_) return text;
  return text + fmt::format(", best so far {:+.2f} points, {}, {:.2f} ms",
                            0.0 - best_->verdict.drop, report::bytes_text(best_->verdict.bytes),
                            best_->verdict.ms);
}

quantize::Progress SearchRun::hooks() {
  quantize::Progress hooks = quantize_hooks(progress_);
  hooks.report = [this](std::string_view stage, int64_t done, int64_t total) {
    stage_ = stage;
    stage_done_ = done;
    stage_total_ = total;
    progress_.step(stage_, done, total, standing());
  };
  return hooks;
}

quantize::Progress SearchRun::inner_hooks() {
  // What happens inside of a step keeps the line of the step, and moves behind it.
  quantize::Progress hooks = quantize_hooks(progress_);
  hooks.report = [this](std::string_view stage, int64_t done, int64_t total) {
    progress_.step(stage_, stage_done_, stage_total_,
                   fmt::format("{} {}/{}, {}", stage, done, total, standing()));
  };
  return hooks;
}

void SearchRun::open_workbench() {
  const Subject subject{&graph_, methods::configure(method_, request_), candidates_.settings,
                        &data_.calibration()};
  workbench_.emplace(subject, hooks());
  progress_.clear();
  for (const std::string& note : workbench_->notes()) spdlog::info("{}", note);
}

void SearchRun::measure_costs() {
  Costs costs = quantize::search::measure_costs(*workbench_, options_.common.threads,
                                                kCostRepetitions, hooks());
  state_.fingerprint = fingerprint();
  state_.units = std::move(costs.units);
  state_.float_ms = costs.float_ms;
}

double SearchRun::latency_of(const Graph& graph, engine::KernelHints& hints) {
  data_.calibration().restart();
  const auto inputs = data_.calibration().next();
  report::MeasureOptions timing;
  timing.threads = options_.common.threads;
  timing.runs = options_.runs;
  const std::vector<const Graph*> graphs{&graph_, &graph};
  const auto measured = report::measure_interleaved(
      graphs, inputs.value(), timing,
      [&](int64_t done, int64_t total) { inner_hooks().step("timing", done, total); });
  hints = measured[1].kernel_hints;
  if (state_.exact.ms <= 0.0) state_.exact.ms = measured[0].latency().median_ms;
  // The machine may be slower now than it was, and change from run to run: each run is set against
  // the one of the float model right before it.
  std::vector<double> ratios;
  for (size_t i = 0; i < measured[1].run_ms.size(); ++i) {
    ratios.push_back(measured[1].run_ms[i] / measured[0].run_ms[i]);
  }
  const auto middle = ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2);
  std::nth_element(ratios.begin(), middle, ratios.end());
  return *middle * state_.exact.ms;
}

void SearchRun::judge_float() {
  stage_ = "judging float";
  const SearchData::Score score =
      data_.judge(graph_, options_.common.threads,
                  [&](int64_t done, int64_t total) { hooks().step("judging float", done, total); });
  float_metrics_ = score.metrics;
  if (state_.exact.ms > 0.0) return;
  state_.exact.metric = score.metric;
  state_.exact.bytes = file_bytes(options_.model);
  engine::KernelHints unused;
  state_.exact.ms = latency_of(graph_, unused);
}

report::Json SearchRun::layers_json(const Assignment& assignment) const {
  report::Json layers = report::Json::object();
  for (size_t u = 0; u < state_.units.size(); ++u) {
    for (const std::string& layer : state_.units[u].layers) {
      layers[layer] = name_of(state_.units[u].choices[assignment[u]].setting);
    }
  }
  return layers;
}

void SearchRun::quantize_trial(const Assignment& assignment) {
  result_ = workbench_->quantized(state_.units, assignment, inner_hooks());
  const std::string label =
      fmt::format("W{:.1f} mixed", mean_weight_bits(state_.units, assignment));
  record_ =
      std::make_unique<CompressionRecord>(CompressionSubject{graph_,
                                                             options_.model,
                                                             options_.method,
                                                             summary_of(state_.units, assignment),
                                                             label,
                                                             {{"bits", label},
                                                              {"layers", layers_json(assignment)},
                                                              {"softmax", options_.softmax},
                                                              {"options", request_.options},
                                                              {"set", options_.overrides}}},
                                          invocation_, options_.common);
  report::Provenance& provenance = record_->report().provenance;
  provenance.data = options_.data.data.data;
  provenance.data_items = data_.calibration_items();
  provenance.data_hash = data_.hash();
}

Verdict SearchRun::judge(const Assignment& assignment) {
  quantize_trial(assignment);
  const SearchData::Score score =
      data_.judge(result_.graph, options_.common.threads,
                  [&](int64_t done, int64_t total) { inner_hooks().step("judging", done, total); });
  metrics_ = score.metrics;
  Verdict verdict;
  verdict.metric = score.metric;
  verdict.drop = 100.0 * (state_.exact.metric - score.metric);
  verdict.loss = score.loss;
  engine::KernelHints hints;
  verdict.ms = latency_of(result_.graph, hints);
  record_->set_kernel_hints(std::move(hints));
  staged_ = std::make_unique<StagedOutput>(folder_);
  record_->write_models(result_, data_.task(), *staged_);
  verdict.bytes = file_bytes(staged_->path("model.ounce"));
  return verdict;
}

SearchOptions SearchRun::search_options() const {
  SearchOptions options;
  options.goal = goal_;
  options.allow_float = candidates_.allow_float;
  options.time_limit = 60.0 * options_.minutes;
  // Two pictures more or less are no news.
  options.noise = 200.0 / static_cast<double>(data_.judged_items());
  options.runs = std::min(options_.sensitivity, data_.judged_items());
  return options;
}

Instruments SearchRun::instruments() {
  Instruments instruments;
  instruments.loss = [this](const Unit& unit, const Setting& setting, int64_t runs) {
    if (unit_losses_ == nullptr) {
      unit_losses_ =
          std::make_unique<UnitLosses>(*workbench_, data_.some_judged(options_.sensitivity),
                                       options_.common.threads, inner_hooks());
    }
    return unit_losses_->loss(unit, setting, runs, inner_hooks());
  };
  instruments.judge = [this](const Assignment& assignment) { return judge(assignment); };
  instruments.keep = [this](const Trial& trial) { keep(trial); };
  instruments.save = [this] { save_state(); };
  instruments.seconds = [this] { return seconds(); };
  return instruments;
}

// ---- what is left on the disk ------------------------------------------------------------------

void SearchRun::describe(const Trial& trial, bool complete) {
  report::Compression& report = record_->report();
  report.before.latency = report::Latency{state_.exact.ms, state_.exact.ms, options_.runs};
  report.after.latency = report::Latency{trial.verdict.ms, trial.verdict.ms, options_.runs};
  for (const auto& [name, value] : float_metrics_) {
    report.metrics.push_back({name, value, metrics_.at(name), "%"});
  }
  report.search = search_of(state_, trial, search_options(), data_, complete);
  report.notes.push_back(data_.text());
  for (const std::string& note : workbench_->notes()) report.notes.push_back(note);
  report.provenance.skipped = skipped_lines(data_.skipped());
}

void SearchRun::name_reasons(const Trial& trial) {
  std::set<std::string> chosen;
  for (size_t u = 0; u < state_.units.size(); ++u) {
    const Unit& unit = state_.units[u];
    if (!unit.choices[trial.assignment[u]].setting.is_float()) continue;
    chosen.insert(unit.layers.begin(), unit.layers.end());
  }
  for (report::KeptFloat& kept : record_->report().kept_float) {
    if (chosen.count(kept.name) != 0) kept.reason = "chosen by the search";
  }
}

void SearchRun::keep(const Trial& trial) {
  best_ = trial;
  record_->finish("search");
  describe(trial, false);
  record_->describe(result_, folder_);
  name_reasons(trial);
  record_->write_reports(*staged_, staged_->path(""));
  staged_->commit();
}

bool SearchRun::is_on_disk(const Assignment& assignment) const {
  const report::Json manifest =
      report::Json::parse(read_text(folder_ / "manifest.json"), nullptr, false);
  if (!manifest.is_object() || !manifest.contains("files") || !manifest["files"].is_array() ||
      manifest.value("layers", report::Json()) != layers_json(assignment)) {
    return false;
  }
  for (const report::Json& file : manifest["files"]) {
    const std::filesystem::path path = folder_ / file.value("name", "");
    std::error_code failed;
    if (!std::filesystem::is_regular_file(path, failed) ||
        file.value("hash", "") != file_hash(path)) {
      return false;
    }
  }
  return true;
}

void SearchRun::finish(const Outcome& outcome) {
  // The best model anew, with everything that was too slow to do for each trial.
  stage_ = "finishing";
  stage_total_ = 0;
  quantize_trial(outcome.best.assignment);
  metrics_ =
      data_
          .judge(result_.graph, options_.common.threads,
                 [&](int64_t done, int64_t total) { inner_hooks().step("judging", done, total); })
          .metrics;
  describe(outcome.best, outcome.ending == Ending::kDone);
  record_->finish("search");
  record_->measure(result_, methods::configure(method_, request_), data_.calibration(),
                   options_.runs, progress_);
  staged_ = std::make_unique<StagedOutput>(folder_);
  // What was judged stays, to the byte: kernels timed anew could change its size.
  const bool kept = is_on_disk(outcome.best.assignment);
  if (!kept) record_->write_models(result_, data_.task(), *staged_);
  if (options_.compare > 0) {
    quantize::TensorSource inputs(data_.some_judged(options_.compare));
    record_->compare_tensors(result_, inputs, 0, progress_);
  }
  record_->finish("finish");
  record_->describe(result_, folder_);
  name_reasons(outcome.best);
  record_->report().files.push_back((folder_ / kStateFile).string());
  record_->write_reports(*staged_, kept ? folder_ : staged_->path(""));
  staged_->commit();
  progress_.clear();
}

int SearchRun::tell(const Outcome& outcome) {
  const report::Compression& report = record_->report();
  warn_skipped(data_.skipped(), data_.calibration_items() + data_.judged_items());
  std::string text = data_.text() + "\n\n" + search_text(*report.search) + "\n" +
                     report::summary_text(report) + "\nwritten to " +
                     report::printable(folder_.string()) + "\n";
  if (outcome.ending == Ending::kOutOfTime) {
    text += "out of time; the same command goes on where this one stopped (--minutes)\n";
  }
  print_result(options_.common, report::to_json(report), text);
  if (outcome.met) return 0;
  const char* why = outcome.ending == Ending::kDone ? "no setting meets" : "not met so far:";
  fmt::print(stderr, "ounce: {} {}; the best is {} (try: {})\n", why, report.search->goal,
             trial_text(state_, outcome.best),
             outcome.ending == Ending::kDone ? "another goal, or float among --bits"
                                             : "the same command again, it goes on");
  return kMissedCode;
}

int SearchRun::interrupted() {
  progress_.clear();
  if (!state_.units.empty()) save_state();
  const std::string where = report::printable(folder_.string());
  const std::string goes_on = "the same command goes on where this one stopped";
  if (best_) {
    fmt::print(stderr, "ounce: interrupted; {} holds the best so far, {}; {}\n", where,
               trial_text(state_, *best_), goes_on);
  } else {
    fmt::print(stderr, "ounce: interrupted before a model was tried; {}\n", goes_on);
  }
  return kInterruptedCode;
}

// ---- the two things to do ----------------------------------------------------------------------

int SearchRun::carry_out() {
  try {
    const bool goes_on = load_state();
    open_workbench();
    if (!goes_on) measure_costs();
    judge_float();
    save_state();
    Search search(state_, search_options(), instruments(), hooks());
    best_ = search.best();
    const Outcome outcome = search.run();
    finish(outcome);
    return tell(outcome);
  } catch (const Interrupted&) {
    return interrupted();
  } catch (const quantize::Interrupted&) {
    return interrupted();
  }
}

int SearchRun::plan_only() {
  if (!load_state()) {
    open_workbench();
    measure_costs();
  } else {
    open_workbench();
  }
  progress_.clear();
  const Search search(state_, search_options(), instruments(), hooks());
  const Search::Work work = search.work_left();
  const auto runs = static_cast<double>(search_options().runs);
  // A trial judges, times and writes; calibration is shared, a reading or two for each setting.
  const double loss_seconds = static_cast<double>(work.losses) * runs * state_.float_ms * 1e-3;
  const double trial_seconds = static_cast<double>(work.trials) *
                               (static_cast<double>(data_.judged_items()) + 3.0 * options_.runs) *
                               state_.float_ms * 1e-3;
  const double calibration_seconds = static_cast<double>(candidates_.settings.size()) * 4.0 *
                                     static_cast<double>(data_.calibration_items()) *
                                     state_.float_ms * 1e-3;
  const double estimate = loss_seconds + trial_seconds + calibration_seconds;
  const auto worth = worthwhile(state_.units, goal_.cost, candidates_.allow_float);
  report::Json json{{"goal", goal_text(goal_, data_.metric())},
                    {"data", data_.text()},
                    {"sensitivities", work.losses},
                    {"trials", work.trials},
                    {"seconds", estimate},
                    {"units", report::Json::array()},
                    {"notes", workbench_->notes()}};
  std::string text = fmt::format("{}\n{}\n", json["goal"].get<std::string>(), data_.text());
  for (size_t u = 0; u < state_.units.size(); ++u) {
    report::Json settings = report::Json::array();
    std::string line;
    for (size_t c = 0; c < state_.units[u].choices.size(); ++c) {
      if (!worth[u][c]) continue;
      const Choice& choice = state_.units[u].choices[c];
      settings.push_back(
          {{"setting", name_of(choice.setting)}, {"ms", choice.ms}, {"bytes", choice.bytes}});
      line += fmt::format("  {} {:.3f} ms {}", name_of(choice.setting), choice.ms,
                          report::bytes_text(choice.bytes));
    }
    json["units"].push_back({{"layers", state_.units[u].layers}, {"settings", settings}});
    text += report::printable(state_.units[u].name) + ":" + line + "\n";
  }
  for (const std::string& note : workbench_->notes()) text += report::printable(note) + "\n";
  text += fmt::format(
      "{} sensitivities on {} pictures, {} models or more to try: about {} (at most {})\n",
      work.losses, search_options().runs, work.trials, report::duration_text(estimate),
      options_.minutes > 0.0 ? report::duration_text(60.0 * options_.minutes) : "what it takes");
  print_result(options_.common, json, text);
  return 0;
}

}  // namespace ounce::cli
