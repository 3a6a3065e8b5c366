#pragma once

#include "quantize/search/workbench.h"

namespace ounce::quantize::search {

/// What the settings of a network cost.
struct Costs {
  std::vector<Unit> units;  // with bytes and ms of every choice
  double float_ms = 0.0;    // of the whole float network, steps summed
};

/// Times the network at each setting against float in turns, step by step on the engine, and weighs
/// its constants. Times of different settings are made comparable by the float network's time
/// beside each. What a unit takes includes the conversions between floats and codes that it asks
/// for.
Costs measure_costs(const Workbench& workbench, int threads, int repetitions,
                    const Progress& progress);

}  // namespace ounce::quantize::search
