#pragma once

#include "engine/kernels/common.h"
#include "engine/kernels/f32/gemm_f32.h"
#include "engine/kernels/int8/gemm_u8s8.h"

namespace ounce::engine {

/// Geometry of a 2-D convolution over NHWC images (1-D: height 1). Sizes of input and output are
/// both given, so asymmetric and implicit padding need no rule here: input pixel of output (y, x)
/// and tap (i, j) is (y * stride_h - pad_top + i * dilation_h, x * stride_w - pad_left + j *
/// dilation_w); pixels outside the input read as zero (as the zero point for integer codes).
struct ConvShape {
  int64_t batch = 1;
  int64_t in_h = 1, in_w = 1, in_channels = 1;
  int64_t out_h = 1, out_w = 1, out_channels = 1;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 0, pad_left = 0;
  int64_t groups = 1;  // divides in_channels and out_channels

  int64_t taps() const { return kernel_h * kernel_w; }
  int64_t group_in() const { return in_channels / groups; }
  int64_t group_out() const { return out_channels / groups; }
  int64_t out_pixels() const { return batch * out_h * out_w; }
};

/// Weights [out_channels, kernel_h, kernel_w, in_channels / groups] (OHWI), one packed matrix a
/// group with reduction order (tap, channel).
struct PackedConvF32 {
  ConvShape shape;  // batch and image sizes are free to differ at run time
  std::vector<PackedF32> groups;
};
PackedConvF32 pack_conv_f32(const float* ohwi, const ConvShape& shape);

/// output [batch, out_h, out_w, out_channels] = epilogue(conv(input, weights)), where rows of the
/// epilogue are output pixels; pixels of the output are `ldc` elements apart (out_channels when
/// dense; more writes into a wider concatenation). Pixels of the input are in_channels apart.
/// Implicit GEMM: no im2col; images with few channels are copied once with their border.
void conv_f32(const Context& context, const float* input, const PackedConvF32& weights,
              const ConvShape& shape, float* output, int64_t ldc, const Epilogue& epilogue);
size_t conv_f32_scratch_bytes(const ConvShape& shape, int threads);

/// Depthwise: groups == in_channels == out_channels. `weights`: [kernel_h, kernel_w, channels].
struct PackedDepthwiseF32 {
  ConvShape shape;
  AlignedVector<float> data;  // [taps][channels rounded up to 16]
};
PackedDepthwiseF32 pack_depthwise_f32(const float* hwc, const ConvShape& shape);
void depthwise_f32(const Context& context, const float* input, const PackedDepthwiseF32& weights,
                   const ConvShape& shape, float* output, int64_t ldc, const Epilogue& epilogue);
size_t depthwise_f32_scratch_bytes(const ConvShape& shape, int threads);

/// Transposed convolution: input pixel (y, x) adds its products to the output pixels (y * stride_h
/// - pad_top + i * dilation_h, x * stride_w - pad_left + j * dilation_w). Output pixels that are a
/// stride apart form a phase, which is a plain convolution with some of the taps; what no tap
/// reaches gets its bias only.
struct PackedConvTransposeF32 {
  ConvShape shape;
  struct Phase {
    ConvShape window;  // as a convolution that makes one row
    int64_t first_y = 0, first_x = 0;
    size_t matrices = 0;
  };
  std::vector<Phase> phases;  // [first_y][first_x]
  // One a group, with columns [pixels side by side][channels of a group].
  std::vector<std::vector<PackedF32>> matrices;
  AlignedVector<float> bias;  // [pixels side by side][out_channels]
};
/// `weights`: [in_channels, out_channels / groups, kernel_h, kernel_w]; `bias`: [out_channels] or
/// null.
PackedConvTransposeF32 pack_conv_transpose_f32(const float* weights, const float* bias,
                                               const ConvShape& shape);
/// Images of the packed shape. The bias is the packed one; output and residual are dense.
void conv_transpose_f32(const Context& context, const float* input,
                        const PackedConvTransposeF32& weights, float* output,
                        const Epilogue& epilogue);
size_t conv_transpose_f32_scratch_bytes(const PackedConvTransposeF32& weights, int threads);

/// Integer convolutions: u8 codes in, any IntegerEpilogue out (c, ldc and residual there; rows are
/// output pixels). Padding reads as a_zero_point, hence contributes exactly nothing.
struct PackedConvS8 {
  ConvShape shape;
  int32_t a_zero_point = 0;
  std::vector<PackedS8> groups;
};
/// `bias`: [out_channels] or null.
PackedConvS8 pack_conv_s8(const int8_t* ohwi, const ConvShape& shape, int32_t a_zero_point,
                          const int32_t* bias);
void conv_u8s8(const Context& context, const uint8_t* input, const PackedConvS8& weights,
               const ConvShape& shape, const IntegerEpilogue& epilogue);
size_t conv_u8s8_scratch_bytes(const ConvShape& shape, int threads);

/// The layout depends on the vector length, hence the kernel runs at the level of engine/isa.h that
/// was chosen when the weights were packed, whatever is chosen later.
struct PackedDepthwiseS8 {
  ConvShape shape;
  int32_t a_zero_point = 0;
  int level = 0;                   // see dispatch.h
  int64_t fold = 1;                // neighbouring output pixels that the kernel takes as one
  int64_t output_rows = 1;         // that it computes at a time
  int64_t groups = 1;              // of four image rows under their windows
  AlignedVector<int8_t> data;      // see depthwise_u8s8.cpp
  AlignedVector<int32_t> offsets;  // bias - a_zero_point * sum of weights, in the order of `data`
  AlignedVector<int32_t> column_sums;
  int64_t wide_channels() const { return shape.in_channels * fold; }
  /// Bytes of `data` for a channel of a folded pixel.
  int64_t lane_bytes() const { return output_rows * groups * shape.kernel_w * 4; }
};
/// `weights`: [kernel_h, kernel_w, channels]; `bias`: [channels] or null.
PackedDepthwiseS8 pack_depthwise_s8(const int8_t* hwc, const ConvShape& shape, int32_t a_zero_point,
                                    const int32_t* bias);
void depthwise_u8s8(const Context& context, const uint8_t* input, const PackedDepthwiseS8& weights,
                    const ConvShape& shape, const IntegerEpilogue& epilogue);
size_t depthwise_u8s8_scratch_bytes(const ConvShape& shape, int threads);

}  // namespace ounce::engine
