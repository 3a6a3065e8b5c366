#pragma once

#include <span>

#include "train/op.h"

namespace ounce::train::ops {

/// The rows that each file of train/ops/ adds to the table; `op.cpp` lists them.
using Family = std::span<const OpRow>;

Family activation_ops();
Family elementwise_ops();
Family gather_ops();
Family generator_ops();
Family normalization_ops();
Family pooling_ops();
Family product_ops();  // convolutions, matrix products, attention
Family quantize_ops();
Family reduce_ops();
Family resample_ops();
Family shape_ops();

}  // namespace ounce::train::ops
