#pragma once

#include <gtest/gtest.h>

#include "graph/tensor.h"

namespace ounce::testing {

/// Equal dtype and shape; integers and bool equal; floats within the tolerances of ONNX's own
/// runner, |actual - expected| <= 1e-7 + 1e-3 |expected|, bf16 within a unit in the last place, NaN
/// matching NaN. A failure shows the worst element.
::testing::AssertionResult conforms(const Tensor& actual, const Tensor& expected);

}  // namespace ounce::testing
