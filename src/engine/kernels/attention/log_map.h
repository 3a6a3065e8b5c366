#pragma once

#include <array>
#include <vector>

#include "engine/kernels/int8/quantize_dynamic.h"

// Attention maps in logarithmic codes: a code k stands for base^-k. Powers of 1/2 are bytes times a
// common factor, as long as no more than eight follow each other; so a map of such codes is exactly
// a sum of few maps of bytes, and the product with v is that many products of bytes.
namespace ounce::engine {

/// More codes than these would need more than two planes.
inline constexpr int kMostLogMapBits = 4;

/// The part of a map that shares a factor: the map is the sum over planes of factor * table[code].
struct LogMapPlane {
  std::array<uint8_t, 256> table{};  // by code; zero for codes of the other plane
  float factor = 1.0F;
};

/// Base 2: eight codes a plane, the second 2^-8 below the first. Base sqrt(2): codes 2 j in the
/// first, codes 2 j + 1, which are 2^-1/2 below, in the second. `bits`: 1 to kMostLogMapBits.
std::vector<LogMapPlane> log_map_planes(LogBase base, int bits);

}  // namespace ounce::engine
