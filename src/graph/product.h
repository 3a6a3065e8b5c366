#pragma once

#include "graph/graph.h"

namespace ounce {

/// MatMul, or a Gemm that is nothing but x W [+ bias]: x not transposed, both factors 1.
bool is_plain_product(const Node& node);

/// Whether the weights (input 1) of such a node lie [N, K]: a Gemm with transB.
bool weights_are_n_by_k(const Node& node);

}  // namespace ounce
