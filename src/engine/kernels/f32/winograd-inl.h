// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_WINOGRAD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_WINOGRAD_INL_H
#undef OUNCE_ENGINE_KERNELS_WINOGRAD_INL_H
#else
#define OUNCE_ENGINE_KERNELS_WINOGRAD_INL_H
#endif

#include "engine/kernels/f32/winograd_points.h"
#include "engine/kernels/vector/simd-inl.h"

// The transforms of Winograd convolutions, one axis at a time, on vectors of channels.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

HWY_INLINE VF scalar(double value) {
  return hn::Set(DF(), static_cast<float>(value));
}

// kOut + 2 pixels of an axis to kOut + 2 values at the points of WinogradPoints<kOut>: pairs of
// points that differ in sign share their even and odd powers.
template <int kOut>
HWY_INLINE void transform_input_line(const VF (&d)[kOut + 2], VF (&v)[kOut + 2]) {
  if constexpr (kOut == 2) {
    v[0] = hn::Sub(d[2], d[0]);
    v[1] = hn::Add(d[2], d[1]);
    v[2] = hn::Sub(d[2], d[1]);
    v[3] = hn::Sub(d[3], d[1]);
  } else {
    constexpr double a = WinogradPoints<4>::kNear;
    constexpr double b = WinogradPoints<4>::kFar;
    const VF product = scalar(a * a * b * b);
    const VF sum = scalar(a * a + b * b);
    v[0] = hn::MulAdd(product, d[0], hn::NegMulAdd(sum, d[2], d[4]));
    v[5] = hn::MulAdd(product, d[1], hn::NegMulAdd(sum, d[3], d[5]));
    const VF near_even = hn::NegMulAdd(scalar(b * b), d[2], d[4]);
    const VF near_odd = hn::NegMulAdd(scalar(b * b), d[1], d[3]);
    v[1] = hn::MulAdd(scalar(a), near_odd, near_even);
    v[2] = hn::NegMulAdd(scalar(a), near_odd, near_even);
    const VF far_even = hn::NegMulAdd(scalar(a * a), d[2], d[4]);
    const VF far_odd = hn::NegMulAdd(scalar(a * a), d[1], d[3]);
    v[3] = hn::MulAdd(scalar(b), far_odd, far_even);
    v[4] = hn::NegMulAdd(scalar(b), far_odd, far_even);
  }
}

// Sums of products at the points to kOut pixels of the output.
template <int kOut>
HWY_INLINE void transform_output_line(const VF (&m)[kOut + 2], VF (&y)[kOut]) {
  const VF near_sum = hn::Add(m[1], m[2]);
  const VF near_difference = hn::Sub(m[1], m[2]);
  if constexpr (kOut == 2) {
    y[0] = hn::Add(m[0], near_sum);
    y[1] = hn::Add(m[3], near_difference);
  } else {
    constexpr double a = WinogradPoints<4>::kNear;
    constexpr double b = WinogradPoints<4>::kFar;
    const VF far_sum = hn::Add(m[3], m[4]);
    const VF far_difference = hn::Sub(m[3], m[4]);
    y[0] = hn::Add(m[0], hn::Add(near_sum, far_sum));
    y[1] = hn::MulAdd(scalar(a), near_difference, hn::Mul(scalar(b), far_difference));
    y[2] = hn::MulAdd(scalar(a * a), near_sum, hn::Mul(scalar(b * b), far_sum));
    y[3] = hn::MulAdd(scalar(a * a * a), near_difference,
                      hn::MulAdd(scalar(b * b * b), far_difference, m[5]));
  }
}

// One vector of channels of a tile: `at(y, x)` is a pixel's vector, `put(position, v)` takes one.
template <int kHeight, int kWidth, class At, class Put>
HWY_INLINE void transform_input(const At& at, const Put& put) {
  VF columns[kHeight + 2][kWidth + 2];
#pragma GCC unroll kUnroll
  for (int x = 0; x < kWidth + 2; ++x) {
    VF d[kHeight + 2], v[kHeight + 2];
#pragma GCC unroll kUnroll
    for (int y = 0; y < kHeight + 2; ++y) d[y] = at(y, x);
    transform_input_line<kHeight>(d, v);
#pragma GCC unroll kUnroll
    for (int y = 0; y < kHeight + 2; ++y) columns[y][x] = v[y];
  }
#pragma GCC unroll kUnroll
  for (int y = 0; y < kHeight + 2; ++y) {
    VF v[kWidth + 2];
    transform_input_line<kWidth>(columns[y], v);
#pragma GCC unroll kUnroll
    for (int x = 0; x < kWidth + 2; ++x) put(y * (kWidth + 2) + x, v[x]);
  }
}

template <int kHeight, int kWidth, class At, class Put>
HWY_INLINE void transform_output(const At& at, const Put& put) {
  VF columns[kHeight][kWidth + 2];
#pragma GCC unroll kUnroll
  for (int x = 0; x < kWidth + 2; ++x) {
    VF m[kHeight + 2], v[kHeight];
#pragma GCC unroll kUnroll
    for (int y = 0; y < kHeight + 2; ++y) m[y] = at(y * (kWidth + 2) + x);
    transform_output_line<kHeight>(m, v);
#pragma GCC unroll kUnroll
    for (int y = 0; y < kHeight; ++y) columns[y][x] = v[y];
  }
#pragma GCC unroll kUnroll
  for (int y = 0; y < kHeight; ++y) {
    VF v[kWidth];
    transform_output_line<kWidth>(columns[y], v);
#pragma GCC unroll kUnroll
    for (int x = 0; x < kWidth; ++x) put(y, x, v[x]);
  }
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
