// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_TALLY_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_TALLY_INL_H
#undef OUNCE_ENGINE_KERNELS_TALLY_INL_H
#else
#define OUNCE_ENGINE_KERNELS_TALLY_INL_H
#endif

#include <bit>

#include "engine/kernels/vector/simd-inl.h"

// Counting of set bits in 32-bit lanes: what an instruction set supplies to products of bit planes.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// `count` gathers the set bits of words, at most kTallyWords of them; `tally_sum` gives the number
// in every lane.
inline constexpr int64_t kUnlimited = int64_t{1} << 40;

#if HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_SCALAR

inline constexpr int64_t kTallyWords = kUnlimited;
HWY_INLINE VI tally(VI count, VI word) {
#if HWY_TARGET == HWY_SCALAR
  return VI(count.raw + std::popcount(static_cast<uint32_t>(word.raw)));
#else
  return hn::Add(count, VI{_mm512_popcnt_epi32(word.raw)});
#endif
}
HWY_INLINE VI tally_sum(VI count) {
  return count;
}

#elif HWY_TARGET == HWY_NEON

// A byte counts at most 8 bits of a word: 31 words fit into it.
inline constexpr int64_t kTallyWords = 31;
HWY_INLINE VI tally(VI count, VI word) {
  const uint8x16_t bits = vcntq_u8(vreinterpretq_u8_s32(word.raw));
  return VI{vreinterpretq_s32_u8(vaddq_u8(vreinterpretq_u8_s32(count.raw), bits))};
}
HWY_INLINE VI tally_sum(VI count) {
  const uint8x16_t bytes = vreinterpretq_u8_s32(count.raw);
  return VI{vreinterpretq_s32_u32(vpaddlq_u16(vpaddlq_u8(bytes)))};
}

#else

inline constexpr int64_t kTallyWords = 31;
HWY_INLINE VI tally(VI count, VI word) {
  const hn::Repartition<uint8_t, DI> d;
  const hn::Repartition<uint16_t, DI> d16;
  alignas(16) static constexpr uint8_t kBits[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
  const auto bits = hn::LoadDup128(d, kBits);
  const auto nibble = hn::Set(d, uint8_t{15});
  const auto low = hn::And(hn::BitCast(d, word), nibble);
  const auto high = hn::And(hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(d16, word))), nibble);
  const auto sum = hn::Add(hn::TableLookupBytes(bits, low), hn::TableLookupBytes(bits, high));
  return hn::BitCast(DI(), hn::Add(hn::BitCast(d, count), sum));
}
#if HWY_CAP_GE512
HWY_INLINE VI tally_sum(VI count) {
  const __m512i pairs = _mm512_maddubs_epi16(count.raw, _mm512_set1_epi8(1));
  return VI{_mm512_madd_epi16(pairs, _mm512_set1_epi16(1))};
}
#else
HWY_INLINE VI tally_sum(VI count) {
  const __m256i pairs = _mm256_maddubs_epi16(count.raw, _mm256_set1_epi8(1));
  return VI{_mm256_madd_epi16(pairs, _mm256_set1_epi16(1))};
}
#endif

#endif

// The planes of a product: how a word of the left and one of the right operand meet.
enum class BitJoin { kXor, kAnd };

template <BitJoin kJoin>
HWY_INLINE VI join_words(VI a, VI b) {
  return kJoin == BitJoin::kXor ? hn::Xor(a, b) : hn::And(a, b);
}

