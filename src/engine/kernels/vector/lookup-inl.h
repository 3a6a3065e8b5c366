// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_LOOKUP_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_LOOKUP_INL_H
#undef OUNCE_ENGINE_KERNELS_LOOKUP_INL_H
#else
#define OUNCE_ENGINE_KERNELS_LOOKUP_INL_H
#endif

#include "engine/kernels/vector/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// out[i] = table[in[i]] with a table of 256 bytes; in == out is allowed.
inline void lookup_bytes(const uint8_t* in, uint8_t* out, int64_t count, const uint8_t* table) {
  int64_t i = 0;
#if HWY_TARGET == HWY_AVX3_DL
  // Two permutations of 128 entries each; the top bit of the index picks between them. Masked at
  // the end, so that every length takes this path.
  const __m512i t0 = _mm512_loadu_si512(table);
  const __m512i t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128);
  const __m512i t3 = _mm512_loadu_si512(table + 192);
  for (; i < count; i += 64) {
    const __mmask64 valid = count - i >= 64 ? ~__mmask64{0} : (__mmask64{1} << (count - i)) - 1;
    const __m512i index = _mm512_maskz_loadu_epi8(valid, in + i);
    const __m512i low = _mm512_permutex2var_epi8(t0, index, t1);
    const __m512i high = _mm512_permutex2var_epi8(t2, index, t3);
    const __m512i y = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
    _mm512_mask_storeu_epi8(out + i, valid, y);
  }
#elif HWY_TARGET == HWY_NEON
  uint8x16x4_t part[4];
  for (int p = 0; p < 4; ++p) part[p] = vld1q_u8_x4(table + 64 * p);
  for (; i + 16 <= count; i += 16) {
    const uint8x16_t index = vld1q_u8(in + i);
    uint8x16_t y = vqtbl4q_u8(part[0], index);  // 0 where the index is out of the 64 entries
    for (int p = 1; p < 4; ++p) {
      y = vqtbx4q_u8(y, part[p], vsubq_u8(index, vdupq_n_u8(static_cast<uint8_t>(64 * p))));
    }
    vst1q_u8(out + i, y);
  }
#endif
  for (; i < count; ++i) out[i] = table[in[i]];
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
