#pragma once

#include <span>
#include <vector>

#include "graph/tensor.h"
#include "tasks/detection/detection.h"
#include "tasks/detection/head.h"

namespace ounce::tasks {

/// Boxes in input pixels that reach the head's score threshold, best first, before suppression.
/// `outputs` are those of one picture whose input had the size `input`. Throws `Error` when no
/// output has the shape that the description promises (naming both), or holds NaN.
std::vector<Detection> decode(const HeadDescription& head, std::span<const Tensor> outputs,
                              PictureSize input);

/// `decode`, suppression, and the way back into picture pixels; at most `head.max_detections`.
std::vector<Detection> detect(const HeadDescription& head, std::span<const Tensor> outputs,
                              const Geometry& geometry);

}  // namespace ounce::tasks
