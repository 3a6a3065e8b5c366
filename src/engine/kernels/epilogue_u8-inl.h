// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_EPILOGUE_U8_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_EPILOGUE_U8_INL_H
#undef OUNCE_ENGINE_KERNELS_EPILOGUE_U8_INL_H
#else
#define OUNCE_ENGINE_KERNELS_EPILOGUE_U8_INL_H
#endif

#include "engine/kernels/dot4-inl.h"
#include "engine/kernels/epilogue_f32-inl.h"
#include "engine/kernels/gemm_u8s8.h"
#include "engine/kernels/lookup-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

inline constexpr int64_t kSumStride = 64;  // row stride of a tile of sums: four panels

// A tile of corrected sums and its place in the output.
struct SumTile {
  int32_t* sums;  // [rows][kSumStride]
  int64_t rows, columns;
  int64_t row, column;         // of the output
  const int32_t* row_offsets;  // [rows of the output] added to the sums, or null
};

// Scaled sums are rounded as floats that cannot overflow the conversion: above this bound every
// code is saturated anyway, and what is far below converts to the lowest integer.
inline constexpr float kRoundable = 1 << 30;

// Adds the zero point to four registers of rounded sums and narrows them to bytes, saturating at
// each step (a code is in [0, 255], so saturation at 16 bits changes nothing); then clamps to [lo,
// hi]. Within every 128-bit block, the bytes of q[0] come first, then q[1], q[2], q[3].
#if HWY_TARGET == HWY_NEON
HWY_INLINE hn::Vec128<uint8_t> narrow(const hn::Vec128<int32_t> (&q)[4], const IntegerEpilogue& e) {
  const int16x8_t zero = vdupq_n_s16(static_cast<int16_t>(e.zero_point));
  const int16x8_t low = vcombine_s16(vqmovn_s32(q[0].raw), vqmovn_s32(q[1].raw));
  const int16x8_t high = vcombine_s16(vqmovn_s32(q[2].raw), vqmovn_s32(q[3].raw));
  const uint8x16_t codes =
      vcombine_u8(vqmovun_s16(vqaddq_s16(low, zero)), vqmovun_s16(vqaddq_s16(high, zero)));
  return hn::Vec128<uint8_t>{vminq_u8(vmaxq_u8(codes, vdupq_n_u8(static_cast<uint8_t>(e.lo))),
                                      vdupq_n_u8(static_cast<uint8_t>(e.hi)))};
}
#elif HWY_TARGET != HWY_SCALAR
HWY_INLINE hn::Vec128<uint8_t> narrow(const hn::Vec128<int32_t> (&q)[4], const IntegerEpilogue& e) {
  const __m128i zero = _mm_set1_epi16(static_cast<int16_t>(e.zero_point));
  const __m128i low = _mm_adds_epi16(_mm_packs_epi32(q[0].raw, q[1].raw), zero);
  const __m128i high = _mm_adds_epi16(_mm_packs_epi32(q[2].raw, q[3].raw), zero);
  const __m128i codes =
      _mm_max_epu8(_mm_packus_epi16(low, high), _mm_set1_epi8(static_cast<int8_t>(e.lo)));
  return hn::Vec128<uint8_t>{_mm_min_epu8(codes, _mm_set1_epi8(static_cast<int8_t>(e.hi)))};
}
HWY_INLINE hn::Vec256<uint8_t> narrow(const hn::Vec256<int32_t> (&q)[4], const IntegerEpilogue& e) {
  const __m256i zero = _mm256_set1_epi16(static_cast<int16_t>(e.zero_point));
  const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(q[0].raw, q[1].raw), zero);
  const __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(q[2].raw, q[3].raw), zero);
  const __m256i codes =
      _mm256_max_epu8(_mm256_packus_epi16(low, high), _mm256_set1_epi8(static_cast<int8_t>(e.lo)));
  return hn::Vec256<uint8_t>{_mm256_min_epu8(codes, _mm256_set1_epi8(static_cast<int8_t>(e.hi)))};
}
#if HWY_CAP_GE512
HWY_INLINE hn::Vec512<uint8_t> narrow(const hn::Vec512<int32_t> (&q)[4], const IntegerEpilogue& e) {
  const __m512i zero = _mm512_set1_epi16(static_cast<int16_t>(e.zero_point));
  const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(q[0].raw, q[1].raw), zero);
  const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(q[2].raw, q[3].raw), zero);
  const __m512i codes =
      _mm512_max_epu8(_mm512_packus_epi16(low, high), _mm512_set1_epi8(static_cast<int8_t>(e.lo)));
  return hn::Vec512<uint8_t>{_mm512_min_epu8(codes, _mm512_set1_epi8(static_cast<int8_t>(e.hi)))};
}
#endif
#endif

