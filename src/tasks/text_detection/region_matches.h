#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "tasks/dataset.h"
#include "tasks/text_detection/text_regions.h"

namespace ounce::tasks {

/// Figures of found text, by the protocol of the ICDAR 2015 competition on incidental scene text: a
/// region is found when one that overlaps it by more than half (intersection over union) is
/// reported, each for one; what lies by more than half in an unreadable region does not count.
class RegionMatches {
 public:
  /// Adds one picture.
  void add(std::span<const TextLabel> labels, std::span<const TextRegion> found);

  /// "precision" (of what is reported), "recall" (of what is there) and their harmonic mean
  /// "hmean", over all pictures; 0 where nothing is reported, or there.
  std::map<std::string, double> metrics() const;

 private:
  int64_t there_ = 0;
  int64_t reported_ = 0;
  int64_t matched_ = 0;
};

}  // namespace ounce::tasks
