#pragma once

#include "quantize/histogram.h"

namespace ounce::quantize {

/// Threshold T on |x| with the least Kullback-Leibler divergence between the distribution clipped
/// at T and its merger into 2^(bits-1) levels: for i = 128 .. 2048 bins of |x|, P is the first i
/// bins with all further mass in the last of them, Q the first i bins merged into levels and spread
/// back evenly over the non-empty bins of each; T = (i + 0.5) bin widths, at most the largest |x|.
/// Meant for 8 bits.
float kl_threshold(const Histogram& histogram, int bits);

}  // namespace ounce::quantize
