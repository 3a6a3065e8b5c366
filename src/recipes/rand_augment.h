#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "train/image_set.h"

namespace ounce::recipes {

/// The operations of RandAugment (arXiv 1909.13719, section 3).
enum class Operation {
  kIdentity,
  kAutoContrast,
  kEqualize,
  kRotate,
  kSolarize,
  kColor,
  kPosterize,
  kContrast,
  kBrightness,
  kSharpness,
  kShearX,
  kShearY,
  kTranslateX,
  kTranslateY,
};
inline constexpr int kOperations = 14;

/// A picture, u8 [3, H, W], behind one operation. `strength` in -1 .. 1; its ends are
///   30 degrees, 0.3 of the other side, 0.45 of the own side for rotations, shears, translations;
///   10 % and 190 % for colour, contrast, brightness and sharpness;
///   4 bits left for Posterize, everything inverted for Solarize, which ask for its size alone.
/// Pixels from outside are grey.
at::Tensor augmented(const at::Tensor& picture, Operation operation, double strength);

struct RandAugmentOptions {
  int operations = 2;    // N: drawn with replacement, one behind the other
  double magnitude = 9;  // M: of kLargestMagnitude, the direction drawn
};
inline constexpr double kLargestMagnitude = 30;

/// What `Augmentation::change` takes. Throws `Error` for pictures without three channels.
train::PictureChange rand_augment(const RandAugmentOptions& options);

}  // namespace ounce::recipes
