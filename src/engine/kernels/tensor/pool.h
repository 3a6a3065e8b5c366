#pragma once

#include "engine/kernels/common.h"
#include "engine/kernels/conv.h"

namespace ounce::engine {

/// Pooling over NHWC images; geometry as in ConvShape with in_channels == out_channels and
/// groups ignored. Pixels outside the input do not take part in a maximum; a window without any
/// pixel gives the lowest value (-infinity, 0).
void max_pool_f32(const Context& context, const float* x, float* y, const ConvShape& shape);
void max_pool_u8(const Context& context, const uint8_t* x, uint8_t* y, const ConvShape& shape);

/// Mean of a window: over all taps (count_include_pad, padding as zero) or over those inside.
enum class AverageCount { kAllTaps, kInside };
void average_pool_f32(const Context& context, const float* x, float* y, const ConvShape& shape,
                      AverageCount count);
/// Codes: clamp(round_half_even(float(sum (x - zero_in)) * (multiplier / taps)) + zero_out, 0,
/// 255), where the product multiplier / taps is one f32 division.
struct RequantizeU8 {
  float multiplier = 1.0F;  // input scale / output scale
  int32_t zero_in = 0, zero_out = 0;
};
void average_pool_u8(const Context& context, const uint8_t* x, uint8_t* y, const ConvShape& shape,
                     AverageCount count, const RequantizeU8& requantize);

/// Mean over all pixels: x [batch, pixels, channels] -> y [batch, channels].
void global_average_pool_f32(const Context& context, const float* x, float* y, int64_t batch,
                             int64_t pixels, int64_t channels);
void global_average_pool_u8(const Context& context, const uint8_t* x, uint8_t* y, int64_t batch,
                            int64_t pixels, int64_t channels, const RequantizeU8& requantize);

}  // namespace ounce::engine
