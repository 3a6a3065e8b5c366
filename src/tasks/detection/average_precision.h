#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "tasks/dataset.h"
#include "tasks/detection/detection.h"

namespace ounce::tasks {

/// Average precision by the COCO protocol: for each class and each of ten overlaps .50, .55 ...
/// .95, detections (the best 100 a picture and class) are matched greedily, best first, with the
/// objects of their class; precision is read at 101 recalls 0, .01 ... 1 after making it
/// non-increasing; classes without objects do not count. Crowds and difficult objects are neither
/// found nor missed. Small, medium and large are objects of area below 32 x 32, below 96 x 96, and
/// above.
class AveragePrecision {
 public:
  explicit AveragePrecision(int64_t class_count);

  /// Adds one picture. Throws `Error` for a class index out of range.
  void add(std::span<const ObjectLabel> objects, std::span<const Detection> detections);

  /// "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar100"; 0..1. A figure without
  /// any object to judge by (say, no small ones) is left out.
  std::map<std::string, double> metrics() const;

  /// AP at the ten overlaps of one class, all areas; -1 where it has no objects.
  double of_class(int64_t class_index) const;

  int64_t pictures() const { return pictures_; }

  static constexpr size_t kOverlaps = 10;
  static constexpr size_t kAreas = 4;  // all, small, medium, large
  static constexpr size_t kMaxDetections = 100;

 private:
  /// How a detection fared at each overlap.
  struct Judged {
    double score = 0;
    std::array<bool, kOverlaps> matched{};
    std::array<bool, kOverlaps> ignored{};
  };
  struct ClassArea {
    int64_t objects = 0;  // that count
    std::vector<Judged> judged;
  };
  /// Precision and recall summary of one class, area and overlap; {-1, -1} without objects.
  struct Curve {
    double precision = -1;
    double recall = -1;
  };

  static void judge(std::span<const ObjectLabel> objects, std::span<const Detection> detections,
                    size_t area, ClassArea& target);
  static Curve curve(const ClassArea& judged, size_t overlap);

  int64_t pictures_ = 0;
  std::vector<std::array<ClassArea, kAreas>> classes_;
};

}  // namespace ounce::tasks
