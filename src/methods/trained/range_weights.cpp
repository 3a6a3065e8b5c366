#include "methods/trained/range_weights.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graph/error.h"
#include "methods/trained/squared_gradients.h"
#include "quantize/analysis/grid_losses.h"
#include "train/threads.h"

namespace ounce::methods {
namespace {

using quantize::Histogram;
using quantize::Observations;

/// A histogram in which each value counts by a weight.
class WeightedHistogram {
 public:
  explicit WeightedHistogram(quantize::Range interval)
      : bins_(interval), sums_(static_cast<size_t>(bins_.bins())) {}

  void add(std::span<const float> values, std::span<const float> weights) {
    const double low = bins_.interval().low;
    const auto last = sums_.size() - 1;
    for (size_t i = 0; i < values.size(); ++i) {
      const double position = (static_cast<double>(values[i]) - low) / bins_.width();
      if (position < 0.0 || values[i] > bins_.interval().high) continue;
      sums_[std::min(last, static_cast<size_t>(position))] += static_cast<double>(weights[i]);
    }
  }
  double total() const {
    double total = 0.0;
    for (const double sum : sums_) total += sum;
    return total;
  }
  /// In whole numbers, `unit` to one.
  Histogram counts(double unit) const {
    std::vector<uint64_t> counts;
    for (const double sum : sums_)
      counts.push_back(static_cast<uint64_t>(std::llround(sum / unit)));
    return {bins_.interval(), std::move(counts)};
  }

 private:
  Histogram bins_;
  std::vector<double> sums_;
};

class Weigher {
 public:
  Weigher(const Graph& prepared, const quantize::Plan& plan, uint64_t seed, int threads)
      : plan_(plan), prepared_(prepared), seed_(seed), threads_(threads) {
    for (size_t i = 0; i < plan.grids.size(); ++i) {
      const quantize::GridPlan& grid = plan.grids[i];
      if (grid.bits == quantize::kMaxBits) continue;
      if (!grid.ternary && !quantize::goes_by_squared_error(grid.range)) continue;
      narrow_.push_back(i);
      for (const ValueId id : grid.sources) readers_[id].push_back(i);
    }
    for (const auto& [id, grids] : readers_) values_.push_back(id);
  }

  void weigh(quantize::InputSource& source, const quantize::Progress& progress,
             Observations& observations) {
    if (values_.empty()) return;
    train::set_threads(threads_);
    const Observations plain = observations;
    try {
      if (prepared_.inputs.size() != 1) throw Error("has more than one input", "the network");
      count_by_weight(source, progress, observations);
    } catch (const quantize::Interrupted&) {
      throw;
    } catch (const Error& error) {
      progress.tell(std::string("errors of ranges count alike: ") + error.what());
      observations = plain;
      return;
    }
    judge(source, progress, plain, observations);
  }

 private:
  /// What the weights of a grid add up to, in whole numbers.
  static constexpr double kUnits = 1e12;

  void count_by_weight(quantize::InputSource& source, const quantize::Progress& progress,
                       Observations& observations) {
    std::map<size_t, WeightedHistogram> all;
    for (const size_t i : narrow_) {
      all.emplace(i, observations.grids[i].histogram.interval());
    }
    count(source, "range weights", progress, all);
    std::map<size_t, WeightedHistogram> bulk;
    for (const size_t i : narrow_) {
      const double total = all.at(i).total();
      if (!(total > 0.0)) continue;  // no output depends on it
      units_[i] = total / kUnits;
      quantize::ObservedData& data = observations.grids[i];
      data = {all.at(i).counts(units_[i]), std::nullopt};
      if (chosen(i, data).starved) {
        const auto request = quantize::request_for(prepared_, plan_.grids[i], data);
        bulk.emplace(i, quantize::refinement_window(data.histogram, request));
      }
    }
    if (bulk.empty()) return;
    count(source, "finer range weights", progress, bulk);
    for (const auto& [i, histogram] : bulk) {
      observations.grids[i].refined = histogram.counts(units_.at(i));
    }
  }

  /// Gradients know nothing of what a large error does. Where a range by weights moves the outputs
  /// further than the plain one, that is taken back.
  void judge(quantize::InputSource& source, const quantize::Progress& progress,
             const Observations& plain, Observations& weighed) const {
    constexpr size_t kRuns = 16;
    std::vector<std::vector<Tensor>> inputs;
    quantize::FirstRuns few(source, kRuns);
    quantize::for_each_run(few, "inputs", progress,
                           [&](const std::vector<Tensor>& run) { inputs.push_back(run); });
    const quantize::GridLosses losses(prepared_, plan_, std::move(inputs), threads_);
    size_t taken_back = 0;
    for (const size_t i : narrow_) {
      progress.step("judging ranges", static_cast<int64_t>(&i - narrow_.data()),
                    static_cast<int64_t>(narrow_.size()));
      const quantize::QuantParams before = chosen(i, plain.grids[i]).params;
      const quantize::QuantParams after = chosen(i, weighed.grids[i]).params;
      if (before == after || losses.loss(i, after) < losses.loss(i, before)) continue;
      weighed.grids[i] = plain.grids[i];
      ++taken_back;
    }
    progress.tell(std::to_string(taken_back) + " of " + std::to_string(narrow_.size()) +
                  " ranges are better with all errors alike");
  }

  quantize::RangeChoice chosen(size_t grid, const quantize::ObservedData& data) const {
    return quantize::choose_range(data, quantize::request_for(prepared_, plan_.grids[grid], data));
  }

  void count(quantize::InputSource& source, const char* what, const quantize::Progress& progress,
             std::map<size_t, WeightedHistogram>& histograms) {
    SquaredGradients gradients(prepared_, values_, seed_);
    quantize::for_each_run(source, what, progress, [&](const std::vector<Tensor>& inputs) {
      const std::vector<SquaredGradients::Seen> seen = gradients.at_values(inputs[0]);
      for (size_t i = 0; i < values_.size(); ++i) {
        const at::Tensor value = seen[i].value.contiguous();
        const at::Tensor squares = seen[i].squares.contiguous();
        const auto count = static_cast<size_t>(value.numel());
        for (const size_t grid : readers_.at(values_[i])) {
          const auto found = histograms.find(grid);
          if (found == histograms.end()) continue;
          found->second.add({value.data_ptr<float>(), count}, {squares.data_ptr<float>(), count});
        }
      }
    });
  }

  const quantize::Plan& plan_;
  const Graph& prepared_;
  uint64_t seed_;
  int threads_;
  std::vector<size_t> narrow_;                      // searched grids of fewer than 8 bits
  std::map<ValueId, std::vector<size_t>> readers_;  // those that observe a value
  std::vector<ValueId> values_;
  std::map<size_t, double> units_;
};

}  // namespace

quantize::Refinement::Weigh range_weights(uint64_t seed, int threads) {
  return [seed, threads](const Graph& prepared, const quantize::Plan& plan,
                         quantize::InputSource& source, const quantize::Progress& progress,
                         Observations& observations) {
    Weigher(prepared, plan, seed, threads).weigh(source, progress, observations);
  };
}

}  // namespace ounce::methods
