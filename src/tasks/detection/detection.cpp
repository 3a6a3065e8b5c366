#include "tasks/detection/detection.h"

#include <algorithm>
#include <map>

namespace ounce::tasks {

void sort_by_score(std::vector<Detection>& detections) {
  std::stable_sort(detections.begin(), detections.end(),
                   [](const Detection& a, const Detection& b) { return a.score > b.score; });
}

std::vector<Detection> suppress(std::vector<Detection> detections, double max_iou,
                                int64_t max_detections) {
  sort_by_score(detections);
  std::vector<Detection> kept;
  std::map<int64_t, std::vector<Box>> kept_of_class;
  for (const Detection& candidate : detections) {
    if (static_cast<int64_t>(kept.size()) >= max_detections) break;
    std::vector<Box>& better = kept_of_class[candidate.class_index];
    const bool overlaps = std::any_of(better.begin(), better.end(), [&](const Box& box) {
      return iou(box, candidate.box) > max_iou;
    });
    if (overlaps) continue;
    better.push_back(candidate.box);
    kept.push_back(candidate);
  }
  return kept;
}

}  // namespace ounce::tasks
