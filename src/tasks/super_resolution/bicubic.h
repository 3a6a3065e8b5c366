#pragma once

#include "tasks/image.h"

namespace ounce::tasks {

/// Scales to `width` x `height` as super-resolution papers make their small pictures, the way of
/// MATLAB's imresize: Keys' cubic (a = -1/2), widened when it shrinks, edges mirrored, rounded to 8
/// bits once at the end. `resize` differs at the edges and rounds in between, which published
/// decibels show. Throws `Error` for an empty picture or sides that no `Image` has.
Image resize_bicubic(const Image& image, int64_t width, int64_t height);

}  // namespace ounce::tasks
