#pragma once

#include <ATen/ATen.h>

namespace ounce::train {

/// -1 or +1 in the type of `x`; of 0 and -0 it is +1, as in the deployed graph.
at::Tensor signs_of(const at::Tensor& x);

/// What stands in for the derivative of a step.
enum class Slope {
  kClip,        // 1 on |x| <= limit, else 0: of clamp(x, -limit, limit)
  kOpenWindow,  // 1 on |x| < limit, else 0
  kPolynomial,  // 2 + 2x on [-1, 0), 2 - 2x on [0, 1), else 0 (Bi-Real Net, arXiv 1808.00278)
};

/// `value` forward, G * slope(x) to `x` backward. `value` (shape of `x`) is a constant: it gets no
/// gradient. `limit` means nothing to the polynomial.
at::Tensor straight_through(const at::Tensor& x, const at::Tensor& value, Slope slope,
                            double limit = 1.0);

}  // namespace ounce::train
