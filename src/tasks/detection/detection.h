#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tasks/box.h"

namespace ounce::tasks {

/// An object that a network found.
struct Detection {
  Box box;
  int64_t class_index = 0;
  double score = 0;
};

/// Best first; equal scores keep their order, so results do not depend on the sort.
void sort_by_score(std::vector<Detection>& detections);

/// Greedy non-maximum suppression within each class: a detection that overlaps a better one of its
/// class by more than `max_iou` is dropped. Returns the best `max_detections`, best first.
std::vector<Detection> suppress(std::vector<Detection> detections, double max_iou,
                                int64_t max_detections);

}  // namespace ounce::tasks
