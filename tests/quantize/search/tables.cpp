#include "tests/quantize/search/tables.h"

#include <random>

namespace ounce::quantize::search::testing {

std::vector<Unit> random_units(size_t count, size_t choices, unsigned seed) {
  const std::vector<Setting> settings = {Setting(), {8, 8}, {6, 8}, {4, 8}, {3, 8}, {2, 8}};
  std::mt19937 random(seed);
  const auto number = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  std::vector<Unit> units;
  for (size_t u = 0; u < count; ++u) {
    Unit& unit = units.emplace_back();
    unit.name = "layer" + std::to_string(u);
    unit.op = "Conv";
    unit.layers = {unit.name};
    unit.has_weights = {true};
    unit.parameters = number(10, 1000);
    int64_t bytes = 100 * static_cast<int64_t>(choices) * number(1, 3);
    double loss = 0.0;
    for (size_t c = 0; c < choices; ++c) {
      unit.choices.push_back({settings[c], bytes, 1e-3 * static_cast<double>(bytes), loss, 32});
      bytes -= number(20, 100);
      loss += 1e-3 * number(1, 100);
    }
  }
  return units;
}

}  // namespace ounce::quantize::search::testing
