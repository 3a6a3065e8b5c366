#pragma once

#include <algorithm>
#include <cmath>

namespace ounce::quantize {

/// Signal to noise above which there is no noise to speak of.
inline constexpr double kSilentDb = 200.0;

/// 10 log10(signal / noise) of energies, within +-`kSilentDb`: the upper end without noise, the
/// lower end where there is noise alone.
inline double decibels(double signal, double noise) {
  if (noise <= 0.0) return kSilentDb;
  if (signal <= 0.0) return -kSilentDb;
  return std::clamp(10.0 * std::log10(signal / noise), -kSilentDb, kSilentDb);
}

}  // namespace ounce::quantize
