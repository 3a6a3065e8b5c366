// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_ROUND_CODES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_ROUND_CODES_INL_H
#undef OUNCE_ENGINE_KERNELS_ROUND_CODES_INL_H
#else
#define OUNCE_ENGINE_KERNELS_ROUND_CODES_INL_H
#endif

#include "engine/kernels/f32/epilogue_f32-inl.h"
#include "engine/kernels/vector/dot4-inl.h"

// Floats to 8-bit codes and back, a vector at a time.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

HWY_INLINE VI load_codes_part(const uint8_t* p, int64_t lanes) {
  if (lanes == kLanes) return load_codes(p);
  uint8_t codes[kLanes] = {};
  std::memcpy(codes, p, static_cast<size_t>(lanes));
  return load_codes(codes);
}
HWY_INLINE void store_codes_part(VI q, uint8_t* p, int64_t lanes) {
  if (lanes == kLanes) return store_codes(q, p);
  uint8_t codes[kLanes];
  store_codes(q, codes);
  std::memcpy(p, codes, static_cast<size_t>(lanes));
}

// clamp(round_half_even(x) + zero, lo, hi): clamped as float first, so that the conversion cannot
// overflow; NaN becomes the zero point.
struct Rounder {
  Rounder(int32_t zero_point, int32_t lo_code, int32_t hi_code)
      : lo(constant(static_cast<float>(lo_code - zero_point))),
        hi(constant(static_cast<float>(hi_code - zero_point))),
        zero(hn::Set(DI(), zero_point)) {}
  HWY_INLINE VI operator()(VF x) const {
    const VF number = hn::IfThenElseZero(hn::Eq(x, x), x);
    return hn::Add(round_to_i32(hn::Min(hn::Max(number, lo), hi)), zero);
  }
  VF lo, hi;
  VI zero;
};

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