// Where counting a word takes many operations, two of them are first added to `ones`, which holds
// one bit of a count in every bit position; what is returned are the carries, to be counted twice.
// (With an instruction that counts, this saves nothing: three recent results make the one operation
// of the carry as slow as two.)
#if HWY_TARGET == HWY_AVX3
inline constexpr bool kCarrySave = true;
template <BitJoin kJoin>
HWY_INLINE VI add_with_carry(VI& ones, VI a0, VI b0, VI a1, VI b1) {
  // With p = ones ^ j0 and next = p ^ j1, the carry is (p ? j1 : ones), and j1 is p ^ next: the
  // joins disappear in operations of three inputs.
  constexpr int kAdd = kJoin == BitJoin::kXor ? 0x96 : 0x78;  // ones ^ (a join b)
  const __m512i p = _mm512_ternarylogic_epi32(ones.raw, a0.raw, b0.raw, kAdd);
  const __m512i next = _mm512_ternarylogic_epi32(p, a1.raw, b1.raw, kAdd);
  const __m512i carry = _mm512_ternarylogic_epi32(p, next, ones.raw, 0x3A);
  ones.raw = next;
  return VI{carry};
}
#elif HWY_TARGET == HWY_AVX2
inline constexpr bool kCarrySave = true;
template <BitJoin kJoin>
HWY_INLINE VI add_with_carry(VI& ones, VI a0, VI b0, VI a1, VI b1) {
  const VI j1 = join_words<kJoin>(a1, b1);
  const VI p = hn::Xor(ones, join_words<kJoin>(a0, b0));
  const VI carry = hn::Xor(ones, hn::And(p, hn::Xor(ones, j1)));
  ones = hn::Xor(p, j1);
  return carry;
}
#else
inline constexpr bool kCarrySave = false;
#endif

// count + popcount(a join b).
template <BitJoin kJoin>
HWY_INLINE VI tally_joined(VI count, VI a, VI b) {
#if HWY_TARGET == HWY_AVX3_DL
  // One piece of assembly: the compiler would move the parts of many such additions past one
  // another until the counters no longer fit the registers.
  __m512i joined;
  if constexpr (kJoin == BitJoin::kXor) {
    asm("vpxord %[b], %[a], %[joined]\n\t"
        "vpopcntd %[joined], %[joined]\n\t"
        "vpaddd %[joined], %[count], %[count]"
        : [count] "+v"(count.raw), [joined] "=&v"(joined)
        : [a] "v"(a.raw), [b] "v"(b.raw));
  } else {
    asm("vpandd %[b], %[a], %[joined]\n\t"
        "vpopcntd %[joined], %[joined]\n\t"
        "vpaddd %[joined], %[count], %[count]"
        : [count] "+v"(count.raw), [joined] "=&v"(joined)
        : [a] "v"(a.raw), [b] "v"(b.raw));
  }
  return count;
#else
  return tally(count, join_words<kJoin>(a, b));
#endif
}

// mask & (a ^ b).
HWY_INLINE VI masked_difference(VI mask, VI a, VI b) {
#if HWY_CAP_GE512
  return VI{_mm512_ternarylogic_epi32(mask.raw, a.raw, b.raw, 0x60)};
#else
  return hn::And(mask, hn::Xor(a, b));
#endif
}

// What the products count, for 64 k at a time: two 32-bit words of every plane. A counter has
//   kPlanesA, kPlanesB  planes that it reads together
//   kRegisters          that it lives in
//   kFactor             what each count adds to the product: 1, -2, or kEitherFactor
//   kSteps              steps until its sum must be taken
//   step(a, b)          a[plane][half] in all lanes, b[plane][half]
//   sum()               the total since the last reset
//   twice()             doubles it; where kSteps is unlimited
// (Constructors that are written out are compiled for this target; implied ones are not by every
// compiler.)
struct HalfWords {
  HWY_INLINE HalfWords() {}
  HWY_INLINE HalfWords(VI low, VI high) {
    half[0] = low;
    half[1] = high;
  }
  VI half[2];
};

// Of codes, which may be signs on either side: known only to the product.
inline constexpr int32_t kEitherFactor = 0;

constexpr int64_t steps_of_words(int64_t words) {
  return kTallyWords == kUnlimited ? kUnlimited : kTallyWords / words;
}

// Signs are joined by xor, codes by and.
constexpr int32_t factor_of_join(BitJoin join) {
  return join == BitJoin::kXor ? -2 : kEitherFactor;
}

