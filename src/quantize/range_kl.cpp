#include "quantize/range_kl.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "quantize/range.h"

namespace ounce::quantize {
namespace {

/// Mass that P has where Q has none costs as if Q had this share there.
constexpr double kSmallestShare = 1e-12;

/// The histogram of |x| in `kBins` bins; a signed bin's mass is spread over what it overlaps, so
/// that no empty bins appear by mere misalignment.
std::vector<double> fold(const Histogram& histogram, double width) {
  std::vector<double> folded(Histogram::kBins, 0.0);
  const auto deposit = [&](double low, double high, double mass) {
    const int first = std::clamp(static_cast<int>(low / width), 0, Histogram::kBins - 1);
    const int last = std::clamp(static_cast<int>(high / width), 0, Histogram::kBins - 1);
    for (int bin = first; bin <= last; ++bin) {
      const double from = std::max(low, bin * width);
      const double to = std::min(high, (bin + 1) * width);
      folded[static_cast<size_t>(bin)] += mass * std::max(0.0, to - from) / (high - low);
    }
  };
  for (int bin = 0; bin < histogram.bins(); ++bin) {
    const auto mass = static_cast<double>(histogram.counts()[static_cast<size_t>(bin)]);
    if (mass == 0.0) continue;
    const double low = histogram.centre(bin) - 0.5 * histogram.width();
    const double high = low + histogram.width();
    if (low >= 0.0) {
      deposit(low, high, mass);
    } else if (high <= 0.0) {
      deposit(-high, -low, mass);
    } else {
      deposit(0.0, high, mass * high / (high - low));
      deposit(0.0, -low, mass * -low / (high - low));
    }
  }
  return folded;
}

/// The first `size` bins merged into `levels` groups, each spread back over its non-empty bins.
std::vector<double> merge_and_expand(const std::vector<double>& bins, size_t size, size_t levels) {
  std::vector<double> expanded(size, 0.0);
  for (size_t level = 0; level < levels; ++level) {
    const size_t begin = level * size / levels;
    const size_t end = (level + 1) * size / levels;
    double mass = 0.0;
    size_t filled = 0;
    for (size_t i = begin; i < end; ++i) {
      mass += bins[i];
      filled += bins[i] > 0.0 ? 1 : 0;
    }
    for (size_t i = begin; i < end; ++i) {
      if (bins[i] > 0.0) expanded[i] = mass / static_cast<double>(filled);
    }
  }
  return expanded;
}

double divergence(const std::vector<double>& bins, size_t size, double clipped, double total,
                  size_t levels) {
  const std::vector<double> merged = merge_and_expand(bins, size, levels);
  const double inside = total - clipped;
  if (inside <= 0.0) return std::numeric_limits<double>::infinity();
  double sum = 0.0;
  for (size_t i = 0; i < size; ++i) {
    const double p = (bins[i] + (i + 1 == size ? clipped : 0.0)) / total;
    if (p <= 0.0) continue;
    sum += p * std::log(p / std::max(merged[i] / inside, kSmallestShare));
  }
  return sum;
}

}  // namespace

float kl_threshold(const Histogram& histogram, int bits) {
  const Range interval = histogram.interval();
  const float largest = std::max(std::fabs(interval.low), std::fabs(interval.high));
  if (!(largest > 0.0F)) return 0.0F;
  const double width = static_cast<double>(largest) / Histogram::kBins;
  const std::vector<double> bins = fold(histogram, width);
  const size_t levels = size_t{1} << (bits - 1);
  double total = static_cast<double>(histogram.below() + histogram.above());
  for (const double mass : bins) total += mass;
  double inside = 0.0;
  for (int i = 0; i < kFirstCandidateBin; ++i) inside += bins[static_cast<size_t>(i)];
  double least = std::numeric_limits<double>::infinity();
  int best = Histogram::kBins;
  for (int i = kFirstCandidateBin; i <= Histogram::kBins; ++i) {
    // Rounding of the running sum must not leave a ghost of clipped mass at the end.
    const double clipped = std::max(0.0, total - inside);
    const double ghost = 1e-12 * total;
    const double kl =
        divergence(bins, static_cast<size_t>(i), clipped > ghost ? clipped : 0.0, total, levels);
    if (kl <= least) {
      least = kl;
      best = i;
    }
    if (i < Histogram::kBins) inside += bins[static_cast<size_t>(i)];
  }
  return static_cast<float>(std::min((best + 0.5) * width, static_cast<double>(largest)));
}

}  // namespace ounce::quantize