// round(float(sum) * scale [+ residual]), before the zero point.
template <bool kResidual, class V, class VScale>
HWY_INLINE V round_scaled(V sum, VScale scale, V residual_code, const IntegerEpilogue& e) {
  const hn::DFromV<VScale> df;
  VScale x = hn::Mul(hn::ConvertTo(df, sum), scale);
  if constexpr (kResidual) {
    const V code = hn::Sub(residual_code, hn::Set(hn::DFromV<V>(), e.residual_zero_point));
    x = hn::Add(x, hn::Mul(hn::ConvertTo(df, code), hn::Set(df, e.residual_scale)));
  }
  return round_to_i32(hn::Min(x, hn::Set(df, kRoundable)));
}

// One vector at a time: rests of a row, and tiles too narrow for the fast path.
template <bool kResidual>
HWY_INLINE void requantize_vector(const IntegerEpilogue& e, VI sum, VF scale,
                                  const uint8_t* residual, uint8_t* out, int64_t lanes) {
  uint8_t codes[2][kLanes] = {};
  VI code = hn::Zero(DI());
  if constexpr (kResidual) {
    std::memcpy(codes[0], residual, static_cast<size_t>(lanes));
    code = load_codes(codes[0]);
  }
  // Bounded before the zero point is added: far below, the sum would wrap.
  const VI bounded = hn::Max(round_scaled<kResidual>(sum, scale, code, e), hn::Set(DI(), -256));
  VI q = hn::Add(bounded, hn::Set(DI(), e.zero_point));
  q = hn::Min(hn::Max(q, hn::Set(DI(), e.lo)), hn::Set(DI(), e.hi));
  if (lanes == kLanes) return store_codes(q, out);
  store_codes(q, codes[1]);
  std::memcpy(out, codes[1], static_cast<size_t>(lanes));
}

// Fast path: four registers are narrowed together. They hold kGroupColumns columns of one row, or
// of two rows (`second`; it may be the first again).
#if HWY_TARGET == HWY_SCALAR
inline constexpr int64_t kGroupColumns = std::numeric_limits<int64_t>::max();
#else
inline constexpr int64_t kGroupColumns = HWY_TARGET == HWY_NEON ? 4 * kLanes : 2 * kLanes;
#endif
inline constexpr int64_t kGroupRows = HWY_TARGET == HWY_NEON ? 1 : 2;

