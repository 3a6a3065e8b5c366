// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_NORMALIZE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_NORMALIZE_INL_H
#undef OUNCE_ENGINE_KERNELS_NORMALIZE_INL_H
#else
#define OUNCE_ENGINE_KERNELS_NORMALIZE_INL_H
#endif

#include <algorithm>
#include <cmath>

#include "engine/kernels/f32/epilogue_f32-inl.h"

// Softmax and layer normalization of one row.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Sum of function(column, lanes) over a row. Four partial vectors: shorter rounding chains, and the
// additions do not wait for each other. Lanes beyond the row must be zero.
template <class Function>
HWY_INLINE float sum_of(int64_t columns, const Function& function) {
  VF sums[4] = {hn::Zero(DF()), hn::Zero(DF()), hn::Zero(DF()), hn::Zero(DF())};
  int64_t j = 0;
  for (; j + 4 * kLanes <= columns; j += 4 * kLanes) {
#pragma GCC unroll kUnroll
    for (int i = 0; i < 4; ++i) sums[i] = hn::Add(sums[i], function(j + i * kLanes, kLanes));
  }
  for (; j < columns; j += kLanes) {
    sums[0] = hn::Add(sums[0], function(j, std::min<int64_t>(kLanes, columns - j)));
  }
  const VF all = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
  return hn::GetLane(hn::SumOfLanes(DF(), all));
}

// Zero in the lanes from `lanes` on.
HWY_INLINE VF first_lanes(VF x, int64_t lanes) {
  return lanes == kLanes ? x : hn::IfThenElseZero(hn::FirstN(DF(), static_cast<size_t>(lanes)), x);
}

HWY_INLINE void softmax_row(const float* x, const float* mask, float* y, int64_t columns) {
  const float lowest = -std::numeric_limits<float>::infinity();
  const auto masked = [&](int64_t j, int64_t lanes) HWY_ATTR {
    const VF v = load_lanes(x + j, lanes);
    return mask == nullptr ? v : hn::Add(v, load_lanes(mask + j, lanes));
  };
  VF highest = constant(lowest);
  for_vectors(columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
    VF v = masked(j, lanes);
    if (lanes < kLanes) {
      v = hn::IfThenElse(hn::FirstN(DF(), static_cast<size_t>(lanes)), v, constant(lowest));
    }
    highest = hn::Max(v, highest);
  });
  const float most = hn::GetLane(hn::MaxOfLanes(DF(), highest));
  if (most == lowest) {
    std::fill(y, y + columns, 0.0F);
    return;
  }
  const VF top = constant(most);
  const float sum = sum_of(columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
    const VF e = first_lanes(exp_not_positive(hn::Sub(masked(j, lanes), top)), lanes);
    store_lanes(e, y + j, lanes);
    return e;
  });
  const VF inverse = constant(1.0F / sum);
  for_vectors(columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
    store_lanes(hn::Mul(load_lanes(y + j, lanes), inverse), y + j, lanes);
  });
}

// The parts of the layer normalization of a row: a chain in which each waits for the one before.
HWY_INLINE float row_mean(const float* in, int64_t columns) {
  // Sums of differences to the first element: far from zero, plain sums would lose the digits in
  // which the elements differ.
  const VF pivot = constant(in[0]);
  const float inverse_count = 1.0F / static_cast<float>(columns);
  return in[0] + inverse_count * sum_of(columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
                   return first_lanes(hn::Sub(load_lanes(in + j, lanes), pivot), lanes);
                 });
}
HWY_INLINE float row_scale(const float* in, int64_t columns, float mean, float epsilon) {
  const VF center = constant(mean);
  const float inverse_count = 1.0F / static_cast<float>(columns);
  const float variance = inverse_count * sum_of(columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
                           const VF v =
                               first_lanes(hn::Sub(load_lanes(in + j, lanes), center), lanes);
                           return hn::Mul(v, v);
                         });
  return 1.0F / std::sqrt(variance + epsilon);
}
// in and out may be the same.
HWY_INLINE void scale_row(const float* in, float* out, int64_t columns, float mean, float factor,
                          const float* gamma, const float* beta) {
  const VF center = constant(mean);
  const VF scale = constant(factor);
  for_vectors(columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
    VF v = hn::Mul(hn::Sub(load_lanes(in + j, lanes), center), scale);
    if (gamma != nullptr) v = hn::Mul(v, load_lanes(gamma + j, lanes));
    if (beta != nullptr) v = hn::Add(v, load_lanes(beta + j, lanes));
    store_lanes(v, out + j, lanes);
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
