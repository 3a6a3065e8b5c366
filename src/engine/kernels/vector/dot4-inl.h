// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_DOT4_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_DOT4_INL_H
#undef OUNCE_ENGINE_KERNELS_DOT4_INL_H
#else
#define OUNCE_ENGINE_KERNELS_DOT4_INL_H
#endif

#include <cmath>

#include "engine/kernels/vector/simd-inl.h"

// The one integer primitive of every 8-bit kernel: each i32 lane gains the sum of four products of
// an unsigned and a signed byte, exactly. Operands are prepared once and used often. An instruction
// set supplies a `Dot`, for every vector width it has:
//   prepare_a(v)    four unsigned bytes a lane
//   prepare_b(v)    four signed bytes a lane
//   dot(acc, a, b)  acc + the four products, of prepared operands
//   kInputShift     the A bytes are used as a - kInputShift: the caller adds
//                   kInputShift * sum(b) to where it starts
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
  static constexpr int32_t kInputShift = 0;
  template <class V>
  static HWY_INLINE V prepare_a(V v) {
    return v;
  }
  template <class V>
  static HWY_INLINE V prepare_b(V v) {
    return v;
  }
  using V512 = hn::Vec512<int32_t>;
  using V256 = hn::Vec256<int32_t>;
  using V128 = hn::Vec128<int32_t>;
  static HWY_INLINE V512 dot(V512 acc, V512 a, V512 b) {
    return V512{_mm512_dpbusd_epi32(acc.raw, a.raw, b.raw)};
  }
  // Highway's target has AVX-VNNI too, whose encoding the compiler would prefer for short vectors;
  // processors with AVX-512 VNNI need not know it.
  static HWY_INLINE V256 dot(V256 acc, V256 a, V256 b) {
    asm("%{evex%} vpdpbusd %2, %1, %0" : "+v"(acc.raw) : "v"(a.raw), "v"(b.raw));
    return acc;
  }
  static HWY_INLINE V128 dot(V128 acc, V128 a, V128 b) {
    asm("%{evex%} vpdpbusd %2, %1, %0" : "+v"(acc.raw) : "v"(a.raw), "v"(b.raw));
    return acc;
  }
};

#elif HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2

// Sums of two products of neighbouring 16-bit numbers.
HWY_INLINE hn::Vec128<int32_t> pair_sums(hn::Vec128<int32_t> a, hn::Vec128<int32_t> b) {
  return hn::Vec128<int32_t>{_mm_madd_epi16(a.raw, b.raw)};
}
HWY_INLINE hn::Vec256<int32_t> pair_sums(hn::Vec256<int32_t> a, hn::Vec256<int32_t> b) {
  return hn::Vec256<int32_t>{_mm256_madd_epi16(a.raw, b.raw)};
}
#if HWY_TARGET == HWY_AVX3
HWY_INLINE hn::Vec512<int32_t> pair_sums(hn::Vec512<int32_t> a, hn::Vec512<int32_t> b) {
  return hn::Vec512<int32_t>{_mm512_madd_epi16(a.raw, b.raw)};
}
#endif

// Without a byte dot product: even and odd bytes are widened to 16 bits, whose pairwise
// multiply-add (vpmaddwd) cannot overflow. vpmaddubsw would saturate.
struct Dot {
  static constexpr int32_t kInputShift = 0;
  template <class V>
  struct Halves {
    V even, odd;
  };
  template <class V>
  static HWY_INLINE Halves<V> prepare_a(V v) {
    const hn::DFromV<V> d;
    const hn::Repartition<uint16_t, decltype(d)> d16;
    return {hn::And(v, hn::Set(d, 0x00FF00FF)),
            hn::BitCast(d, hn::ShiftRight<8>(hn::BitCast(d16, v)))};
  }
  template <class V>
  static HWY_INLINE Halves<V> prepare_b(V v) {
    const hn::DFromV<V> d;
    const hn::Repartition<int16_t, decltype(d)> d16;
    const auto v16 = hn::BitCast(d16, v);
    return {hn::BitCast(d, hn::ShiftRight<8>(hn::ShiftLeft<8>(v16))),
            hn::BitCast(d, hn::ShiftRight<8>(v16))};
  }
  template <class V>
  static HWY_INLINE V dot(V acc, Halves<V> a, Halves<V> b) {
    return hn::Add(hn::Add(acc, pair_sums(a.even, b.even)), pair_sums(a.odd, b.odd));
  }
};