#if HWY_CAP_GE512
HWY_INLINE void store_group(hn::Vec512<uint8_t> codes, uint8_t* first, uint8_t* second) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i rows = _mm512_permutexvar_epi32(order, codes.raw);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(second), _mm512_extracti64x4_epi64(rows, 1));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(first), _mm512_castsi512_si256(rows));
}
#elif HWY_TARGET == HWY_AVX2
HWY_INLINE void store_group(hn::Vec256<uint8_t> codes, uint8_t* first, uint8_t* second) {
  const __m256i rows =
      _mm256_permutevar8x32_epi32(codes.raw, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(second), _mm256_extracti128_si256(rows, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(first), _mm256_castsi256_si128(rows));
}
#elif HWY_TARGET == HWY_NEON
HWY_INLINE void store_group(hn::Vec128<uint8_t> codes, uint8_t* first, uint8_t*) {
  vst1q_u8(first, codes.raw);
}
#endif

// Columns [j, j + kGroupColumns) of a tile.
template <bool kResidual>
HWY_INLINE void requantize_group([[maybe_unused]] const SumTile& t,
                                 [[maybe_unused]] const IntegerEpilogue& e,
                                 [[maybe_unused]] int64_t j, [[maybe_unused]] uint8_t* c,
                                 [[maybe_unused]] const uint8_t* residual) {
#if HWY_TARGET != HWY_SCALAR
  constexpr int kAcross = static_cast<int>(kGroupColumns) / kLanes;
  VF scale[kAcross];
  for (int v = 0; v < kAcross; ++v) {
    scale[v] = hn::LoadU(DF(), e.scale + t.column + j + v * kLanes);
  }
  for (int64_t i = 0; i < t.rows; i += kGroupRows) {
    const int64_t second = std::min(i + kGroupRows, t.rows) - 1;
    VI q[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const int64_t row = v < kAcross ? i : second;
      const int64_t column = j + v % kAcross * kLanes;
      VI code = hn::Zero(DI());
      if constexpr (kResidual) code = load_codes(residual + row * e.residual_stride + column);
      const VI sum = hn::LoadU(DI(), t.sums + row * kSumStride + column);
      q[v] = round_scaled<kResidual>(sum, scale[v % kAcross], code, e);
    }
    store_group(narrow(q, e), c + i * e.ldc + j, c + second * e.ldc + j);
  }
#endif
}

template <bool kResidual>
inline void requantize_tile(const SumTile& t, const IntegerEpilogue& e) {
  uint8_t* const c = static_cast<uint8_t*>(e.c) + t.row * e.ldc + t.column;
  const uint8_t* const residual =
      kResidual ? e.residual + t.row * e.residual_stride + t.column : nullptr;
  int64_t j = 0;
  for (; t.columns - j >= kGroupColumns; j += kGroupColumns) {
    requantize_group<kResidual>(t, e, j, c, residual);
  }
  for (; j < t.columns; j += kLanes) {
    const int64_t lanes = std::min<int64_t>(kLanes, t.columns - j);
    const VF scale = load_lanes(e.scale + t.column + j, lanes);
    for (int64_t i = 0; i < t.rows; ++i) {
      const VI sum = hn::LoadU(DI(), t.sums + i * kSumStride + j);
      requantize_vector<kResidual>(e, sum, scale, residual + i * e.residual_stride + j,
                                   c + i * e.ldc + j, lanes);
    }
  }
  if (e.table == nullptr) return;
  for (int64_t i = 0; i < t.rows; ++i) {
    lookup_bytes(c + i * e.ldc, c + i * e.ldc, t.columns, e.table);
  }
}

inline void dequantize_tile(const SumTile& t, const IntegerEpilogue& e) {
  alignas(64) float values[kMostTileRows * kSumStride];
  for (int64_t i = 0; i < t.rows; ++i) {
    const VF row_scale = constant(e.row_scale == nullptr ? 1.0F : e.row_scale[t.row + i]);
    for_vectors(t.columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
      const VI sum = hn::LoadU(DI(), t.sums + i * kSumStride + j);
      const VF scale = load_lanes(e.scale + t.column + j, lanes);
      VF x = hn::Mul(hn::Mul(hn::ConvertTo(DF(), sum), scale), row_scale);
      if (e.f32.bias != nullptr) x = hn::Add(x, load_lanes(e.f32.bias + t.column + j, lanes));
      hn::StoreU(x, DF(), values + i * kSumStride + j);
    });
  }
  const int64_t residual_offset = t.row * e.f32.residual_stride + t.column;
  finish_tile(
      {values, kSumStride, t.rows, t.columns, static_cast<float*>(e.c) + t.row * e.ldc + t.column,
       e.ldc, e.f32.residual == nullptr ? nullptr : e.f32.residual + residual_offset,
       e.f32.residual_stride},
      e.f32.activation, e.f32.activation_first);
}

inline void finish_sums(const SumTile& t, const IntegerEpilogue& e) {
  if (t.row_offsets != nullptr) {
    for (int64_t i = 0; i < t.rows; ++i) {
      const VI offset = hn::Set(DI(), t.row_offsets[t.row + i]);
      int32_t* sums = t.sums + i * kSumStride;
      for (int64_t j = 0; j < t.columns; j += kLanes) {
        hn::StoreU(hn::Add(hn::LoadU(DI(), sums + j), offset), DI(), sums + j);
      }
    }
  }
  if (e.output == IntegerOutput::kF32) return dequantize_tile(t, e);
  if (e.output == IntegerOutput::kU8) {
    return e.residual != nullptr ? requantize_tile<true>(t, e) : requantize_tile<false>(t, e);
  }
  for (int64_t i = 0; i < t.rows; ++i) {
    std::memcpy(static_cast<int32_t*>(e.c) + (t.row + i) * e.ldc + t.column,
                t.sums + i * kSumStride, static_cast<size_t>(t.columns) * sizeof(int32_t));
  }
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
