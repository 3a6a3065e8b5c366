#define OUNCE_AVX512VNNI_IS_AVX512  // see dispatch.h

#include "engine/kernels/tensor/normalize.h"

#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/tensor/normalize.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/tensor/normalize-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

void softmax_f32(const Context& context, const float* x, float* y, const SoftmaxShape& s) {
  context.pool.parallel_for(s.rows, [&](int64_t r, int) HWY_ATTR {
    const float* mask = s.mask == nullptr ? nullptr : s.mask + r % s.mask_rows * s.columns;
    softmax_row(x + r * s.ldx, mask, y + r * s.ldy, s.columns);
  });
}

void layer_norm_f32(const Context& context, const float* x, float* y, int64_t rows, int64_t columns,
                    const float* gamma, const float* beta, float epsilon) {
  context.pool.parallel_for(rows, [&](int64_t r, int) HWY_ATTR {
    const float* in = x + r * columns;
    const float mean = row_mean(in, columns);
    const float scale = row_scale(in, columns, mean, epsilon);
    scale_row(in, y + r * columns, columns, mean, scale, gamma, beta);
  });
}

void rms_norm_f32(const Context& context, const float* x, float* y, int64_t rows, int64_t columns,
                  const float* gamma, float epsilon) {
  context.pool.parallel_for(rows, [&](int64_t r, int) HWY_ATTR {
    const float* in = x + r * columns;
    float* out = y + r * columns;
    const float square = sum_of(columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
      const VF v = load_lanes(in + j, lanes);
      return hn::Mul(v, v);
    });
    const VF scale = constant(1.0F / std::sqrt(square / static_cast<float>(columns) + epsilon));
    for_vectors(columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
      VF v = hn::Mul(load_lanes(in + j, lanes), scale);
      if (gamma != nullptr) v = hn::Mul(v, load_lanes(gamma + j, lanes));
      store_lanes(v, out + j, lanes);
    });
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(softmax_f32);
OUNCE_EXPORT(layer_norm_f32);
OUNCE_EXPORT(rms_norm_f32);

void softmax_f32(const Context& context, const float* x, float* y, const SoftmaxShape& shape) {
  OUNCE_DISPATCH(softmax_f32)(context, x, y, shape);
}
void layer_norm_f32(const Context& context, const float* x, float* y, int64_t rows, int64_t columns,
                    const float* gamma, const float* beta, float epsilon) {
  OUNCE_DISPATCH(layer_norm_f32)(context, x, y, rows, columns, gamma, beta, epsilon);
}
void rms_norm_f32(const Context& context, const float* x, float* y, int64_t rows, int64_t columns,
                  const float* gamma, float epsilon) {
  OUNCE_DISPATCH(rms_norm_f32)(context, x, y, rows, columns, gamma, epsilon);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
