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

/// The weights of three taps at the kOut + 2 points.
inline void transform_weight_line(int outputs, const double (&g)[3], double* u) {
  const auto at = [&](double p, double derivative) {
    return (g[0] + p * (g[1] + p * g[2])) / derivative;
  };
  constexpr double a = WinogradPoints<4>::kNear;
  constexpr double b = WinogradPoints<4>::kFar;
  if (outputs == 2) {
    u[0] = -g[0];
    u[1] = at(1.0, 2.0);
    u[2] = at(-1.0, 2.0);
  } else {
    u[0] = g[0] / (a * a * b * b);
    u[1] = at(a, 2 * a * a * (a * a - b * b));
    u[2] = at(-a, 2 * a * a * (a * a - b * b));
    u[3] = at(b, 2 * b * b * (b * b - a * a));
    u[4] = at(-b, 2 * b * b * (b * b - a * a));
  }
  u[outputs + 1] = g[2];
}

/// A 3x3 kernel whose taps are `step` elements apart, at all positions of a tile.
inline void transform_weights(const float* taps, int64_t step, WinogradTile tile,
                              double (&u)[6][6]) {
  const auto height = static_cast<int>(tile.height);
  const auto width = static_cast<int>(tile.width);
  double columns[3][6];
  for (int64_t x = 0; x < 3; ++x) {
    transform_weight_line(height, {taps[x * step], taps[(3 + x) * step], taps[(6 + x) * step]},
                          columns[x]);
  }
  for (int y = 0; y < height + 2; ++y) {
    transform_weight_line(width, {columns[0][y], columns[1][y], columns[2][y]}, u[y]);
  }
}

}  // namespace ounce::engine
