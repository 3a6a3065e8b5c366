#pragma once

#include <cstdint>

/// Maps are packed as signs of what lies below their threshold, inverted.
namespace ounce::engine {

/// What makes numbers negative where the map of `scale` is 0: where they are at most scale / 2.
float map_shift(float scale);

/// Signs become the map of those that are not negative. Rows of whole words, zero beyond the
/// channels.
void invert_bits(uint64_t* bits, int64_t rows, int64_t channels);

}  // namespace ounce::engine
