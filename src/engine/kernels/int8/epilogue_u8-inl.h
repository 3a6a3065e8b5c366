// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_EPILOGUE_U8_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_EPILOGUE_U8_INL_H
#undef OUNCE_ENGINE_KERNELS_EPILOGUE_U8_INL_H
#else
#define OUNCE_ENGINE_KERNELS_EPILOGUE_U8_INL_H
#endif

#include "engine/kernels/bits/epilogue_bits-inl.h"
#include "engine/kernels/f32/epilogue_f32-inl.h"
#include "engine/kernels/vector/dot4-inl.h"
#include "engine/kernels/vector/lookup-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Scaled sums are rounded as floats that cannot overflow the conversion: above this bound every
// code is saturated anyway, and what is far below converts to the lowest integer.
inline constexpr float kRoundable = 1 << 30;

// Constants of an epilogue as vectors. Codes are bytes, and a byte store may change anything as far
// as the compiler knows: without these it would read the epilogue again after every store.
template <class DB>
struct CodeLimits {
  using D16 = hn::Repartition<int16_t, DB>;
  using D32 = hn::Repartition<int32_t, DB>;
  using DFloat = hn::Repartition<float, DB>;
  explicit CodeLimits(const IntegerEpilogue& e)
      : zero(hn::Set(D16(), static_cast<int16_t>(e.zero_point))),
        lo(hn::Set(DB(), static_cast<uint8_t>(e.lo))),
        hi(hn::Set(DB(), static_cast<uint8_t>(e.hi))),
        roundable(hn::Set(DFloat(), kRoundable)),
        residual_zero(hn::Set(D32(), e.residual_zero_point)),
        residual_scale(hn::Set(DFloat(), e.residual_scale)) {}
  hn::Vec<D16> zero;
  hn::Vec<DB> lo, hi;
  hn::Vec<DFloat> roundable;
  hn::Vec<D32> residual_zero;
  hn::Vec<DFloat> residual_scale;
};

// Adds the zero point to four registers of rounded sums and narrows them to bytes, saturating at
// each step (a code is in [0, 255], so saturation at 16 bits changes nothing); then clamps to [lo,
// hi]. Within every 128-bit block, the bytes of q[0] come first, then q[1], q[2], q[3].
#if HWY_TARGET == HWY_NEON
HWY_INLINE uint8x16_t narrow_registers(const hn::Vec128<int32_t> (&q)[4], int16x8_t zero) {
  const int16x8_t low = vcombine_s16(vqmovn_s32(q[0].raw), vqmovn_s32(q[1].raw));
  const int16x8_t high = vcombine_s16(vqmovn_s32(q[2].raw), vqmovn_s32(q[3].raw));
  return vcombine_u8(vqmovun_s16(vqaddq_s16(low, zero)), vqmovun_s16(vqaddq_s16(high, zero)));
}
#elif HWY_TARGET != HWY_SCALAR
HWY_INLINE __m128i narrow_registers(const hn::Vec128<int32_t> (&q)[4], __m128i zero) {
  return _mm_packus_epi16(_mm_adds_epi16(_mm_packs_epi32(q[0].raw, q[1].raw), zero),
                          _mm_adds_epi16(_mm_packs_epi32(q[2].raw, q[3].raw), zero));
}
HWY_INLINE __m256i narrow_registers(const hn::Vec256<int32_t> (&q)[4], __m256i zero) {
  return _mm256_packus_epi16(_mm256_adds_epi16(_mm256_packs_epi32(q[0].raw, q[1].raw), zero),
                             _mm256_adds_epi16(_mm256_packs_epi32(q[2].raw, q[3].raw), zero));
}
#if HWY_CAP_GE512
HWY_INLINE __m512i narrow_registers(const hn::Vec512<int32_t> (&q)[4], __m512i zero) {
  return _mm512_packus_epi16(_mm512_adds_epi16(_mm512_packs_epi32(q[0].raw, q[1].raw), zero),
                             _mm512_adds_epi16(_mm512_packs_epi32(q[2].raw, q[3].raw), zero));
}
#endif
#endif
#if HWY_TARGET != HWY_SCALAR
template <class DB>
HWY_INLINE hn::Vec<DB> narrow(const hn::Vec<hn::Repartition<int32_t, DB>> (&q)[4],
                              const CodeLimits<DB>& limits) {
  const hn::Vec<DB> codes{narrow_registers(q, limits.zero.raw)};
  return hn::Min(hn::Max(codes, limits.lo), limits.hi);
}
#endif

