#include "quantize/transforms/orthogonal.h"

#include <cmath>
#include <numbers>
#include <random>
#include <vector>

namespace ounce::quantize {
namespace {

bool is_prime(int64_t number) {
  if (number < 2) return false;
  for (int64_t i = 2; i * i <= number; ++i) {
    if (number % i == 0) return false;
  }
  return true;
}

/// Jacobsthal's matrix of an odd prime q: entry (i, j) is 1 where i - j is a square other than 0
/// modulo q, 0 where i = j, -1 elsewhere.
DoubleMatrix jacobsthal(int64_t q) {
  std::vector<double> character(static_cast<size_t>(q), -1.0);
  character[0] = 0.0;
  for (int64_t i = 1; i < q; ++i) character[static_cast<size_t>(i * i % q)] = 1.0;
  DoubleMatrix result(q, q);
  for (int64_t i = 0; i < q; ++i) {
    for (int64_t j = 0; j < q; ++j) {
      result(i, j) = character[static_cast<size_t>((i - j + q) % q)];
    }
  }
  return result;
}

/// [0 1; +-1 Q], the conference matrix that both constructions start from.
DoubleMatrix bordered(int64_t q, double sign) {
  DoubleMatrix result = DoubleMatrix::Zero(q + 1, q + 1);
  result.row(0).tail(q).setOnes();
  result.col(0).tail(q).setConstant(sign);
  result.bottomRightCorner(q, q) = jacobsthal(q);
  return result;
}

/// Paley's first construction, I + S for the skew conference matrix S.
DoubleMatrix paley_one(int64_t q) {
  return DoubleMatrix::Identity(q + 1, q + 1) + bordered(q, -1.0);
}

/// Paley's second: in the symmetric conference matrix 0 becomes [1 -1; -1 -1] and +-1 becomes
/// +-[1 1; 1 -1].
DoubleMatrix paley_two(int64_t q) {
  const DoubleMatrix conference = bordered(q, 1.0);
  Eigen::Matrix2d zero, one;
  zero << 1, -1, -1, -1;
  one << 1, 1, 1, -1;
  DoubleMatrix result(2 * (q + 1), 2 * (q + 1));
  for (int64_t i = 0; i <= q; ++i) {
    for (int64_t j = 0; j <= q; ++j) {
      result.block<2, 2>(2 * i, 2 * j) = i == j ? zero : Eigen::Matrix2d(conference(i, j) * one);
    }
  }
  return result;
}

DoubleMatrix kronecker(const DoubleMatrix& a, const DoubleMatrix& b) {
  DoubleMatrix result(a.rows() * b.rows(), a.cols() * b.cols());
  for (int64_t i = 0; i < a.rows(); ++i) {
    for (int64_t j = 0; j < a.cols(); ++j) {
      result.block(i * b.rows(), j * b.cols(), b.rows(), b.cols()) = a(i, j) * b;
    }
  }
  return result;
}

/// Orthonormal DCT-II.
DoubleMatrix cosine_transform(int64_t order) {
  const auto n = static_cast<double>(order);
  DoubleMatrix result(order, order);
  for (int64_t k = 0; k < order; ++k) {
    for (int64_t i = 0; i < order; ++i) {
      const double angle =
          std::numbers::pi * (static_cast<double>(i) + 0.5) * static_cast<double>(k) / n;
      result(k, i) = std::sqrt((k == 0 ? 1.0 : 2.0) / n) * std::cos(angle);
    }
  }
  return result;
}

}  // namespace

std::optional<DoubleMatrix> hadamard(int64_t order) {
  if (order == 1) return DoubleMatrix::Ones(1, 1);
  if (order == 2 || (order > 2 && order % 4 == 0)) {
    if (const auto half = hadamard(order / 2)) {
      DoubleMatrix two(2, 2);
      two << 1, 1, 1, -1;
      return kronecker(two, *half);
    }
    if (is_prime(order - 1)) return paley_one(order - 1);  // order = 0 mod 4: q = 3 mod 4
    const int64_t q = order / 2 - 1;
    if (q % 4 == 1 && is_prime(q)) return paley_two(q);
  }
  return std::nullopt;
}

DoubleMatrix random_rotation(int64_t width, uint32_t seed) {
  int64_t order = width;
  std::optional<DoubleMatrix> core = hadamard(order);
  while (!core) {  // ends at order 1
    --order;
    if (width % order == 0) core = hadamard(order);
  }
  DoubleMatrix result = *core / std::sqrt(static_cast<double>(order));
  if (order != width) result = kronecker(result, cosine_transform(width / order));
  std::mt19937 random(seed);
  for (int64_t i = 0; i < width; ++i) {
    if ((random() & 1U) != 0) result.row(i) *= -1.0;
    if ((random() & 1U) != 0) result.col(i) *= -1.0;
  }
  return result;
}

DoubleMatrix mean_preserving_rotation(int64_t width, uint32_t seed) {
  DoubleMatrix result = random_rotation(width, seed);
  const Eigen::VectorXd v =
      Eigen::VectorXd::Constant(width, 1.0 / std::sqrt(static_cast<double>(width)));
  const Eigen::VectorXd u = result * v - v;
  const double length = u.squaredNorm();
  constexpr double kNothing = 1e-24;  // R keeps the mean already
  if (length > kNothing) result -= (2.0 / length) * u * (u.transpose() * result);
  return result;
}

}  // namespace ounce::quantize
