#pragma once

#include <vector>

#include "methods/method.h"

namespace ounce::methods {

/// Plain post-training quantization by each of the common range rules: minmax, percentile, mse,
/// symmetric-mse, kl. What the published methods are compared with.
std::vector<Method> ptq_methods();

}  // namespace ounce::methods
