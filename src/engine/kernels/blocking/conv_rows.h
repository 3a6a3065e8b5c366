#pragma once

#include <bit>

#include "engine/kernels/blocking/blocking.h"
#include "engine/kernels/conv.h"

// The left rows of convolutions: one pointer per output pixel and kernel tap, into the image
// itself.
namespace ounce::engine {

// Output pixels in memory order; divisions only at the start.
class PixelWalk {
 public:
  PixelWalk(const ConvShape& s, int64_t first) : width_(s.out_w), height_(s.out_h) {
    const int64_t line = first / width_;
    x = first - line * width_;
    n = line / height_;
    y = line - n * height_;
  }
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
    whole_height_ = std::max<int64_t>(s.in_h - (s.kernel_h - 1) * s.dilation_h, 0);
    whole_width_ = std::max<int64_t>(s.in_w - (s.kernel_w - 1) * s.dilation_w, 0);
    this->row_bytes = s.group_in() * static_cast<int64_t>(sizeof(T)) *
                      std::min(s.taps(), s.kernel_h * s.stride_w);
  }

  uint32_t rows(int64_t first, int64_t count, const T** out) const override {
    PixelWalk at(s_, first);
    FirstTap taps[32];
    uint32_t border = 0;
    const auto step = static_cast<uintptr_t>(s_.stride_w * s_.in_channels) * sizeof(T);
    FirstTap next = first_tap(at);
    for (int64_t i = 0; i < count; ++i) {
      taps[i] = next;
      border |= uint32_t{!inside(next)} << i;
      at.next();
      next.left += s_.stride_w;
      next.bytes += step;
      if (at.x == 0) next = first_tap(at);
    }
    const T** tap = out;
    const auto image = reinterpret_cast<uintptr_t>(image_);
    for (int64_t y = 0; y < s_.kernel_h; ++y) {
      for (int64_t x = 0; x < s_.kernel_w; ++x, tap += count) {
        const int64_t offset = (y * s_.dilation_h * s_.in_w + x * s_.dilation_w) * s_.in_channels;
        // (Not sums of pointers: some lie far outside until `pad` replaces them.)
        const uintptr_t from = image + static_cast<uintptr_t>(offset) * sizeof(T);
        for (int64_t i = 0; i < count; ++i) {
          // NOLINTNEXTLINE(performance-no-int-to-ptr)
          tap[i] = reinterpret_cast<const T*>(from + taps[i].bytes);
        }
      }
    }
    for (uint32_t rest = border; rest != 0; rest &= rest - 1) {
      const int i = std::countr_zero(rest);
      pad(taps[i], count, out + i);
    }
    return border;
  }

 private:
  struct FirstTap {
    int64_t top, left;
    uintptr_t bytes;  // from the image's first element
  };

  FirstTap first_tap(const PixelWalk& at) const {
    const int64_t top = at.y * s_.stride_h - s_.pad_top;
    const int64_t left = at.x * s_.stride_w - s_.pad_left;
    const int64_t offset = ((at.n * s_.in_h + top) * s_.in_w + left) * s_.in_channels;
    return {top, left, static_cast<uintptr_t>(offset) * sizeof(T)};
  }

  // Whether all taps lie inside the image.
  bool inside(const FirstTap& t) const {
    return t.top >= 0 && t.left >= 0 && t.top < whole_height_ && t.left < whole_width_;
  }

  // Replaces what lies outside in the pointers of one pixel, `step` apart in `out`.
  void pad(const FirstTap& first, int64_t step, const T** out) const {
    for (int64_t i = 0; i < s_.kernel_h; ++i) {
      const int64_t y = first.top + i * s_.dilation_h;
      const bool inside_y = y >= 0 && y < s_.in_h;
      for (int64_t j = 0; j < s_.kernel_w; ++j, out += step) {
        const int64_t x = first.left + j * s_.dilation_w;
        if (!inside_y || x < 0 || x >= s_.in_w) *out = padding_;
      }
    }
  }

  const T* image_;
  const T* padding_;
  ConvShape s_;
  int64_t whole_height_, whole_width_;  // first taps within see all others inside the image
};

}  // namespace ounce::engine
