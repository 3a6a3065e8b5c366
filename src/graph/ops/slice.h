#pragma once

#include <cstdint>

namespace ounce::ops {

/// The elements start, start + step, ... (`count` of them) of one axis.
struct SliceRange {
  int64_t start = 0;
  int64_t step = 1;
  int64_t count = 0;
};

/// ONNX Slice along an axis of `extent` elements: negative bounds count from the end, bounds clamp.
/// Throws `Error` for step 0.
SliceRange resolve_slice(int64_t start, int64_t end, int64_t step, int64_t extent);

}  // namespace ounce::ops