#elif HWY_TARGET == HWY_NEON

// Arm multiplies bytes of equal signedness: a xor 0x80 is a - 128 as a signed byte.
struct DotPlain {
  static constexpr int32_t kInputShift = 128;
  static HWY_INLINE int8x16_t prepare_a(VI v) {
    return vreinterpretq_s8_s32(veorq_s32(v.raw, vdupq_n_s32(static_cast<int32_t>(0x80808080U))));
  }
  static HWY_INLINE int8x16_t prepare_b(VI v) { return vreinterpretq_s8_s32(v.raw); }
  static HWY_INLINE VI dot(VI acc, int8x16_t a, int8x16_t b) {
    // Sums of two products of -128 * -128 do not fit in 16 bits: widen before adding.
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    const int32x4_t high = vpaddlq_s16(vmull_high_s8(a, b));
    return VI{vaddq_s32(acc.raw, vpaddq_s32(low, high))};
  }
};

// The dot-product extension of Armv8.2. Inline assembly, so that the choice can be made at run time
// in a translation unit compiled for the base architecture.
struct Dot : DotPlain {
  static HWY_INLINE VI dot(VI acc, int8x16_t a, int8x16_t b) {
    int32x4_t sum = acc.raw;
    asm(".arch armv8.2-a+crypto+dotprod\n\tsdot %0.4s, %1.16b, %2.16b"
        : "+w"(sum)
        : "w"(a), "w"(b));
    return VI{sum};
  }
};

#else

struct Dot {
  static constexpr int32_t kInputShift = 0;
  static HWY_INLINE VI prepare_a(VI v) { return v; }
  static HWY_INLINE VI prepare_b(VI v) { return v; }
  static HWY_INLINE VI dot(VI acc, VI a, VI b) {
    for (int i = 0; i < 4; ++i) {
      acc.raw += static_cast<uint8_t>(a.raw >> (8 * i)) * static_cast<int8_t>(b.raw >> (8 * i));
    }
    return acc;
  }
};

#endif

// Four unsigned bytes, prepared, in every lane.
template <class Dot>
HWY_INLINE auto broadcast_word(uint32_t word) {
  return Dot::prepare_a(hn::Set(DI(), static_cast<int32_t>(word)));
}
using PreparedWeights = decltype(Dot::prepare_b(hn::Zero(DI())));

// Conversion to integer, half to even; the argument is in the range of int32_t.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE VI round_to_i32(VF x) {
  return VI(static_cast<int32_t>(std::nearbyint(x.raw)));
}
#elif HWY_TARGET == HWY_NEON
HWY_INLINE VI round_to_i32(VF x) {
  return VI{vcvtnq_s32_f32(x.raw)};
}
#else
HWY_INLINE hn::Vec128<int32_t> round_to_i32(hn::Vec128<float> x) {
  return hn::Vec128<int32_t>{_mm_cvtps_epi32(x.raw)};
}
HWY_INLINE hn::Vec256<int32_t> round_to_i32(hn::Vec256<float> x) {
  return hn::Vec256<int32_t>{_mm256_cvtps_epi32(x.raw)};
}
#if HWY_CAP_GE512
HWY_INLINE hn::Vec512<int32_t> round_to_i32(hn::Vec512<float> x) {
  return hn::Vec512<int32_t>{_mm512_cvtps_epi32(x.raw)};
}
#endif
#endif

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