// popcount(a join b).
template <BitJoin kJoin, bool kSaveCarries = kCarrySave>
struct JoinCounter {
  static constexpr int kPlanesA = 1, kPlanesB = 1;
  static constexpr int kRegisters = 1;
  static constexpr int32_t kFactor = factor_of_join(kJoin);
  static constexpr int64_t kSteps = steps_of_words(2);
  HWY_INLINE JoinCounter() {}
  VI counted;
  HWY_INLINE void reset() { counted = hn::Zero(DI()); }
  HWY_INLINE void step(const HalfWords* a, const HalfWords* b) {
    counted = tally_joined<kJoin>(counted, a->half[0], b->half[0]);
    counted = tally_joined<kJoin>(counted, a->half[1], b->half[1]);
  }
  HWY_INLINE void twice() { counted = hn::Add(counted, counted); }
  HWY_INLINE VI sum() const { return tally_sum(counted); }
};

template <BitJoin kJoin>
struct JoinCounter<kJoin, true> {
  static constexpr int kPlanesA = 1, kPlanesB = 1;
  static constexpr int kRegisters = 2;
  static constexpr int32_t kFactor = factor_of_join(kJoin);
  static constexpr int64_t kSteps = kTallyWords;
  HWY_INLINE JoinCounter() {}
  VI ones, counted;
  HWY_INLINE void reset() { ones = counted = hn::Zero(DI()); }
  HWY_INLINE void step(const HalfWords* a, const HalfWords* b) {
    counted =
        tally(counted, add_with_carry<kJoin>(ones, a->half[0], b->half[0], a->half[1], b->half[1]));
  }
  HWY_INLINE VI sum() const {
    const VI total = tally_sum(counted);
    return hn::Add(hn::Add(total, total), tally_sum(tally(hn::Zero(DI()), ones)));
  }
};

// Signs and ternary weights: popcount(Z & (a ^ S)).
struct MaskedCounter {
  static constexpr int kPlanesA = 1, kPlanesB = 2;
  static constexpr int kRegisters = 1;
  static constexpr int32_t kFactor = -2;
  static constexpr int64_t kSteps = steps_of_words(2);
  HWY_INLINE MaskedCounter() {}
  VI counted;
  HWY_INLINE void reset() { counted = hn::Zero(DI()); }
  HWY_INLINE void step(const HalfWords* a, const HalfWords* b) {
    for (int h = 0; h < 2; ++h) {
      counted = tally(counted, masked_difference(b[0].half[h], a[0].half[h], b[1].half[h]));
    }
  }
  HWY_INLINE void twice() { counted = hn::Add(counted, counted); }
  HWY_INLINE VI sum() const { return tally_sum(counted); }
};

// Both ternary: popcount(Z) - 2 popcount(Z & (Sa ^ Sb)) with Z = Za & Zb.
struct TernaryCounter {
  static constexpr int kPlanesA = 2, kPlanesB = 2;
  static constexpr int kRegisters = 2;
  static constexpr int32_t kFactor = 1;
  static constexpr int64_t kSteps = steps_of_words(2);
  HWY_INLINE TernaryCounter() {}
  VI counted, negative;
  HWY_INLINE void reset() { counted = negative = hn::Zero(DI()); }
  HWY_INLINE void step(const HalfWords* a, const HalfWords* b) {
    for (int h = 0; h < 2; ++h) {
      const VI z = hn::And(a[0].half[h], b[0].half[h]);
      counted = tally(counted, z);
      negative = tally(negative, masked_difference(z, a[1].half[h], b[1].half[h]));
    }
  }
  HWY_INLINE void twice() {
    counted = hn::Add(counted, counted);
    negative = hn::Add(negative, negative);
  }
  HWY_INLINE VI sum() const {
    const VI n = tally_sum(negative);
    return hn::Sub(tally_sum(counted), hn::Add(n, n));
  }
};

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
