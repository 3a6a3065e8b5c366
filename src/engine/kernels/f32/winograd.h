#pragma once

#include <optional>

#include "engine/kernels/conv.h"

namespace ounce::engine {

/// Output pixels that a Winograd convolution computes together, 2 or 4 along each axis: F(4x4, 3x3)
/// takes 36 products where the plain convolution takes 144, F(2x2, 3x3) 16 in place of 36. What one
/// saves in products it pays in weights: a 3x3 kernel becomes (height + 2) * (width + 2) numbers.
struct WinogradTile {
  int64_t height = 4;
  int64_t width = 4;
  int64_t positions() const { return (height + 2) * (width + 2); }
};

/// 3x3 with strides and dilations of one, all channels in one group: any image, any padding.
bool winograd_applies(const ConvShape& shape);

/// The tile that is fastest for this image, or none where conv_f32 is: an estimate from products,
/// transforms and the memory traffic of the weights.
std::optional<WinogradTile> choose_winograd(const ConvShape& shape);

/// Transformed weights, one packed matrix a position: [positions][panels][in_channels][16].
struct PackedWinogradF32 {
  ConvShape shape;  // batch and image sizes are free to differ at run time
  WinogradTile tile;
  AlignedVector<float> data;
};
/// `ohwi` as of pack_conv_f32. The transform is taken in double and rounded once.
PackedWinogradF32 pack_winograd_f32(const float* ohwi, const ConvShape& shape, WinogradTile tile);

/// The same result as conv_f32 up to rounding. The points of the transforms are chosen so that it
/// is no less exact: over 1152 products of uniform random numbers the largest error is 1.5e-6 of
/// the largest output with tiles of 4x4, where a plain sum in order has 1.9e-6.
void winograd_f32(const Context& context, const float* input, const PackedWinogradF32& weights,
                  const ConvShape& shape, float* output, int64_t ldc, const Epilogue& epilogue);
size_t winograd_f32_scratch_bytes(const ConvShape& shape, WinogradTile tile, int threads);

}  // namespace ounce::engine
