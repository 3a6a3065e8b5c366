#include "quantize/transforms/norm_scaling.h"

#include <algorithm>
#include <cmath>

namespace ounce::quantize {
namespace {

/// A channel that is scaled by more than this against the others carries nothing worth it.
constexpr double kMostScale = 1e4;

bool is_constant(const ObservedData& channel) {
  const Range range = channel.histogram.interval();
  return channel.histogram.total() == 0 || !(range.high > range.low);
}

/// The grid of one channel. The zero point of a channel far from 0 lies outside of its codes.
struct ChannelGrid {
  double scale = 0.0;
  double zero_point = 0.0;
};

ChannelGrid grid_of(const ObservedData& channel, const RangeRequest& request, bool with_shifts) {
  const double levels = (1 << request.bits) - 1;
  if (!with_shifts) {
    const Range ends = choose_ends(channel, request);
    const double most = std::max(std::abs(ends.low), std::abs(ends.high));
    return {2 * most / levels, levels / 2};
  }
  // Ranges contain 0 where they are chosen; this one's 0 is its middle meanwhile.
  const Range range = channel.histogram.interval();
  const float middle = range.low + 0.5F * (range.high - range.low);
  const std::span<const uint64_t> counts = channel.histogram.counts();
  const Histogram moved({range.low - middle, range.high - middle}, {counts.begin(), counts.end()});
  const Range ends = choose_ends({moved, {}}, request);
  const double scale = (static_cast<double>(ends.high) - ends.low) / levels;
  const double low = static_cast<double>(ends.low) + middle;
  return {scale, scale > 0.0 ? std::nearbyint(-low / scale) : 0.0};
}

}  // namespace

NormScaling repq_scaling(std::span<const ObservedData> channels, const RangeRequest& request,
                         bool with_shifts) {
  std::vector<ChannelGrid> grids(channels.size());
  double scale = 0.0;
  double zero_point = 0.0;
  int64_t count = 0;
  for (size_t c = 0; c < channels.size(); ++c) {
    if (is_constant(channels[c])) continue;
    grids[c] = grid_of(channels[c], request, with_shifts);
    if (!(grids[c].scale > 0.0)) continue;
    scale += grids[c].scale;
    zero_point += grids[c].zero_point;
    ++count;
  }
  NormScaling result;
  result.scales.assign(channels.size(), 1.0F);
  if (with_shifts) result.shifts.assign(channels.size(), 0.0F);
  if (count == 0) return result;
  scale /= static_cast<double>(count);
  zero_point = std::nearbyint(zero_point / static_cast<double>(count));
  for (size_t c = 0; c < channels.size(); ++c) {
    if (!(grids[c].scale > 0.0)) continue;
    const double ratio = std::clamp(grids[c].scale / scale, 1 / kMostScale, kMostScale);
    result.scales[c] = static_cast<float>(ratio);
    if (with_shifts) {
      result.shifts[c] = static_cast<float>(scale * (zero_point - grids[c].zero_point));
    }
  }
  return result;
}

NormScaling smooth_scaling(std::span<const float> magnitudes, std::span<const float> weights,
                           double alpha) {
  constexpr double kLeast = 1e-5;
  NormScaling result;
  for (size_t c = 0; c < magnitudes.size(); ++c) {
    const double x = magnitudes[c];
    const double w = weights[c];
    // A channel of zeros on either side needs no help.
    const double scale = x > 0.0 && w > 0.0 ? std::pow(x, alpha) / std::pow(w, 1 - alpha) : 1.0;
    result.scales.push_back(static_cast<float>(std::max(scale, kLeast)));
  }
  return result;
}

}  // namespace ounce::quantize
