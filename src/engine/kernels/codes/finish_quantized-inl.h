// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_FINISH_QUANTIZED_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_FINISH_QUANTIZED_INL_H
#undef OUNCE_ENGINE_KERNELS_FINISH_QUANTIZED_INL_H
#else
#define OUNCE_ENGINE_KERNELS_FINISH_QUANTIZED_INL_H
#endif

#include "engine/kernels/codes/packed_codes.h"
#include "engine/kernels/f32/epilogue_f32-inl.h"
#include "engine/kernels/int8/epilogue_u8-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// A tile of float sums over all groups and its place in the output.
struct FloatTile {
  float* values;  // [rows][kSumStride]
  int64_t rows, columns;
  int64_t row, column;
};

// Where the results of a product go.
struct FloatOutput {
  float* c;
  int64_t ldc;
  const Epilogue* epilogue;
};

// values[i][j] += bias, then residual and activation, and out.
OUNCE_SHARED void finish_floats(const FloatTile& t, const FloatOutput& out) {
  const Epilogue& e = *out.epilogue;
  if (e.bias != nullptr) {
    for (int64_t i = 0; i < t.rows; ++i) {
      float* values = t.values + i * kSumStride;
      for_vectors(t.columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
        const VF bias = load_lanes(e.bias + t.column + j, lanes);
        hn::StoreU(hn::Add(hn::LoadU(DF(), values + j), bias), DF(), values + j);
      });
    }
  }
  const int64_t residual = t.row * e.residual_stride + t.column;
  finish_tile({t.values, kSumStride, t.rows, t.columns, out.c + t.row * out.ldc + t.column, out.ldc,
               e.residual == nullptr ? nullptr : e.residual + residual, e.residual_stride},
              e.activation, e.activation_first);
}

// Sums of integers scaled by groups become results: the rows' zero points and scales, then the
// epilogue (see gemm_quantized_codes).
OUNCE_SHARED void finish_quantized(const FloatTile& t, const QuantizedRows& a, const PackedCodes& b,
                                   const FloatOutput& out) {
  for (int64_t i = 0; i < t.rows; ++i) {
    const int64_t row = a.shared ? 0 : t.row + i;
    const int32_t zero = a.zero_points == nullptr ? 128 : a.zero_points[row];
    const VF shift = hn::Set(DF(), static_cast<float>(128 - zero));
    const VF scale = hn::Set(DF(), a.scales[row]);
    float* values = t.values + i * kSumStride;
    const float* sums = b.weight_sums.data() + t.column;
    for (int64_t j = 0; j < t.columns; j += kLanes) {
      VF x = hn::LoadU(DF(), values + j);
      if (zero != 128) x = fused_mul_add(shift, hn::LoadU(DF(), sums + j), x);
      hn::StoreU(hn::Mul(x, scale), DF(), values + j);
    }
  }
  finish_floats(t, out);
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
