#include "quantize/range.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "graph/error.h"
#include "quantize/least_squares.h"
#include "quantize/range_kl.h"

namespace ounce::quantize {
namespace {

constexpr std::array<std::pair<RangeRule, std::string_view>, 6> kNames = {{
    {RangeRule::kMinMax, "minmax"},
    {RangeRule::kPercentile, "percentile"},
    {RangeRule::kMse, "mse"},
    {RangeRule::kSymmetricMse, "symmetric-mse"},
    {RangeRule::kKl, "kl"},
    {RangeRule::kUnilateral, "uh"},
}};

/// A range over fewer bins touches the first candidate of the searches, give or take what rounding
/// the zero point moves.
constexpr double kStarvedBins = 1.25 * kFirstCandidateBin;

/// Outliers above this share of the mass are no outliers.
constexpr double kRefinementQuantile = 0.9999;

Range data_range(const Histogram& histogram) {
  const Range interval = histogram.interval();
  return {std::min(0.0F, interval.low), std::max(0.0F, interval.high)};
}

const Histogram& search_histogram(const ObservedData& data) {
  return data.refined ? *data.refined : data.histogram;
}

/// Keeps the range with the least error; of equals the later one.
class Best {
 public:
  Best(const BinPoints& points, const RangeRequest& request) : points_(points), request_(request) {}

  void offer(double low, double high) {
    const Range range{static_cast<float>(low), static_cast<float>(high)};
    const double error = points_.squared_error(request_.integer_zero_point
                                                   ? levels_of(affine_params(range, request_.bits))
                                                   : levels_over(range, request_.bits));
    if (error <= error_) {
      error_ = error;
      range_ = range;
    }
  }
  Range range() const { return range_; }

