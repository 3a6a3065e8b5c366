#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "graph/tensor.h"
#include "tasks/image.h"
#include "tasks/preprocess.h"

namespace ounce::tasks {

/// What black and white become in a network's input, in the order of its channels.
struct InputRange {
  std::array<double, 3> black = {0, 0, 0};
  std::array<double, 3> white = {1, 1, 1};
};
InputRange input_range(const Preprocessing& preprocessing);

/// The picture that a network's input [1, 3, height, width] stands for; what lies beyond black and
/// white is clipped. Throws `Error` for another shape or type.
Image picture_of(const Tensor& input, const Preprocessing& preprocessing);

/// Pictures side by side in rows of `columns`, each scaled to `side` x `side`.
Image contact_sheet(std::span<const Image> pictures, int64_t columns, int64_t side);

}  // namespace ounce::tasks
