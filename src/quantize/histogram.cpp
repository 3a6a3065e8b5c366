#include "quantize/histogram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "graph/error.h"

namespace ounce::quantize {
namespace {

/// Comparisons by lanes compile to packed min/max without assuming that NaN does not occur.
constexpr size_t kLanes = 16;

}  // namespace

void Extent::add(std::span<const float> values, std::string_view tensor_name) {
  constexpr float kMax = std::numeric_limits<float>::max();
  std::array<float, kLanes> low;
  std::array<float, kLanes> high;
  low.fill(min_);
  high.fill(max_);
  std::array<uint32_t, kLanes> bad{};
  const auto see = [&](size_t lane, float x) {
    low[lane] = x < low[lane] ? x : low[lane];
    high[lane] = x > high[lane] ? x : high[lane];
    bad[lane] |= std::fabs(x) <= kMax ? 0U : 1U;
  };
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) see(lane, values[i + lane]);
  }
  for (; i < values.size(); ++i) see(0, values[i]);
  if (std::any_of(bad.begin(), bad.end(), [](uint32_t b) { return b != 0; })) {
    throw Error("NaN or infinity during calibration", "tensor '" + std::string(tensor_name) + "'",
                "check the weights and the preprocessing");
  }
  min_ = *std::min_element(low.begin(), low.end());
  max_ = *std::max_element(high.begin(), high.end());
  count_ += static_cast<int64_t>(values.size());
}

void Extent::merge(const Extent& other) {
  count_ += other.count_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

MeanMagnitude::MeanMagnitude(Range extent)
    : step_(std::ldexp(std::max(std::fabs(extent.low), std::fabs(extent.high)), -20)) {}

void MeanMagnitude::add(std::span<const float> values) {
  double sum = 0.0;
  for (const float value : values) sum += std::fabs(value);
  if (step_ > 0.0) steps_ += std::llround(sum / step_);
  count_ += static_cast<int64_t>(values.size());
}

float MeanMagnitude::mean() const {
  if (count_ == 0) return 0.0F;
  return static_cast<float>(static_cast<double>(steps_) * step_ / static_cast<double>(count_));
}

Histogram::Histogram(Range interval) : Histogram(interval, std::vector<uint64_t>(kBins)) {}

Histogram::Histogram(Range interval, std::vector<uint64_t> counts)
    : interval_(interval), counts_(std::move(counts)) {
  width_ = (static_cast<double>(interval.high) - static_cast<double>(interval.low)) / bins();
  if (!(width_ > 0.0)) width_ = std::max(1e-12, 1e-6 * std::fabs(interval.low));
}

void Histogram::add(std::span<const float> values) {
  if (counts_.empty()) return;
  const double low = interval_.low;
  const double per_unit = 1.0 / width_;
  const int last = bins() - 1;
  for (const float value : values) {
    if (value < interval_.low) {
      ++below_;
    } else if (value > interval_.high) {
      ++above_;
    } else {
      const int bin = static_cast<int>((static_cast<double>(value) - low) * per_unit);
      ++counts_[static_cast<size_t>(std::min(bin, last))];
    }
  }
}

void Histogram::merge(const Histogram& other) {
  if (interval_ != other.interval_ || bins() != other.bins()) {
    throw Error("histograms over different intervals cannot be merged");
  }
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  below_ += other.below_;
  above_ += other.above_;
}

uint64_t Histogram::total() const {
  uint64_t sum = 0;
  for (const uint64_t count : counts_) sum += count;
  return sum;
}

double Histogram::quantile(double p) const {
  // With n values, the quantile is the value number floor(p n) in ascending order, counted from 0:
  // the tolerance keeps p n = 3.9999999 from being number 3.
  const double wanted = std::clamp(p, 0.0, 1.0) * static_cast<double>(total()) * (1.0 + 1e-12);
  double sum = 0.0;
  double last = interval_.low;
  for (int bin = 0; bin < bins(); ++bin) {
    const auto count = static_cast<double>(counts_[static_cast<size_t>(bin)]);
    if (count > 0.0 && sum + count > wanted) {
      return interval_.low + (bin + (wanted - sum) / count) * width_;
    }
    sum += count;
    if (count > 0.0) last = interval_.low + (bin + 1) * width_;
  }
  return last;
}

}  // namespace ounce::quantize