 private:
  const BinPoints& points_;
  const RangeRequest& request_;
  double error_ = std::numeric_limits<double>::infinity();
  Range range_;
};

Range search_unilateral(const ObservedData& data, const RangeRequest& request) {
  const BinPoints points(data, request.behind);
  const Range all = data_range(data.histogram);
  float low = all.low;
  // A tensor that falls below its bound is not what the graph said it is: believe the data.
  constexpr float kSlack = 1e-4F;
  if (request.lower_bound && request.lower_bound->tight &&
      data.histogram.interval().low >= request.lower_bound->value - kSlack) {
    low = std::min(0.0F, request.lower_bound->value);
  }
  const Histogram& bins = search_histogram(data);
  Best best(points, request);
  for (int i = kFirstCandidateBin; i < bins.bins(); ++i) {
    if (bins.centre(i) > 0.0) best.offer(low, bins.centre(i));
  }
  best.offer(low, all.high);
  return best.range();
}

/// The grid of a signed code: one more step below zero than above.
Range symmetric_ends(double high, int bits) {
  const double codes = 1 << (bits - 1);
  return {static_cast<float>(-high * codes / (codes - 1.0)), static_cast<float>(high)};
}

Range search_symmetric(const ObservedData& data, const RangeRequest& request) {
  const BinPoints points(data, request.behind);
  const Range interval = search_histogram(data).interval();
  const double largest = std::max(std::fabs(interval.low), std::fabs(interval.high));
  Best best(points, request);
  for (int i = kFirstCandidateBin; i <= Histogram::kBins; ++i) {
    const Range ends = symmetric_ends(largest * i / Histogram::kBins, request.bits);
    best.offer(ends.low, ends.high);
  }
  return best.range();
}

/// Both ends: a coarse grid of shares of the data range, then finer grids about the best.
Range search_bilateral(const ObservedData& data, const RangeRequest& request) {
  const BinPoints points(data, request.behind);
  const Range all = data_range(data.histogram);
  const Range window = data_range(search_histogram(data));
  constexpr int kCoarse = 48;
  constexpr int kFine = 6;
  constexpr int kRounds = 3;
  Best best(points, request);
  double low_centre = 0.5 * window.low;
  double high_centre = 0.5 * window.high;
  double low_step = -window.low / kCoarse;
  double high_step = window.high / kCoarse;
  int reach = kCoarse / 2;
  for (int round = 0; round < kRounds; ++round) {
    // A side without data has step 0 and is tried once.
    const int low_reach = low_step > 0.0 ? reach : 0;
    const int high_reach = high_step > 0.0 ? reach : 0;
    for (int i = low_reach; i >= -low_reach; --i) {
      for (int j = -high_reach; j <= high_reach; ++j) {
        const double low = low_centre + i * low_step;
        const double high = high_centre + j * high_step;
        if (low <= 0.0 && high >= 0.0 && high > low) best.offer(low, high);
      }
    }
    low_centre = best.range().low;
    high_centre = best.range().high;
    low_step /= kFine;
    high_step /= kFine;
    reach = kFine;
  }
  best.offer(all.low, all.high);
  return best.range();
}

Range by_percentile(const ObservedData& data, const RangeRequest& request) {
  const double p = request.percentile / 100.0;
  if (!(p > 0.5 && p <= 1.0)) {
    throw Error("the percentile of a range lies above 50 and up to 100", {}, "99.99");
  }
  // Counts outside the refined window are mass too: shift the shares accordingly.
  const Histogram& bins = search_histogram(data);
  const auto inside = static_cast<double>(bins.total());
  const auto below = static_cast<double>(bins.below());
  const double all = inside + below + static_cast<double>(bins.above());
  const double high = bins.quantile((p * all - below) / inside);
  const double low = bins.quantile(((1.0 - p) * all - below) / inside);
  return {static_cast<float>(std::min(0.0, low)), static_cast<float>(std::max(0.0, high))};
}

Range by_kl(const ObservedData& data, const RangeRequest& request) {
  const float threshold = kl_threshold(search_histogram(data), request.bits);
  const Range all = data_range(data.histogram);
  return {std::max(all.low, -threshold), std::min(all.high, threshold)};
}

}  // namespace

std::string_view name_of(RangeRule rule) {
  for (const auto& [candidate, name] : kNames) {
    if (candidate == rule) return name;
  }
  return "?";
}

std::optional<RangeRule> range_rule_from_name(std::string_view name) {
  for (const auto& [rule, candidate] : kNames) {
    if (candidate == name) return rule;
  }
  return std::nullopt;
}

bool goes_by_squared_error(RangeRule rule) {
  return rule == RangeRule::kMse || rule == RangeRule::kSymmetricMse ||
         rule == RangeRule::kUnilateral;
}

RangeRule rule_of(RangeRule rule, bool ternary) {
  return ternary ? RangeRule::kSymmetricMse : rule;
}

Range choose_ends(const ObservedData& data, const RangeRequest& request) {
  check_bits(request.bits);
  if (data.histogram.bins() == 0 || data.histogram.total() == 0) {
    throw Error("no data was observed, so no range can be chosen", {},
                "at least one calibration input");
  }
  if (request.ternary) {
    const float scale = ternary_scale(BinPoints(data));
    return {-scale, scale};
  }
  switch (request.rule) {
    case RangeRule::kMinMax:
      return data_range(data.histogram);
    case RangeRule::kPercentile:
      return by_percentile(data, request);
    case RangeRule::kMse:
      return search_bilateral(data, request);
    case RangeRule::kSymmetricMse:
      return search_symmetric(data, request);
    case RangeRule::kKl:
      return by_kl(data, request);
    case RangeRule::kUnilateral:
      return search_unilateral(data, request);
  }
  return {};
}

RangeChoice choose_range(const ObservedData& data, const RangeRequest& request) {
  RangeChoice choice;
  const Range ends = choose_ends(data, request);
  choice.params = request.ternary ? ternary_params(ends.high) : affine_params(ends, request.bits);
  if (rule_of(request.rule, request.ternary) != RangeRule::kMinMax && !data.refined) {
    const Range range = choice.params.range();
    const Range interval = data.histogram.interval();
    const double covered = static_cast<double>(std::min(range.high, interval.high)) -
                           static_cast<double>(std::max(range.low, interval.low));
    const Range window = refinement_window(data.histogram, request);
    choice.starved = covered <= kStarvedBins * data.histogram.width() &&
                     interval.high > interval.low && window.high > window.low && window != interval;
  }
  return choice;
}

Range refinement_window(const Histogram& histogram, const RangeRequest& request) {
  Range window = histogram.interval();
  window.high = static_cast<float>(histogram.quantile(kRefinementQuantile));
  if (rule_of(request.rule, request.ternary) != RangeRule::kUnilateral) {
    window.low = static_cast<float>(histogram.quantile(1.0 - kRefinementQuantile));
  }
  return window;
}

Levels levels_of(const QuantParams& params) {
  const double step = params.scale;
  return {step * (params.lowest() - params.zero_point), step,
          params.highest() - params.lowest() + 1};
}

Levels levels_over(Range range, int bits) {
  const int count = 1 << bits;
  const double length = static_cast<double>(range.high) - static_cast<double>(range.low);
  return {range.low, length > 0.0 ? length / (count - 1) : 1.0, count};
}

BinPoints::BinPoints(const ObservedData& data, Function behind) : behind_(std::move(behind)) {
  constexpr double kAll = std::numeric_limits<double>::infinity();
  if (!data.refined) {
    append(data.histogram, -kAll, kAll);
    uniform_end_ = centres_.size();
    uniform_low_ = data.histogram.interval().low;
    uniform_width_ = data.histogram.width();
  } else {
    const Range window = data.refined->interval();
    append(data.histogram, -kAll, window.low);
    uniform_begin_ = centres_.size();
    append(*data.refined, -kAll, kAll);
    uniform_end_ = centres_.size();
    uniform_low_ = window.low;
    uniform_width_ = data.refined->width();
    append(data.histogram, window.high, kAll);
  }
  add_up();
}

void BinPoints::append(const Histogram& histogram, double above, double below) {
  for (int i = 0; i < histogram.bins(); ++i) {
    const double c = histogram.centre(i);
    if (c <= above || c >= below) continue;
    centres_.push_back(c);
    counts_.push_back(static_cast<double>(histogram.counts()[static_cast<size_t>(i)]));
  }
}

void BinPoints::add_up() {
  std::vector<float> results(centres_.begin(), centres_.end());
  if (behind_) {
    const std::vector<float> arguments = results;
    behind_(arguments, results);
  }
  sum0_ = sum1_ = sum2_ = {0.0};
  for (size_t i = 0; i < centres_.size(); ++i) {
    const double h = counts_[i];
    const double t = behind_ ? static_cast<double>(results[i]) : centres_[i];
    sum0_.push_back(sum0_.back() + h);
    sum1_.push_back(sum1_.back() + h * t);
    sum2_.push_back(sum2_.back() + h * t * t);
  }
}

size_t BinPoints::first_at_or_above(double x) const {
  const auto n = static_cast<double>(uniform_end_ - uniform_begin_);
  const double position = std::ceil((x - uniform_low_) / uniform_width_ - 0.5);
  if (position > 0.0 && position < n) return uniform_begin_ + static_cast<size_t>(position);
  return static_cast<size_t>(std::lower_bound(centres_.begin(), centres_.end(), x) -
                             centres_.begin());
}

double BinPoints::squared_error(const Levels& levels) const {
  const auto count = static_cast<size_t>(levels.count);
  std::vector<float> results;
  if (behind_) {
    std::vector<float> arguments(count);
    for (size_t k = 0; k < count; ++k) {
      arguments[k] = static_cast<float>(levels.low + static_cast<double>(k) * levels.step);
    }
    results.resize(count);
    behind_(arguments, results);
  }
  double error = 0.0;
  size_t begin = 0;
  for (size_t k = 0; k < count; ++k) {
    const double level = levels.low + static_cast<double>(k) * levels.step;
    const bool last = k + 1 == count;
    const size_t end =
        last ? centres_.size() : std::max(begin, first_at_or_above(level + 0.5 * levels.step));
    const double t = behind_ ? static_cast<double>(results[k]) : level;
    error += (sum2_[end] - sum2_[begin]) - 2.0 * t * (sum1_[end] - sum1_[begin]) +
             t * t * (sum0_[end] - sum0_[begin]);
    begin = end;
  }
  return std::max(error, 0.0);
}

}  // namespace ounce::quantize
