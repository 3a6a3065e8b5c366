// Per-target include guard (see hwy/foreach_target.h): this file is read once for every target.
#if defined(OUNCE_ENGINE_KERNELS_SIMD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_SIMD_INL_H
#undef OUNCE_ENGINE_KERNELS_SIMD_INL_H
#else
#define OUNCE_ENGINE_KERNELS_SIMD_INL_H
#endif

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/kernels/common.h"
#include "hwy/highway.h"

// This version of Highway compiles AVX3_DL without the 512-bit dot product.
#if HWY_TARGET == HWY_AVX3_DL
#undef HWY_TARGET_STR
#define HWY_TARGET_STR                                            \
  HWY_TARGET_STR_AVX3                                             \
  ",vpclmulqdq,avx512vbmi,avx512vbmi2,vaes,avxvnni,avx512bitalg," \
  "avx512vpopcntdq,avx512vnni"
#endif

// A function that all files share: neither inlined nor copied for the arguments of one of them.
#if defined(__clang__)
#define OUNCE_SHARED inline __attribute__((noinline))
#else
#define OUNCE_SHARED inline __attribute__((noipa))
#endif

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using DI = hn::ScalableTag<int32_t>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;

// Lanes of one f32 vector: 16, 8, 4 or 1; the same for i32.
inline constexpr int kLanes = static_cast<int>(HWY_LANES(float));
inline constexpr int kPanelVectors = static_cast<int>(kPanelColumns) / kLanes;

// For loops over arrays that live in registers: at least as often as any of them runs. The portable
// level has no registers for them, and would only be large.
inline constexpr int kUnroll = HWY_TARGET == HWY_SCALAR ? 1 : 16;

// Clamps that keep NaN.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE VF at_least(VF x, VF bound) {
  return x.raw < bound.raw ? bound : x;
}
HWY_INLINE VF at_most(VF x, VF bound) {
  return x.raw > bound.raw ? bound : x;
}
#elif HWY_TARGET == HWY_NEON
// Not hn::Max: it prefers the number to the NaN.
HWY_INLINE VF at_least(VF x, VF bound) {
  return VF{vmaxq_f32(x.raw, bound.raw)};
}
HWY_INLINE VF at_most(VF x, VF bound) {
  return VF{vminq_f32(x.raw, bound.raw)};
}
#else
// x86 returns the second operand when one is NaN.
HWY_INLINE VF at_least(VF x, VF bound) {
  return hn::Max(bound, x);
}
HWY_INLINE VF at_most(VF x, VF bound) {
  return hn::Min(bound, x);
}
#endif

// a * b + c, rounded once on every instruction set: where integers come of it, an emulation that
// rounds twice would not give the same ones.
HWY_INLINE VF fused_mul_add(VF a, VF b, VF c) {
#if HWY_TARGET == HWY_SCALAR
  return VF(std::fma(a.raw, b.raw, c.raw));
#else
  return hn::MulAdd(a, b, c);
#endif
}

// The first `count` < lanes elements; the others are zero. Touches nothing beyond them.
#if HWY_CAP_GE512 && !HWY_MEM_OPS_MIGHT_FAULT
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_part(D d, const T* p, int64_t count) {
  return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count)), d, p);
}
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_part(hn::Vec<D> v, D d, T* p, int64_t count) {
  hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(count)), d, p);
}
#else
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_part(D d, const T* p, int64_t count) {
  constexpr int64_t kAll = static_cast<int64_t>(HWY_LANES(T));
  alignas(64) T buffer[kAll] = {};
  std::memcpy(buffer, p, static_cast<size_t>(std::min(count, kAll)) * sizeof(T));
  return hn::Load(d, buffer);
}
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_part(hn::Vec<D> v, D d, T* p, int64_t count) {
  constexpr int64_t kAll = static_cast<int64_t>(HWY_LANES(T));
  alignas(64) T buffer[kAll];
  hn::Store(v, d, buffer);
  std::memcpy(p, buffer, static_cast<size_t>(std::min(count, kAll)) * sizeof(T));
}
#endif

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