// x plus the residual's value, rounded.
template <bool kResidual, class DB, class V, class VFloat>
HWY_INLINE V round_sum(VFloat x, V residual_code, const CodeLimits<DB>& limits) {
  if constexpr (kResidual) {
    const V code = hn::Sub(residual_code, limits.residual_zero);
    x = hn::Add(x, hn::Mul(hn::ConvertTo(hn::DFromV<VFloat>(), code), limits.residual_scale));
  }
  return round_to_i32(hn::Min(x, limits.roundable));
}

// round(float(sum) * scale [+ residual]), before the zero point.
template <bool kResidual, class DB, class V, class VScale>
HWY_INLINE V round_scaled(V sum, VScale scale, V residual_code, const CodeLimits<DB>& limits) {
  const VScale x = hn::Mul(hn::ConvertTo(hn::DFromV<VScale>(), sum), scale);
  return round_sum<kResidual>(x, residual_code, limits);
}

// A vector of every column's shift. Where there are none it is -0: adding that changes no number.
HWY_INLINE VF load_shifts(const float* shifts, int64_t column, int64_t lanes) {
  return shifts == nullptr ? constant(-0.0F) : load_lanes(shifts + column, lanes);
}

// One vector at a time: rests of a row, and tiles too narrow for the fast path.
template <bool kResidual>
HWY_INLINE void requantize_vector(const IntegerEpilogue& e, VF x, const uint8_t* residual,
                                  uint8_t* out, int64_t lanes) {
  uint8_t codes[2][kLanes] = {};
  if constexpr (kResidual) {
    std::memcpy(codes[0], residual, static_cast<size_t>(lanes));
    const VI code = hn::Sub(load_codes(codes[0]), hn::Set(DI(), e.residual_zero_point));
    x = hn::Add(x, hn::Mul(hn::ConvertTo(DF(), code), constant(e.residual_scale)));
  }
  // Bounds are integers, so clamping before rounding gives what clamping after it would.
  x = hn::Max(x, constant(static_cast<float>(e.lo - e.zero_point)));
  x = hn::Min(x, constant(static_cast<float>(e.hi - e.zero_point)));
  const VI q = hn::Add(round_to_i32(x), hn::Set(DI(), e.zero_point));
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

// The bytes of narrow() in the order of q[0], q[1], q[2], q[3].
#if HWY_CAP_GE512
HWY_INLINE hn::Vec512<uint8_t> untangle(hn::Vec512<uint8_t> codes) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return hn::Vec512<uint8_t>{_mm512_permutexvar_epi32(order, codes.raw)};
}
HWY_INLINE void store_halves(hn::Vec512<uint8_t> codes, uint8_t* first, uint8_t* second) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(second), _mm512_extracti64x4_epi64(codes.raw, 1));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(first), _mm512_castsi512_si256(codes.raw));
}
#elif HWY_TARGET == HWY_AVX2
HWY_INLINE hn::Vec256<uint8_t> untangle(hn::Vec256<uint8_t> codes) {
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return hn::Vec256<uint8_t>{_mm256_permutevar8x32_epi32(codes.raw, order)};
}
HWY_INLINE void store_halves(hn::Vec256<uint8_t> codes, uint8_t* first, uint8_t* second) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(second), _mm256_extracti128_si256(codes.raw, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(first), _mm256_castsi256_si128(codes.raw));
}
#elif HWY_TARGET == HWY_NEON
HWY_INLINE hn::Vec128<uint8_t> untangle(hn::Vec128<uint8_t> codes) {
  return codes;
}
HWY_INLINE void store_halves(hn::Vec128<uint8_t> codes, uint8_t* first, uint8_t*) {
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
  const CodeLimits<hn::Repartition<uint8_t, DI>> limits(e);
  const int64_t rows = t.rows;
  const int64_t ldc = e.ldc;
  const int64_t residual_stride = e.residual_stride;
  const int32_t* const sums = t.sums + j;
  constexpr int kAcross = static_cast<int>(kGroupColumns) / kLanes;
  VF scale[kAcross], bias[kAcross];
  for (int v = 0; v < kAcross; ++v) {
    const int64_t column = t.column + j + v * kLanes;
    scale[v] = hn::LoadU(DF(), e.scale + column);
    bias[v] = load_shifts(e.f32.bias, column, kLanes);
  }
  for (int64_t i = 0; i < rows; i += kGroupRows) {
    const int64_t second = std::min(i + kGroupRows, rows) - 1;
    VI q[4];
#pragma GCC unroll kUnroll
    for (int v = 0; v < 4; ++v) {
      const int64_t row = v < kAcross ? i : second;
      const int64_t column = v % kAcross * kLanes;
      VI code = hn::Zero(DI());
      if constexpr (kResidual) code = load_codes(residual + row * residual_stride + j + column);
      const VI sum = hn::LoadU(DI(), sums + row * kSumStride + column);
      const VF x = hn::Mul(hn::ConvertTo(DF(), sum), scale[v % kAcross]);
      q[v] = round_sum<kResidual>(hn::Add(x, bias[v % kAcross]), code, limits);
    }
    store_halves(untangle(narrow(q, limits)), c + i * ldc + j, c + second * ldc + j);
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
    const VF bias = load_shifts(e.f32.bias, t.column + j, lanes);
    for (int64_t i = 0; i < t.rows; ++i) {
      const VI sum = hn::LoadU(DI(), t.sums + i * kSumStride + j);
      const VF x = hn::Add(hn::Mul(hn::ConvertTo(DF(), sum), scale), bias);
      requantize_vector<kResidual>(e, x, residual + i * e.residual_stride + j, c + i * e.ldc + j,
                                   lanes);
    }
  }
  if (e.table == nullptr) return;
  for (int64_t i = 0; i < t.rows; ++i) {
    lookup_bytes(c + i * e.ldc, c + i * e.ldc, t.columns, e.table);
  }
}

