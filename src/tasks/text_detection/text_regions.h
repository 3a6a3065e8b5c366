#pragma once

#include <cstdint>
#include <vector>

#include "graph/tensor.h"
#include "tasks/polygon.h"
#include "tasks/preprocess.h"

namespace ounce::tasks {

/// A stretch of text that was found.
struct TextRegion {
  Polygon outline;  // four corners of a rectangle that may be turned, picture pixels
  double score = 0;
};

/// How a map of "here is text" becomes regions (Differentiable Binarization, arXiv 1911.08947,
/// section 3.4, with the usual numbers).
struct TextRegionOptions {
  float threshold = 0.3F;     // of a pixel
  double region_score = 0.6;  // of a region: the mean of its pixels
  double unclip_ratio =
      1.5;  // networks are taught shrunken regions: area over perimeter times this
  double shortest_side = 3.0;  // of a region, in pixels of the map
  int64_t most = 1000;         // regions looked at
};

/// Regions of `probabilities` [1, 1, height, width], a map as large as the network's input, that
/// lie in the picture. Each connected set of pixels above the threshold gives the smallest
/// rectangle around it, grown to make good what training shrinks.
std::vector<TextRegion> text_regions(const Tensor& probabilities, const Geometry& geometry,
                                     const TextRegionOptions& options = {});

}  // namespace ounce::tasks
