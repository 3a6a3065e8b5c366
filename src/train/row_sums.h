#pragma once

#include <cstdint>

namespace ounce::train {

/// Sum of `count` terms term(i), in eight running sums that the compiler keeps in registers: it may
/// not reorder sums of floats by itself.
template <class Term>
float sum_of_terms(int64_t count, Term term) {
  constexpr int64_t kLanes = 8;
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
  }
  for (; i < count; ++i) lanes[0] += term(i);
  float sum = 0.0F;
  for (const float lane : lanes) sum += lane;
  return sum;
}

inline float sum_of(const float* x, int64_t count) {
  return sum_of_terms(count, [x](int64_t i) { return x[i]; });
}

inline float dot(const float* a, const float* b, int64_t count) {
  return sum_of_terms(count, [a, b](int64_t i) { return a[i] * b[i]; });
}

}  // namespace ounce::train