// What a window of row `i` of its tile adds to the columns from `column`.
HWY_INLINE VF add_terms(VF x, const WindowTerms& terms, int64_t i, int64_t column, int64_t lanes) {
  const VF gain = load_lanes(terms.gains + column, lanes);
  x = hn::Add(x, load_lanes(terms.biases[i] + column, lanes));
  return hn::Add(x, hn::Mul(hn::Set(DF(), terms.bits[i]), gain));
}

// float(sum) * scale + bias for one vector.
struct Dequantizer {
  const IntegerEpilogue& e;
  const SumTile& t;
  HWY_INLINE VF operator()(int64_t i, int64_t j, int64_t lanes) const {
    const VI sum = hn::LoadU(DI(), t.sums + i * kSumStride + j);
    const VF scale = load_lanes(e.scale + t.column + j, lanes);
    VF x = hn::Mul(hn::ConvertTo(DF(), sum), scale);
    if (t.terms != nullptr) return add_terms(x, *t.terms, i, t.column + j, lanes);
    if (e.f32.bias != nullptr) x = hn::Add(x, load_lanes(e.f32.bias + t.column + j, lanes));
    return x;
  }
};

// Scale, bias, residual, PReLU and signs of a panel: its columns' constants are read once, each sum
// and residual once.
template <bool kSigns, bool kWhole>
HWY_INLINE void prelu_panel(const SumTile& t, const IntegerEpilogue& e, int64_t j,
                            int64_t columns) {
  constexpr int kVectors = kPanelVectors;
  const int64_t column = t.column + j;
  const auto lanes_of = [&](int v) HWY_ATTR {
    return kWhole ? int64_t{kLanes} : std::clamp<int64_t>(columns - v * kLanes, 0, kLanes);
  };
  VF scale[kVectors], bias[kVectors], before[kVectors], slope[kVectors], gain[kVectors],
      after[kVectors];
  [[maybe_unused]] VF shift[kVectors];
#pragma GCC unroll kUnroll
  for (int v = 0; v < kVectors; ++v) {
    const int64_t first = column + v * kLanes;
    const int64_t lanes = lanes_of(v);
    scale[v] = load_lanes(e.scale + first, lanes);
    bias[v] = load_shifts(e.f32.bias, first, lanes);
    before[v] = load_shifts(e.prelu_before, first, lanes);
    slope[v] = load_lanes(e.prelu_slope + first, lanes);
    after[v] = load_shifts(e.prelu_after, first, lanes);
    gain[v] = e.prelu_gain == nullptr ? constant(1.0F) : load_lanes(e.prelu_gain + first, lanes);
    if constexpr (kSigns) shift[v] = load_shifts(e.sign_shift, first, lanes);
  }
  const VF zero = hn::Zero(DF());
  const bool has_bias = e.f32.bias != nullptr;
  const float* const residuals = e.f32.residual;
  const int64_t residual_stride = e.f32.residual_stride;
  [[maybe_unused]] const uint32_t valid = (1U << columns) - 1;
  [[maybe_unused]] uint64_t* signs = static_cast<uint64_t*>(e.sign_bits) + t.row * e.sign_stride;
  const int64_t sign_stride = e.sign_stride;
  const int64_t ldc = e.ldc;
  float* c = static_cast<float*>(e.c) + t.row * ldc + column;
  const int64_t n = t.n;
  for (int64_t i = 0; i < t.rows; ++i, c += ldc) {
    const int32_t* sums = t.sums + i * kSumStride + j;
    uint32_t bits = 0;
#pragma GCC unroll kUnroll
    for (int v = 0; v < kVectors; ++v) {
      const int64_t lanes = lanes_of(v);
      if (!kWhole && lanes == 0) break;
      VF x = hn::Mul(hn::ConvertTo(DF(), hn::LoadU(DI(), sums + v * kLanes)), scale[v]);
      if (t.terms != nullptr) {
        x = add_terms(x, *t.terms, i, column + v * kLanes, lanes);
      } else if (has_bias) {
        x = hn::Add(x, bias[v]);
      }
      if (residuals != nullptr) {
        const float* residual = residuals + (t.row + i) * residual_stride + column;
        x = hn::Add(x, load_lanes(residual + v * kLanes, lanes));
      }
      x = hn::Add(x, before[v]);
      x = hn::Mul(x, hn::IfThenElse(hn::Lt(x, zero), slope[v], gain[v]));
      x = hn::Add(x, after[v]);
      store_lanes(x, c + v * kLanes, lanes);
      if constexpr (kSigns) {
        bits |= bits_of_mask(DF(), hn::Lt(hn::Add(x, shift[v]), zero)) << (v * kLanes);
      }
    }
    if constexpr (kSigns) {
      store_panel_bits(bits & valid, column, n, signs);
      signs += sign_stride;
    }
  }
}

