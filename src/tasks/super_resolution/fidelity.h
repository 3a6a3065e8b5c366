#pragma once

#include <cstdint>

#include "tasks/image.h"

namespace ounce::tasks {

/// Decibels of two pictures that do not differ.
inline constexpr double kIdenticalDb = 100.0;

/// Peak signal to noise ratio in decibels, at most `kIdenticalDb`, of the luma (BT.601, 16..235) of
/// two pictures of equal size, their outer `border` pixels left out. Throws `Error` when sizes
/// differ or nothing is left.
double luma_psnr(const Image& picture, const Image& original, int64_t border);

/// Structural similarity (Wang et al. 2004) of the same, at most 1: the mean over all windows of
/// 11 x 11 pixels, weighted by a Gaussian of deviation 1.5, that lie within the picture. Throws
/// `Error` also when no window fits.
double luma_ssim(const Image& picture, const Image& original, int64_t border);

}  // namespace ounce::tasks
