#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/kernels/bits/bit_planes.h"
#include "engine/kernels/conv.h"

// Convolutions of signs by signs that read whole windows. What a window has in one row of the image
// lies in memory as one run of bits, with no gaps between pixels of few channels: an image of 16
// channels and a kernel of 3x3 make three runs of 48 bits, not nine words. Windows of a row are a
// constant step apart, so no table of pointers is needed.
//
// What padding contributes is settled by where sums start: output pixels that miss the same taps
// share a class, and each class has its own offsets.
namespace ounce::engine {

/// How the windows of an image lie.
struct WindowLayout {
  explicit WindowLayout(const ConvShape& s) : pixel_words(BitFormat::plane_words(s.in_channels)) {
    gathers = s.in_channels < 64 && s.kernel_w > 1;
    line = (s.out_w - 1) * s.stride_w + s.kernel_w;
    in_place = !gathers && s.pad_left == 0 && line <= s.in_w;
    const int64_t bits = s.kernel_w * s.in_channels;
    step = gathers ? ceil_div(bits, 64) : s.stride_w * pixel_words;
    run = gathers ? ceil_div(bits, 32) : s.kernel_w * pixel_words * 2;
    row_words = gathers ? s.out_w * step : (in_place ? s.in_w : line) * pixel_words;
  }
  /// The bit of a run that holds channel `channel` of kernel column `x`.
  int64_t bit(const ConvShape& s, int64_t x, int64_t channel) const {
    return (gathers ? x * s.in_channels : x * pixel_words * 64) + channel;
  }
  int64_t pixel_words;
  bool gathers;       // pixels of a window are joined without gaps
  bool in_place;      // the image is read as it is
  int64_t line;       // pixels that the windows of a row need, with padding
  int64_t step, run;  // as in SignWindows
  int64_t row_words;  // of one image row
};

struct SignWindows {
  ConvShape shape;                    // classes are those of this image
  int64_t run = 0;                    // 32-bit words of a window in a row of the image
  int64_t step = 0;                   // 64-bit words from a window to the next
  AlignedVector<uint32_t> weights;    // [panel][kernel_h][run][16]
  std::vector<int32_t> row_class;     // of output y: which kernel rows lie inside
  std::vector<int32_t> column_class;  // of output x, the same for columns
  int64_t column_classes = 0;
  // [row class][column class][N rounded up to 16]: where an accumulator starts.
  AlignedVector<int32_t> offsets;
  // Where values are not centred (see shift_values), else empty: what a set bit of the window adds
  // to a float output [N rounded up to 16], and its bias by class, as `offsets`.
  AlignedVector<float> bit_gains;
  AlignedVector<float> biases;

  int64_t columns() const { return round_up(shape.out_channels, kPanelColumns); }
};

/// Most rows of a kernel.
inline constexpr int64_t kMostKernelRows = 16;

/// One group, no gaps between the columns of the kernel.
bool can_read_windows(const ConvShape& shape);

/// `ohwi`: -1 and +1, [out_channels, kernel_h, kernel_w, in_channels]; `bias`: [out_channels] in
/// accumulator units, or null. can_read_windows(shape) must hold.
SignWindows pack_sign_windows(const int8_t* ohwi, const ConvShape& shape, const int32_t* bias);

/// Two values that are not opposite: activations are sign + center, weights of output channel c
/// are scales[c] * sign + offsets[c]. Padding is 0 still.
struct ValueShift {
  float center = 0.0F;
  std::span<const float> scales;
  std::span<const float> offsets;
  std::span<const float> bias;  // of the float output, or empty
};
/// The product of such values comes of a float epilogue with these scales and without a bias:
/// scales[c] times the sum of the products of signs, and what is linear in the window's signs.
void shift_values(SignWindows& windows, const int8_t* ohwi, const ValueShift& shift);

/// `image`: kSign bits [batch, in_h, in_w][words]. `shape` is that of `windows` but for the batch.
void conv_sign_windows(const Context& context, const uint64_t* image, const SignWindows& windows,
                       const ConvShape& shape, const IntegerEpilogue& epilogue);
size_t sign_windows_scratch_bytes(const ConvShape& shape, int threads);

}  // namespace ounce::engine
