#pragma once

#include <optional>

#include "engine/kernels/bits/gemm_bits.h"
#include "engine/kernels/bits/sign_windows.h"
#include "engine/kernels/conv.h"

// Convolutions over bit images [batch, height, width][plane][word].
namespace ounce::engine {

/// Weights of a convolution whose padding contributes exactly nothing, also for kSign activations,
/// which have no zero: padded taps are read as +1 there, and what they would contribute is taken
/// off by corrections, one row of them for each set of taps that can lie outside the image.
///
/// A group whose channels do not fill whole words reads the words that they lie in; the weights of
/// its neighbours' channels are zero, for which weights that are signs are packed as kTernary
/// (kSign activations) or kSigned.
struct PackedConvBits {
  ConvShape shape;  // batch and, without `windows`, image sizes are free to differ at run time
  BitFormat format;
  BitActivations activations;
  std::vector<PackedBits> groups;
  // Instead of groups, where whole windows of signs are read.
  std::optional<SignWindows> windows;
};
/// `ohwi`: int8 values of `format`, [out_channels, kernel_h, kernel_w, in_channels / groups];
/// `bias`: [out_channels] in accumulator units, or null. `shift`: of signs by signs for which
/// can_read_windows(shape) holds, and float outputs; or null.
PackedConvBits pack_conv_bits(const int8_t* ohwi, const ConvShape& shape, BitFormat format,
                              const BitActivations& activations, const int32_t* bias,
                              const ValueShift* shift = nullptr);
int64_t packed_bytes(const PackedConvBits& packed);

/// Any IntegerEpilogue out (c, ldc, residual there; rows are output pixels).
void conv_bits(const Context& context, const uint64_t* image, const PackedConvBits& weights,
               const ConvShape& shape, const IntegerEpilogue& epilogue);
size_t conv_bits_scratch_bytes(const PackedConvBits& weights, const ConvShape& shape, int threads);

}  // namespace ounce::engine
