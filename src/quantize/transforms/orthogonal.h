#pragma once

#include <cstdint>
#include <optional>

#include "quantize/transforms/matrix.h"

/// Orthogonal matrices whose entries are all about as large: what they multiply, they spread.
namespace ounce::quantize {

/// A Hadamard matrix: entries +-1, H H^T = n I. Orders are doubled after Sylvester from 1, 2, or an
/// order that Paley's constructions give for a prime q: q + 1 for q = 3 mod 4 (4, 8, 12, 20, 24,
/// ...) and 2 (q + 1) for q = 1 mod 4 (12, 28, 36, 60, ...). nullopt for other orders.
std::optional<DoubleMatrix> hadamard(int64_t order);

/// A randomised orthogonal matrix [width, width] (QuaRot, arXiv 2404.00456, section 3): D H D',
/// with random signs D and D', and H the Kronecker product of the largest Hadamard matrix whose
/// order divides `width`, over the root of its order, with an orthonormal DCT-II of what is left
/// (the whole matrix for most widths of networks: 192 = 16 x 12, 384, 768, 1024, ...).
DoubleMatrix random_rotation(int64_t width, uint32_t seed);

/// Such a matrix that leaves the mean of a row alone: Q 1 = 1 and with it Q^T 1 = 1. A
/// normalization with mean and variance commutes with it, LN(x Q) = LN(x) Q, so that nothing has to
/// become an RMS normalization. Q = P R: R as above takes the unit vector v along 1 to w = R v, and
/// P = I - 2 u u^T / u^T u with u = w - v (Householder) takes w back. The signs on both sides of R
/// make w and v^T R random, so that no entry of P R is much larger than those of R.
DoubleMatrix mean_preserving_rotation(int64_t width, uint32_t seed);

}  // namespace ounce::quantize
