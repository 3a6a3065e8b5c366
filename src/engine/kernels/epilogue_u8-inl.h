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

// Scaled sum -> code. The float is clamped before it is rounded: bounds are integers, so the result
// is the same as clamping the rounded value, and the conversion cannot overflow.
struct Requantizer {
  explicit Requantizer(const IntegerEpilogue& e)
      : lo(hn::Set(DF(), static_cast<float>(e.lo - e.zero_point))),
        hi(hn::Set(DF(), static_cast<float>(e.hi - e.zero_point))),
        zero(hn::Set(DI(), e.zero_point)) {}
  HWY_INLINE VI operator()(VF x) const {
    return hn::Add(round_to_i32(hn::Min(hn::Max(x, lo), hi)), zero);
  }
  VF lo, hi;
  VI zero;
};

template <bool kResidual>
HWY_INLINE VI requantize_vector(const Requantizer& requantize, const IntegerEpilogue& e, VI sum,
                                VF scale, const uint8_t* residual) {
  VF x = hn::Mul(hn::ConvertTo(DF(), sum), scale);
  if constexpr (kResidual) {
    const VI code = hn::Sub(load_codes(residual), hn::Set(DI(), e.residual_zero_point));
    x = hn::Add(x, hn::Mul(hn::ConvertTo(DF(), code), hn::Set(DF(), e.residual_scale)));
  }
  return requantize(x);
}

template <bool kResidual>
inline void requantize_tile(const SumTile& t, const IntegerEpilogue& e) {
  const Requantizer requantize(e);
  uint8_t* const c = static_cast<uint8_t*>(e.c) + t.row * e.ldc + t.column;
  const uint8_t* const residual =
      kResidual ? e.residual + t.row * e.residual_stride + t.column : nullptr;
  for_vectors(t.columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
    const VF scale = load_lanes(e.scale + t.column + j, lanes);
    for (int64_t i = 0; i < t.rows; ++i) {
      const VI sum = hn::LoadU(DI(), t.sums + i * kSumStride + j);
      const uint8_t* r = residual + i * e.residual_stride + j;
      uint8_t* out = c + i * e.ldc + j;
      if (lanes == kLanes) {
        store_codes(requantize_vector<kResidual>(requantize, e, sum, scale, r), out);
        continue;
      }
      uint8_t codes[2][kLanes] = {};
      if (kResidual) std::memcpy(codes[0], r, static_cast<size_t>(lanes));
      store_codes(requantize_vector<kResidual>(requantize, e, sum, scale, codes[0]), codes[1]);
      std::memcpy(out, codes[1], static_cast<size_t>(lanes));
    }
  });
  if (e.table != nullptr) {
    for (int64_t i = 0; i < t.rows; ++i) {
      lookup_bytes(c + i * e.ldc, c + i * e.ldc, t.columns, e.table);
    }
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
