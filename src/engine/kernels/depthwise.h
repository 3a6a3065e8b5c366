#pragma once

#include <algorithm>

#include "engine/kernels/conv.h"

// Which taps of a window lie inside the image: shared by depthwise convolution and pooling.
namespace ounce::engine {

struct TapRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

/// Taps t of [0, taps) with 0 <= first + t * dilation < size.
inline TapRange taps_inside(int64_t first, int64_t dilation, int64_t taps, int64_t size) {
  const int64_t begin = first >= 0 ? 0 : ceil_div(-first, dilation);
  const int64_t end = first >= size ? 0 : ceil_div(size - first, dilation);
  TapRange range = {std::min(begin, taps), std::min(end, taps)};
  if (range.end < range.begin) range.end = range.begin;
  return range;
}

/// Output pixels from column `x` on whose windows lie inside the image, given that x's does.
inline int64_t pixels_inside(const ConvShape& s, int64_t x) {
  const int64_t reach = (s.kernel_w - 1) * s.dilation_w;
  const int64_t last = (s.in_w - 1 - reach + s.pad_left) / s.stride_w;
  return std::min(last, s.out_w - 1) - x + 1;
}

/// Most channels of a pixel that stands for several.
inline constexpr int64_t kMostFolded = 512;

/// Bytes of a row that one piece of channels crosses before the next piece does: they should stay
/// in the first-level cache.
inline constexpr int64_t kBytesOfRuns = 4096;

/// Elements of scratch that depthwise_u8s8 uses: the first three for all threads, the others a
/// thread.
struct DepthwiseScratch {
  explicit DepthwiseScratch(const ConvShape& s)
      : scales(std::max(round_up(s.in_channels, 16), kMostFolded) + 64),
        columns(kMostFolded),
        blank(((3 * s.stride_w + s.kernel_w) * s.in_channels + kMostFolded) * s.dilation_w +
              kBytesOfRuns),
        rows(round_up(s.kernel_h + 1, kApart / 8)),
        strip(round_up((s.kernel_h + 1) * ((3 * s.stride_w + s.kernel_w) * s.in_channels +
                                           s.kernel_w * kMostFolded),
                       kApart)),
        stage(4 * kMostFolded) {}
  int64_t scales;   // in the order of the weights
  int64_t columns;  // scales, and biases, of folded pixels
  int64_t blank;    // a row of padding
  int64_t rows;     // row pointers
  int64_t strip;    // the pixels under a run's windows
  int64_t stage;    // outputs and residuals of folded pixels that the image has only a part of

 private:
  // What threads write for themselves lies in different cache lines, and in lines that are not
  // fetched in pairs.
  static constexpr int64_t kApart = 256;
};

}  // namespace ounce::engine
