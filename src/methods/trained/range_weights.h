#pragma once

#include <cstdint>

#include "quantize/quantizer.h"

namespace ounce::methods {

/// Counts what calibration saw of the values of each grid of fewer than 8 bits by what their errors
/// cost the outputs (`SquaredGradients`) instead of one by one: the searches for ranges then clip
/// what the network does not look at, however large it is. Each range is judged by what it alone
/// does to the outputs on a few runs, and taken back where the plain one does less. A network that
/// has several inputs, or that the trainer cannot run, keeps plain ranges, and a note says so.
/// Draws are those of `seed`.
quantize::Refinement::Weigh range_weights(uint64_t seed, int threads);

}  // namespace ounce::methods
