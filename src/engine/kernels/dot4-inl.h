// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_DOT4_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_DOT4_INL_H
#undef OUNCE_ENGINE_KERNELS_DOT4_INL_H
#else
#define OUNCE_ENGINE_KERNELS_DOT4_INL_H
#endif

#include <cmath>

#include "engine/kernels/simd-inl.h"

// The one integer primitive of every 8-bit kernel: each i32 lane gains the sum of four products of
// an unsigned and a signed byte, exactly. An instruction set supplies a `Dot`:
//   A broadcast(word)  four unsigned bytes, prepared, in every lane
//   A load_a(vector)   four unsigned bytes a lane, prepared
//   B load(p)          four signed bytes a lane, prepared
//   dot(acc, A, B)
//   kInputShift        the A bytes are used as a - kInputShift: the caller adds
//                      kInputShift * sum(b) to where it starts
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

HWY_INLINE uint32_t load_word(const void* p) {
  uint32_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

// The first `count` < 4 bytes, zeros above.
HWY_INLINE uint32_t load_word_part(const uint8_t* p, int64_t count) {
  uint32_t word = 0;
  for (int64_t i = 0; i < count; ++i) word |= uint32_t{p[i]} << (8 * i);
  return word;
}

HWY_INLINE VI load_words(const void* p) {
#if HWY_TARGET == HWY_SCALAR
  return VI(static_cast<int32_t>(load_word(p)));
#else
  return hn::BitCast(DI(),
                     hn::LoadU(hn::Repartition<uint8_t, DI>(), static_cast<const uint8_t*>(p)));
#endif
}

#if HWY_TARGET == HWY_AVX3_DL

struct Dot {
  using A = VI;
  using B = VI;
  static constexpr int32_t kInputShift = 0;
  static HWY_INLINE A broadcast(uint32_t word) { return hn::Set(DI(), static_cast<int32_t>(word)); }
  static HWY_INLINE A load_a(VI v) { return v; }
  static HWY_INLINE B load(const int8_t* p) { return load_words(p); }
  static HWY_INLINE VI dot(VI acc, A a, B b) {
    return VI{_mm512_dpbusd_epi32(acc.raw, a.raw, b.raw)};
  }
};

#elif HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2

// Without a byte dot product: even and odd bytes are widened to 16 bits, whose pairwise
// multiply-add (vpmaddwd) cannot overflow. vpmaddubsw would saturate.
struct Dot {
  struct Halves {
    VI even, odd;
  };
  using A = Halves;
  using B = Halves;
  static constexpr int32_t kInputShift = 0;
  static HWY_INLINE A load_a(VI v) {
    const hn::Repartition<uint16_t, DI> d16;
    return {hn::And(v, hn::Set(DI(), 0x00FF00FF)),
            hn::BitCast(DI(), hn::ShiftRight<8>(hn::BitCast(d16, v)))};
  }
  static HWY_INLINE A broadcast(uint32_t word) {
    return load_a(hn::Set(DI(), static_cast<int32_t>(word)));
  }
  static HWY_INLINE B load(const int8_t* p) {
    const hn::Repartition<int16_t, DI> d16;
    const auto v = hn::BitCast(d16, load_words(p));
    return {hn::BitCast(DI(), hn::ShiftRight<8>(hn::ShiftLeft<8>(v))),
            hn::BitCast(DI(), hn::ShiftRight<8>(v))};
  }
  static HWY_INLINE VI pair_sums(VI a, VI b) {
#if HWY_TARGET == HWY_AVX3
    return VI{_mm512_madd_epi16(a.raw, b.raw)};
#else
    return VI{_mm256_madd_epi16(a.raw, b.raw)};
#endif
  }
  static HWY_INLINE VI dot(VI acc, A a, B b) {
    return hn::Add(hn::Add(acc, pair_sums(a.even, b.even)), pair_sums(a.odd, b.odd));
  }
};

#elif HWY_TARGET == HWY_NEON

// Arm multiplies bytes of equal signedness: a xor 0x80 is a - 128 as a signed byte.
struct DotPlain {
  using A = int8x16_t;
  using B = int8x16_t;
  static constexpr int32_t kInputShift = 128;
  static HWY_INLINE A load_a(VI v) {
    return vreinterpretq_s8_s32(veorq_s32(v.raw, vdupq_n_s32(static_cast<int32_t>(0x80808080U))));
  }
  static HWY_INLINE A broadcast(uint32_t word) {
    return vreinterpretq_s8_u32(vdupq_n_u32(word ^ 0x80808080U));
  }
  static HWY_INLINE B load(const int8_t* p) { return vld1q_s8(p); }
  static HWY_INLINE VI dot(VI acc, A a, B b) {
    // Sums of two products of -128 * -128 do not fit in 16 bits: widen before adding.
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    const int32x4_t high = vpaddlq_s16(vmull_high_s8(a, b));
    return VI{vaddq_s32(acc.raw, vpaddq_s32(low, high))};
  }
};

// The dot-product extension of Armv8.2. Inline assembly, so that the choice can be made at run time
// in a translation unit compiled for the base architecture.
struct Dot : DotPlain {
  static HWY_INLINE VI dot(VI acc, A a, B b) {
    int32x4_t sum = acc.raw;
    asm(".arch_extension dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
    return VI{sum};
  }
};

#else

struct Dot {
  using A = uint32_t;
  using B = uint32_t;
  static constexpr int32_t kInputShift = 0;
  static HWY_INLINE A broadcast(uint32_t word) { return word; }
  static HWY_INLINE A load_a(VI v) { return static_cast<uint32_t>(v.raw); }
  static HWY_INLINE B load(const int8_t* p) { return load_word(p); }
  static HWY_INLINE VI dot(VI acc, A a, B b) {
    int32_t sum = acc.raw;
    for (int i = 0; i < 4; ++i) {
      sum += static_cast<uint8_t>(a >> (8 * i)) * static_cast<int8_t>(b >> (8 * i));
    }
    return VI(sum);
  }
};

#endif

// Conversion to integer, half to even; the argument is in the range of int32_t.
HWY_INLINE VI round_to_i32(VF x) {
#if HWY_CAP_GE512
  return VI{_mm512_cvtps_epi32(x.raw)};
#elif HWY_TARGET == HWY_AVX2
  return VI{_mm256_cvtps_epi32(x.raw)};
#elif HWY_TARGET == HWY_NEON
  return VI{vcvtnq_s32_f32(x.raw)};
#else
  return VI(static_cast<int32_t>(std::nearbyint(x.raw)));
#endif
}

// One byte a lane.
using DBytes = hn::Rebind<uint8_t, DI>;

// Lanes are in [0, 255].
HWY_INLINE void store_codes(VI q, uint8_t* p) {
#if HWY_CAP_GE512
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(q.raw));
#else
  hn::StoreU(hn::DemoteTo(DBytes(), q), DBytes(), p);
#endif
}
HWY_INLINE VI load_codes(const uint8_t* p) {
  return hn::PromoteTo(DI(), hn::LoadU(DBytes(), p));
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
