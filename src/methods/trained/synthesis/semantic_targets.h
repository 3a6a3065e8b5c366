#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <random>
#include <vector>

namespace ounce::methods {

/// A part of a picture that is shown to the network as a picture of its own.
struct PictureRegion {
  int64_t top = 0;
  int64_t left = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t label = 0;
};

/// What one synthetic picture is to show.
struct PictureMeaning {
  int64_t label = 0;
  std::vector<PictureRegion> regions;
};

/// SARDFQ's multi-semantic reinforcement (arXiv 2412.16553): 1 to 4 regions that do not overlap, of
/// 0.3 to 0.5 of the picture's sides, each with a class of its own. Fewer where they find no place.
std::vector<PictureRegion> random_regions(int64_t height, int64_t width, int64_t classes,
                                          std::mt19937_64& random);

/// Targets of soft labels (SARDFQ): softmax of logits that are N(0, 1) but for the `labels`, which
/// get uniform ones of `relevant_logits(classes)`. [classes]
at::Tensor soft_target(int64_t classes, const std::vector<int64_t>& labels,
                       std::mt19937_64& random);

/// The interval of the relevant logits: 5 to 10 for many classes, as published; for fewer than 500
/// those with which one relevant class gets a probability of 0.3 to 0.95.
struct LogitInterval {
  double low = 5.0;
  double high = 10.0;
};
LogitInterval relevant_logits(int64_t classes);

/// [classes], 1 at the label.
at::Tensor one_hot_target(int64_t classes, int64_t label);

/// The region [channels, height, width] of a picture at the size of the picture, bilinearly; its
/// gradient reaches the pixels of the region alone. `picture`: [channels, height, width].
at::Tensor enlarged(const at::Tensor& picture, const PictureRegion& region);

}  // namespace ounce::methods
