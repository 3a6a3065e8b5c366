#pragma once

#include <vector>

#include "quantize/search/table.h"

namespace ounce::quantize::search::testing {

/// `count` units with `choices` settings each (float among them, at most 6): fewer bits cost less
/// and lose more, by random amounts; everything is measured.
std::vector<Unit> random_units(size_t count, size_t choices, unsigned seed);

}  // namespace ounce::quantize::search::testing
