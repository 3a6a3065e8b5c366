#pragma once

#include "engine/kernels/blocking/blocking.h"
#include "engine/kernels/conv.h"

// The left rows of convolutions: one pointer per output pixel and kernel tap, into the image
// itself.
namespace ounce::engine {

// Output pixels in memory order; divisions only at the start.
class PixelWalk {
 public:
  PixelWalk(const ConvShape& s, int64_t first)
      : x(first % s.out_w),
        y(first / s.out_w % s.out_h),
        n(first / (s.out_w * s.out_h)),
        width_(s.out_w),
        height_(s.out_h) {}
  void next() {
    if (++x < width_) return;
    x = 0;
    if (++y < height_) return;
    y = 0;
    ++n;
  }
  int64_t x, y, n;

 private:
  int64_t width_, height_;
};

// Pixels outside the image point to a run of padding.
template <class T>
class ConvRows final : public RowSource<T> {
 public:
  // `image`: first channel of the group; `padding`: a run of padding values.
  ConvRows(const T* image, const T* padding, const ConvShape& s)
      : image_(image), padding_(padding), s_(s) {
    this->row_count = s.out_pixels();
    this->taps = s.taps();
    this->run = s.group_in();
    this->row_bytes = s.group_in() * static_cast<int64_t>(sizeof(T)) *
                      std::min(s.taps(), s.kernel_h * s.stride_w);
  }

  void rows(int64_t first, int64_t count, const T** out) const override {
    PixelWalk at(s_, first);
    for (int64_t i = 0; i < count; ++i, at.next()) pixel(at, count, out + i);
  }

 private:
  // Pointers of all taps of one output pixel, `step` apart in `out`.
  void pixel(const PixelWalk& at, int64_t step, const T** out) const {
    const int64_t top = at.y * s_.stride_h - s_.pad_top;
    const int64_t left = at.x * s_.stride_w - s_.pad_left;
    for (int64_t i = 0; i < s_.kernel_h; ++i) {
      const int64_t in_y = top + i * s_.dilation_h;
      const bool inside_y = in_y >= 0 && in_y < s_.in_h;
      const T* row =
          inside_y ? image_ + (at.n * s_.in_h + in_y) * s_.in_w * s_.in_channels : padding_;
      for (int64_t j = 0; j < s_.kernel_w; ++j, out += step) {
        const int64_t in_x = left + j * s_.dilation_w;
        const bool inside = inside_y && in_x >= 0 && in_x < s_.in_w;
        *out = inside ? row + in_x * s_.in_channels : padding_;
      }
    }
  }

  const T* image_;
  const T* padding_;
  ConvShape s_;
};

}  // namespace ounce::engine
