#include "engine/kernels/int8/quantized.h"

#include <algorithm>
#include <cmath>

#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/int8/quantized.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/f32/epilogue_f32-inl.h"
#include "engine/kernels/vector/dot4-inl.h"
#include "engine/kernels/vector/lookup-inl.h"
#include "engine/kernels/vector/round_codes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Elements that a thread takes at a time: enough to make the hand-out cheap, few enough to balance.
inline constexpr int64_t kChunk = 16384;

// Calls f(first, count) over [0, count) in chunks, in parallel.
template <class F>
void for_chunks(ThreadPool& pool, int64_t count, const F& f) {
  pool.parallel_for(ceil_div(count, kChunk), [&](int64_t chunk, int) HWY_ATTR {
    const int64_t first = chunk * kChunk;
    f(first, std::min(kChunk, count - first));
  });
}

HWY_INLINE VF float_of(VI code, VI zero) {
  return hn::ConvertTo(DF(), hn::Sub(code, zero));
}

// Signed codes are unsigned ones with the top bit flipped: q - (-128) = q + 128.
void quantize(const Context& context, const float* x, uint8_t* q, int64_t count,
              const QuantizeU8& p, uint8_t flip) {
  const VF divisor = constant(p.scale);
  const Rounder round(p.zero_point, p.lo, p.hi);
  const VI flips = hn::Set(DI(), flip);
  for_chunks(context.pool, count, [&](int64_t first, int64_t length) HWY_ATTR {
    for_vectors(length, [&](int64_t j, int64_t lanes) HWY_ATTR {
      const VF y = hn::Div(load_lanes(x + first + j, lanes), divisor);
      store_codes_part(hn::Xor(round(y), flips), q + first + j, lanes);
    });
  });
}

void dequantize(const Context& context, const uint8_t* q, float* x, int64_t count, float scale,
                int32_t zero_point, uint8_t flip) {
  const VF factor = constant(scale);
  const VI zero = hn::Set(DI(), zero_point);
  const VI flips = hn::Set(DI(), flip);
  for_chunks(context.pool, count, [&](int64_t first, int64_t length) HWY_ATTR {
    for_vectors(length, [&](int64_t j, int64_t lanes) HWY_ATTR {
      const VI code = hn::Xor(load_codes_part(q + first + j, lanes), flips);
      store_lanes(hn::Mul(float_of(code, zero), factor), x + first + j, lanes);
    });
  });
}

void lookup_u8(const Context& context, const uint8_t* in, uint8_t* out, int64_t count,
               const uint8_t* table) {
  for_chunks(context.pool, count, [&](int64_t first, int64_t length) HWY_ATTR {
    lookup_bytes(in + first, out + first, length, table);
  });
}

void add_u8(const Context& context, const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count,
            const AddU8& p) {
  const Rounder round(0, p.lo, p.hi);
  const VF a_scale = constant(p.a_scale);
  const VF b_scale = constant(p.b_scale);
  const VF offset = constant(p.offset);
  for_chunks(context.pool, count, [&](int64_t first, int64_t length) HWY_ATTR {
    for_vectors(length, [&](int64_t j, int64_t lanes) HWY_ATTR {
      const VF x = hn::ConvertTo(DF(), load_codes_part(a + first + j, lanes));
      const VF y = hn::ConvertTo(DF(), load_codes_part(b + first + j, lanes));
      const VF sum = fused_mul_add(x, a_scale, fused_mul_add(y, b_scale, offset));
      store_codes_part(round(sum), out + first + j, lanes);
    });
  });
}

void mul_row_u8(const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count, const MulU8& p) {
  const Rounder round(0, p.lo, p.hi);
  const VI a_zero = hn::Set(DI(), p.a_zero_point);
  const VI b_zero = hn::Set(DI(), p.b_zero_point);
  const VF scale = constant(p.scale);
  const VF zero = constant(static_cast<float>(p.zero_point));
  for_vectors(count, [&](int64_t j, int64_t lanes) HWY_ATTR {
    const VI product = hn::Mul(hn::Sub(load_codes_part(a + j, lanes), a_zero),
                               hn::Sub(load_codes_part(b + j, lanes), b_zero));
    const VF code = hn::Add(hn::Mul(hn::ConvertTo(DF(), product), scale), zero);
    store_codes_part(round(code), out + j, lanes);
  });
}

void mul_u8(const Context& context, const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count,
            const MulU8& p) {
  for_chunks(context.pool, count, [&](int64_t first, int64_t length) HWY_ATTR {
    mul_row_u8(a + first, b + first, out + first, length, p);
  });
}

void mul_rows_u8(const Context& context, const uint8_t* a, const uint8_t* b, uint8_t* out,
                 int64_t rows, int64_t columns, int64_t rows_per_b, const MulU8& p) {
  context.pool.parallel_for(rows, [&](int64_t r, int) HWY_ATTR {
    mul_row_u8(a + r * columns, b + r / rows_per_b * columns, out + r * columns, columns, p);
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(quantize);
OUNCE_EXPORT(dequantize);
OUNCE_EXPORT(lookup_u8);
OUNCE_EXPORT(add_u8);
OUNCE_EXPORT(mul_u8);
OUNCE_EXPORT(mul_rows_u8);

void quantize_u8(const Context& context, const float* x, uint8_t* q, int64_t count,
                 const QuantizeU8& parameters) {
  OUNCE_DISPATCH(quantize)(context, x, q, count, parameters, 0);
}
void quantize_s8(const Context& context, const float* x, int8_t* q, int64_t count, float scale,
                 int32_t zero_point) {
  OUNCE_DISPATCH(quantize)
  (context, x, reinterpret_cast<uint8_t*>(q), count, {scale, zero_point + 128}, 0x80);
}
void dequantize_u8(const Context& context, const uint8_t* q, float* x, int64_t count, float scale,
                   int32_t zero_point) {
  OUNCE_DISPATCH(dequantize)(context, q, x, count, scale, zero_point, 0);
}
void dequantize_s8(const Context& context, const int8_t* q, float* x, int64_t count, float scale,
                   int32_t zero_point) {
  OUNCE_DISPATCH(dequantize)
  (context, reinterpret_cast<const uint8_t*>(q), x, count, scale, zero_point + 128, 0x80);
}
void lookup_u8(const Context& context, const uint8_t* in, uint8_t* out, int64_t count,
               const uint8_t* table) {
  OUNCE_DISPATCH(lookup_u8)(context, in, out, count, table);
}
void add_u8(const Context& context, const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count,
            const AddU8& parameters) {
  OUNCE_DISPATCH(add_u8)(context, a, b, out, count, parameters);
}
void mul_u8(const Context& context, const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count,
            const MulU8& parameters) {
  OUNCE_DISPATCH(mul_u8)(context, a, b, out, count, parameters);
}
void mul_rows_u8(const Context& context, const uint8_t* a, const uint8_t* b, uint8_t* out,
                 int64_t rows, int64_t columns, int64_t rows_per_b, const MulU8& parameters) {
  OUNCE_DISPATCH(mul_rows_u8)(context, a, b, out, rows, columns, rows_per_b, parameters);
}
AddU8 add_parameters(float a_scale, int32_t a_zero_point, float b_scale, int32_t b_zero_point,
                     float y_scale, int32_t y_zero_point) {
  AddU8 add;
  add.a_scale = a_scale / y_scale;
  add.b_scale = b_scale / y_scale;
  const float zero_points = std::fma(add.a_scale, static_cast<float>(a_zero_point),
                                     add.b_scale * static_cast<float>(b_zero_point));
  add.offset = static_cast<float>(y_zero_point) - zero_points;
  return add;
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
