#pragma once

#include "engine/kernels/common.h"

/// Element-wise work on 8-bit codes. Rounding is half to even, codes saturate, NaN becomes the zero
/// point.
namespace ounce::engine {

/// q = clamp(round_half_even(x / scale) + zero_point, lo, hi), the division as IEEE division (not a
/// multiplication by the reciprocal), as ONNX QuantizeLinear has it.
struct QuantizeU8 {
  float scale = 1.0F;
  int32_t zero_point = 0, lo = 0, hi = 255;
};
void quantize_u8(const Context& context, const float* x, uint8_t* q, int64_t count,
                 const QuantizeU8& parameters);
/// The same of signed codes, all of them.
void quantize_s8(const Context& context, const float* x, int8_t* q, int64_t count, float scale,
                 int32_t zero_point);

/// x = (q - zero_point) * scale.
void dequantize_u8(const Context& context, const uint8_t* q, float* x, int64_t count, float scale,
                   int32_t zero_point);
void dequantize_s8(const Context& context, const int8_t* q, float* x, int64_t count, float scale,
                   int32_t zero_point);

/// out[i] = table[in[i]]; in and out may be the same.
void lookup_u8(const Context& context, const uint8_t* in, uint8_t* out, int64_t count,
               const uint8_t* table);

/// clamp(round_half_even(fma(a, a_scale, fma(b, b_scale, offset))), lo, hi), where a_scale and
/// b_scale are already divided by the output scale and offset gathers the three zero points. The
/// codes are those of ONNX Runtime's QLinearAdd on x86 to the last tie, so that an exported file
/// runs alike on both.
struct AddU8 {
  float a_scale = 1.0F, b_scale = 1.0F;
  float offset = 0.0F;
  int32_t lo = 0, hi = 255;
};
/// The parameters of y = a + b for operands on the given grids.
AddU8 add_parameters(float a_scale, int32_t a_zero_point, float b_scale, int32_t b_zero_point,
                     float y_scale, int32_t y_zero_point);
void add_u8(const Context& context, const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count,
            const AddU8& parameters);

/// clamp(round_half_even(float((a - a_zero_point) * (b - b_zero_point)) * scale + zero_point), lo,
/// hi): scale = a_scale * b_scale / out_scale. The integer product is exact.
struct MulU8 {
  float scale = 1.0F;
  int32_t a_zero_point = 0, b_zero_point = 0;
  int32_t zero_point = 0, lo = 0, hi = 255;
};
void mul_u8(const Context& context, const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count,
            const MulU8& parameters);
/// b has one row of `columns` codes per `rows_per_b` rows of a (channel gates of squeeze-excite).
void mul_rows_u8(const Context& context, const uint8_t* a, const uint8_t* b, uint8_t* out,
                 int64_t rows, int64_t columns, int64_t rows_per_b, const MulU8& parameters);

}  // namespace ounce::engine