template <bool kSigns>
inline void prelu_tile(const SumTile& t, const IntegerEpilogue& e) {
  for_panels(t, [&](int64_t j, int64_t columns) HWY_ATTR {
    if (columns == kPanelColumns) return prelu_panel<kSigns, true>(t, e, j, columns);
    prelu_panel<kSigns, false>(t, e, j, columns);
  });
}

inline void dequantize_tile(const SumTile& t, const IntegerEpilogue& e) {
  const Clamp clamp = clamp_of(e.f32);
  const bool direct = clamp.direct && e.f32.residual == nullptr;
  alignas(64) float values[kMostTileRows * kSumStride];
  const Dequantizer dequantize{e, t};
  for (int64_t i = 0; i < t.rows; ++i) {
    float* c = static_cast<float*>(e.c) + (t.row + i) * e.ldc + t.column;
    for_vectors(t.columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
      const VF x = dequantize(i, j, lanes);
      if (direct) {
        store_lanes(at_most(at_least(x, constant(clamp.lo)), constant(clamp.hi)), c + j, lanes);
      } else {
        hn::StoreU(x, DF(), values + i * kSumStride + j);
      }
    });
  }
  if (direct) return;
  const int64_t residual_offset = t.row * e.f32.residual_stride + t.column;
  finish_tile(
      {values, kSumStride, t.rows, t.columns, static_cast<float*>(e.c) + t.row * e.ldc + t.column,
       e.ldc, e.f32.residual == nullptr ? nullptr : e.f32.residual + residual_offset,
       e.f32.residual_stride},
      e.f32.activation, e.f32.activation_first);
}

OUNCE_SHARED void finish_sums(const SumTile& t, const IntegerEpilogue& e) {
  if (t.row_offsets != nullptr) {
    for (int64_t i = 0; i < t.rows; ++i) {
      const VI offset = hn::Set(DI(), t.row_offsets[t.row + i]);
      int32_t* sums = t.sums + i * kSumStride;
      for (int64_t j = 0; j < t.columns; j += kLanes) {
        hn::StoreU(hn::Add(hn::LoadU(DI(), sums + j), offset), DI(), sums + j);
      }
    }
  }
  if (e.output == IntegerOutput::kBits) return threshold_tile(t, e);
  if (e.output == IntegerOutput::kF32) {
    if (e.prelu_slope != nullptr) {
      return e.sign_bits != nullptr ? prelu_tile<true>(t, e) : prelu_tile<false>(t, e);
    }
    dequantize_tile(t, e);
    if (e.sign_bits != nullptr) store_signs(t, e);
    return;
  }
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
