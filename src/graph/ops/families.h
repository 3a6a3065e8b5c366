#pragma once

#include <span>

#include "graph/operator.h"

namespace ounce::ops {

/// The rows that each file of graph/ops/ adds to the operator table; `operator.cpp` lists them.
using Family = std::span<const OperatorSchema>;

Family convolution_operators();
Family elementwise_operators();
Family fused_operators();
Family gather_scatter_operators();
Family matmul_operators();
Family misc_operators();
Family normalization_operators();
Family pooling_operators();
Family quantize_operators();
Family reduce_operators();
Family resize_operators();
Family shape_operators();

}  // namespace ounce::ops
