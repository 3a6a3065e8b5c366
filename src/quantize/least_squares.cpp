#include "quantize/least_squares.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

namespace ounce::quantize {
namespace {

/// Takes magnitudes from the largest down and keeps the mean of as many as it pays to represent.
class LargestMean {
 public:
  void add(double magnitude, double count) {
    sum_ += magnitude * count;
    count_ += count;
    const double gain = sum_ * sum_ / count_;
    if (gain <= best_gain_) return;
    best_gain_ = gain;
    mean_ = sum_ / count_;
  }
  float mean() const { return static_cast<float>(mean_); }

 private:
  double sum_ = 0.0, count_ = 0.0;
  double best_gain_ = 0.0, mean_ = 0.0;
};

}  // namespace

float sign_scale(std::span<const float> values) {
  if (values.empty()) return 0.0F;
  double sum = 0.0;
  for (const float value : values) sum += std::fabs(value);
  return static_cast<float>(sum / static_cast<double>(values.size()));
}

float ternary_scale(std::span<const float> values) {
  std::vector<float> magnitudes(values.size());
  std::transform(values.begin(), values.end(), magnitudes.begin(),
                 [](float value) { return std::fabs(value); });
  std::sort(magnitudes.begin(), magnitudes.end(), std::greater<>());
  LargestMean largest;
  for (const float magnitude : magnitudes) largest.add(magnitude, 1.0);
  return largest.mean();
}

float ternary_scale(const BinPoints& bins) {
  std::vector<std::pair<double, double>> magnitudes;  // with their counts
  for (size_t i = 0; i < bins.centres().size(); ++i) {
    if (bins.count(i) > 0.0) magnitudes.emplace_back(std::fabs(bins.centres()[i]), bins.count(i));
  }
  std::sort(magnitudes.begin(), magnitudes.end(), std::greater<>());
  LargestMean largest;
  for (const auto& [magnitude, count] : magnitudes) largest.add(magnitude, count);
  return largest.mean();
}

float zero_one_scale(const Histogram& histogram) {
  LargestMean largest;
  for (int bin = histogram.bins() - 1; bin >= 0; --bin) {
    const auto count = static_cast<double>(histogram.counts()[static_cast<size_t>(bin)]);
    if (count > 0.0) largest.add(std::max(0.0, histogram.centre(bin)), count);
  }
  return largest.mean();
}

}  // namespace ounce::quantize
