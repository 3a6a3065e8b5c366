#include "engine/kernels/attention/log_map.h"

namespace ounce::engine {

MapTables log_map_tables(LogBase base, int bits) {
  constexpr float kSqrtHalf = 0.707106781186547524F;
  constexpr int kHighestBit = 7;
  const bool halves = base == LogBase::k2;
  MapTables map;
  map.planes = halves && bits < kMostLogMapBits ? 1 : 2;
  map.factors = {0x1p-7F, 0x1p-7F * (halves ? 0x1p-8F : kSqrtHalf)};
  for (int code = 0; code < 1 << bits; ++code) {
    const int plane = halves ? code / 8 : code % 2;
    const int shift = halves ? code % 8 : code / 2;
    map.tables[static_cast<size_t>(plane)][static_cast<size_t>(code)] =
        static_cast<uint8_t>(1 << (kHighestBit - shift));
  }
  return map;
}

}  // namespace ounce::engine
