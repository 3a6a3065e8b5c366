#include "engine/kernels/attention/log_map.h"

#include <cmath>

namespace ounce::engine {

std::vector<LogMapPlane> log_map_planes(LogBase base, int bits) {
  constexpr int kHighestBit = 7;
  std::vector<LogMapPlane> planes;
  for (int code = 0; code < 1 << bits; ++code) {
    const auto plane = static_cast<size_t>(base == LogBase::k2 ? code / 8 : code % 2);
    const int shift = base == LogBase::k2 ? code % 8 : code / 2;
    if (plane == planes.size()) {
      const double octaves = base == LogBase::k2 ? code : 0.5 * code;  // of its first code
      planes.emplace_back().factor = static_cast<float>(std::exp2(-kHighestBit - octaves));
    }
    planes[plane].table[static_cast<size_t>(code)] =
        static_cast<uint8_t>(1 << (kHighestBit - shift));
  }
  return planes;
}

}  // namespace ounce::engine
