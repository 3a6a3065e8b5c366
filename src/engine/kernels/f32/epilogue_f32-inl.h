// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_EPILOGUE_F32_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_EPILOGUE_F32_INL_H
#undef OUNCE_ENGINE_KERNELS_EPILOGUE_F32_INL_H
#else
#define OUNCE_ENGINE_KERNELS_EPILOGUE_F32_INL_H
#endif

#include "engine/kernels/vector/math-inl.h"
#include "engine/kernels/vector/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Calls f(column, lanes) for the vectors of a row of `columns`, with lanes < kLanes at the end.
template <class F>
HWY_INLINE void for_vectors(int64_t columns, const F& f) {
  int64_t j = 0;
  for (; j + kLanes <= columns; j += kLanes) f(j, int64_t{kLanes});
  if (j < columns) f(j, columns - j);
}

HWY_INLINE VF load_lanes(const float* p, int64_t lanes) {
  return lanes == kLanes ? hn::LoadU(DF(), p) : load_part(DF(), p, lanes);
}
HWY_INLINE void store_lanes(VF v, float* p, int64_t lanes) {
  if (lanes == kLanes) {
    hn::StoreU(v, DF(), p);
  } else {
    store_part(v, DF(), p, lanes);
  }
}

// An epilogue that a kernel can apply to its accumulators: a residual, then a clamp.
struct Clamp {
  bool direct = true;  // false: the epilogue needs finish_tile
  float lo = -std::numeric_limits<float>::infinity();
  float hi = std::numeric_limits<float>::infinity();
};

inline Clamp clamp_of(const Epilogue& e) {
  Clamp clamp;
  if (e.activation.kind == Activation::kRelu) {
    clamp.lo = 0.0F;
  } else if (e.activation.kind == Activation::kClip) {
    clamp.lo = e.activation.alpha;
    clamp.hi = e.activation.beta;
  } else if (e.activation.kind != Activation::kNone) {
    clamp.direct = false;
  }
  if (e.residual != nullptr && e.activation_first && e.activation.kind != Activation::kNone) {
    clamp.direct = false;
  }
  return clamp;
}

// A tile of results that already hold their bias, with where it goes.
struct StoredTile {
  const float* values;  // [rows, columns], rows `stride` apart
  int64_t stride;
  int64_t rows, columns;
  float* c;  // rows `ldc` apart
  int64_t ldc;
  const float* residual;  // or null
  int64_t residual_stride;
};

// Residual and activation of an epilogue, for every tile that the micro-kernel does not finish.
OUNCE_SHARED void finish_tile(const StoredTile& t, const ActivationSpec& activation,
                              bool activation_first) {
  const bool before = t.residual != nullptr && !activation_first;
  const bool after = t.residual != nullptr && activation_first;
  with_activation(activation, [&](auto activate) HWY_ATTR {
    for (int64_t i = 0; i < t.rows; ++i) {
      for_vectors(t.columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
        VF x = load_lanes(t.values + i * t.stride + j, lanes);
        const float* residual = t.residual + i * t.residual_stride + j;
        if (before) x = hn::Add(x, load_lanes(residual, lanes));
        x = activate(x);
        if (after) x = hn::Add(x, load_lanes(residual, lanes));
        store_lanes(x, t.c + i * t.ldc + j, lanes);
      });
    }
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
