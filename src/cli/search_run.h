#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "cli/compression_record.h"
#include "cli/search_data.h"
#include "cli/search_options.h"
#include "quantize/search/search.h"
#include "quantize/search/unit_losses.h"
#include "quantize/search/workbench.h"

namespace ounce::cli {

/// One run of `ounce search`: instruments for the search, and what it leaves on the disk.
class SearchRun {
 public:
  SearchRun(const SearchArguments& options, const Invocation& invocation);

  /// Says what would be measured.
  int plan_only();
  /// Searches. The folder holds the best so far at any time; exit code 1 when the goal is not met.
  int carry_out();

 private:
  using Assignment = quantize::search::Assignment;
  using Trial = quantize::search::Trial;

  std::string fingerprint() const;
  bool load_state();
  void save_state() const;
  void open_workbench();
  void measure_costs();
  void judge_float();
  quantize::search::SearchOptions search_options() const;
  quantize::search::Instruments instruments();
  quantize::search::Verdict judge(const Assignment& assignment);
  /// Median ms; `hints` receives the kernels that were fastest.
  double latency_of(const Graph& graph, engine::KernelHints& hints);
  void quantize_trial(const Assignment& assignment);
  report::Json layers_json(const Assignment& assignment) const;
  void keep(const Trial& trial);
  bool is_on_disk(const Assignment& assignment) const;
  void describe(const Trial& trial, bool complete);
  void name_reasons(const Trial& trial);
  void finish(const quantize::search::Outcome& outcome);
  int tell(const quantize::search::Outcome& outcome);
  int interrupted();
  double seconds() const;
  quantize::Progress hooks();
  quantize::Progress inner_hooks();
  std::string standing() const;

  const SearchArguments& options_;
  methods::Request request_;
  Candidates candidates_;
  quantize::search::Goal goal_;
  const methods::Method& method_;
  std::filesystem::path folder_;
  Graph graph_;
  Progress progress_;
  const Invocation& invocation_;
  SearchData data_;
  quantize::search::State state_;
  std::optional<quantize::search::Workbench> workbench_;
  std::unique_ptr<quantize::search::UnitLosses> unit_losses_;
  std::unique_ptr<CompressionRecord> record_;  // of the model judged last
  std::unique_ptr<StagedOutput> staged_;       // its files
  quantize::QuantizeResult result_;
  std::map<std::string, double> float_metrics_;
  std::map<std::string, double> metrics_;  // of the model judged last
  std::optional<Trial> best_;
  // What the progress line shows.
  std::string stage_ = "preparing";
  int64_t stage_done_ = 0;
  int64_t stage_total_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace ounce::cli
