#include "tasks/text_detection/region_matches.h"

#include <algorithm>
#include <vector>

namespace ounce::tasks {
namespace {

constexpr double kOverlap = 0.5;

double overlap(const Polygon& a, const Polygon& b) {
  const double shared = intersection(a, b);
  const double joined = area(a) + area(b) - shared;
  return joined > 0 ? shared / joined : 0;
}

/// Mostly inside of an unreadable region.
bool is_ignored(const Polygon& region, std::span<const Polygon> unreadable) {
  return std::any_of(unreadable.begin(), unreadable.end(), [&](const Polygon& other) {
    return intersection(region, other) > kOverlap * area(region);
  });
}

double share(int64_t part, int64_t all) {
  return all > 0 ? static_cast<double>(part) / static_cast<double>(all) : 0;
}

}  // namespace

void RegionMatches::add(std::span<const TextLabel> labels, std::span<const TextRegion> found) {
  std::vector<Polygon> readable;
  std::vector<Polygon> unreadable;
  for (const TextLabel& label : labels) {
    (label.ignored ? unreadable : readable).push_back(convex_hull(label.outline));
  }
  std::vector<Polygon> reported;
  for (const TextRegion& region : found) {
    Polygon outline = convex_hull(region.outline);
    if (!is_ignored(outline, unreadable)) reported.push_back(std::move(outline));
  }
  there_ += static_cast<int64_t>(readable.size());
  reported_ += static_cast<int64_t>(reported.size());
  std::vector<uint8_t> taken(reported.size(), 0);
  for (const Polygon& label : readable) {
    for (size_t i = 0; i < reported.size(); ++i) {
      if (taken[i] != 0 || overlap(label, reported[i]) <= kOverlap) continue;
      taken[i] = 1;
      ++matched_;
      break;
    }
  }
}

std::map<std::string, double> RegionMatches::metrics() const {
  const double precision = share(matched_, reported_);
  const double recall = share(matched_, there_);
  const double sum = precision + recall;
  return {{"precision", precision},
          {"recall", recall},
          {"hmean", sum > 0 ? 2 * precision * recall / sum : 0}};
}

}  // namespace ounce::tasks
