#pragma once

#include "engine/kernels/bits/gemm_bits.h"
#include "engine/kernels/conv.h"

// Convolutions over bit images [batch, height, width][plane][word].
namespace ounce::engine {

/// Weights of a convolution whose padding contributes exactly nothing, also for kSign activations,
/// which have no zero: padded taps are read as +1 there, and what they would contribute is taken
/// off by corrections, one row of them for each set of taps that can lie outside the image.
///
/// A group whose channels do not fill whole words reads the words that they lie in; the weights of
/// its neighbours' channels are zero, for which its weights are packed as kTernary (kSign
/// activations) or kSigned.
struct PackedConvBits {
  ConvShape shape;  // batch and image sizes are free to differ at run time
  BitActivations activations;
  std::vector<PackedBits> groups;
};
/// `ohwi`: int8 values of `format`, [out_channels, kernel_h, kernel_w, in_channels / groups];
/// `bias`: [out_channels] in accumulator units, or null.
PackedConvBits pack_conv_bits(const int8_t* ohwi, const ConvShape& shape, BitFormat format,
                              const BitActivations& activations, const int32_t* bias);

/// Any IntegerEpilogue out (c, ldc, residual there; rows are output pixels).
void conv_bits(const Context& context, const uint64_t* image, const PackedConvBits& weights,
               const ConvShape& shape, const IntegerEpilogue& epilogue);
size_t conv_bits_scratch_bytes(const PackedConvBits& weights, const ConvShape& shape, int threads);

}  // namespace ounce::engine
