#pragma once

#include <string>
#include <vector>

#include "engine/kernels/bits/bit_planes.h"
#include "tests/engine_kernels/kernel_test.h"

// Values of bit formats, random and extreme.
namespace ounce::engine {

inline std::string bit_name(BitFormat f) {
  const char* codings[] = {"sign", "unsigned", "signed", "ternary"};
  return codings[static_cast<int>(f.coding)] + std::to_string(f.planes);
}

enum class Fill { kRandom, kHighest, kLowest, kAlternating };

inline std::vector<int8_t> bit_values(Random& random, BitFormat format, int64_t count,
                                      Fill fill = Fill::kRandom) {
  std::vector<int8_t> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t value = random.between(format.lowest(), format.highest());
    const bool high = fill == Fill::kHighest || (fill == Fill::kAlternating && i % 2 == 0);
    if (fill != Fill::kRandom) value = high ? format.highest() : format.lowest();
    if (format.coding == BitCoding::kSign && value == 0) value = 1;
    values[i] = static_cast<int8_t>(value);
  }
  return values;
}

}  // namespace ounce::engine
