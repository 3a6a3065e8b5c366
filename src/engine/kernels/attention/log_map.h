#pragma once

#include <array>

#include "engine/kernels/int8/quantize_dynamic.h"

// Attention maps in logarithmic codes: a code k stands for base^-k. Powers of 1/2 are bytes times a
// common factor, as long as no more than eight follow each other; so a map of such codes is exactly
// a sum of few maps of bytes, and the product with v is that many products of bytes.
namespace ounce::engine {

/// More codes than these would need more than two planes.
inline constexpr int kMostLogMapBits = 4;
inline constexpr int kMostMapPlanes = 2;

/// The map is the sum over planes of factors[plane] * tables[plane][code].
struct MapTables {
  int planes = 0;
  std::array<std::array<uint8_t, 256>, kMostMapPlanes> tables{};
  std::array<float, kMostMapPlanes> factors{};
};

/// Base 2: eight codes a plane, the second 2^-8 below the first. Base sqrt(2): codes 2 j in the
/// first, codes 2 j + 1, which are 2^-1/2 below, in the second. Codes of more than `bits` (1 to
/// kMostLogMapBits) are zero.
MapTables log_map_tables(LogBase base, int bits);

}  // namespace ounce::engine
