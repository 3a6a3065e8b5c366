#pragma once

#include "engine/kernels/f32/winograd.h"

// The polynomials behind Winograd convolutions, along one axis: kOut outputs of a kernel of three
// taps come of kOut + 2 products, one at each of 0, near, -near (, far, -far) and infinity. With
// m(x) the product of (x - point) over the finite points:
//   input  row of point p: coefficients of m(x) / (x - p); of infinity: those of m(x)
//   weight row of point p: (1, p, p^2) / m'(p);            of infinity: (0, 0, 1)
//   output row of pixel i: p^i for each point; infinity joins the last pixel.
namespace ounce::engine {

/// Which points decides how much the transforms amplify rounding errors. For four outputs 3/4 and
/// 3/2 are the best short binary fractions: the error is a sixth of that with 1 and 2.
template <int kOut>
struct WinogradPoints;
template <>
struct WinogradPoints<2> {
  static constexpr double kNear = 1.0;
};
template <>
struct WinogradPoints<4> {
  static constexpr double kNear = 0.75;
  static constexpr double kFar = 1.5;
};

}  // namespace ounce::engine
