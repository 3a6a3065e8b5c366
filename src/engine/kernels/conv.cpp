#include "engine/kernels/conv.h"

#include <cstring>

#include "engine/kernels/blocking/conv_rows.h"
#include "engine/kernels/blocking/implicit_gemm.h"
#include "engine/kernels/blocking/pack.h"
#include "engine/kernels/codes/implicit_codes.h"
#include "graph/error.h"

// Convolutions as products whose left rows are given by pointers: one pointer per output pixel and
// kernel tap, into the image itself. Pixels outside the image point to a run of padding.
namespace ounce::engine {
namespace {

// With few channels a tap is shorter than a vector and the pointers cost more than the products.
// Then a whole kernel row is one run (pixels of a row are adjacent), and the image is first copied
// with its border, so that no run is cut by the edge.
constexpr int64_t kFewChannels = 8;

struct Reduction {
  bool whole_rows;  // a tap is a kernel row, over a bordered copy of the image
  int64_t taps, run;
};

Reduction reduction_of(const ConvShape& s) {
  const bool whole_rows =
      s.groups == 1 && s.kernel_w > 1 && s.dilation_w == 1 && s.in_channels <= kFewChannels;
  if (whole_rows) return {true, s.kernel_h, s.kernel_w * s.in_channels};
  return {false, s.taps(), s.group_in()};
}

// The image with its border: [batch, height, width, channels].
struct Bordered {
  explicit Bordered(const ConvShape& s)
      : height((s.out_h - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1),
        width((s.out_w - 1) * s.stride_w + s.kernel_w),
        elements(s.batch * height * width * s.in_channels) {}
  int64_t height, width, elements;
};

// Runs of codes are read in words of four: the last word of the copy may reach beyond it.
constexpr int64_t kSlack = 4;

template <class T>
size_t scratch_bytes(const ConvShape& s, int threads) {
  const Reduction r = reduction_of(s);
  const int64_t copied = r.whole_rows ? Bordered(s).elements + kSlack : r.run + kSlack;
  return ScratchCursor::need<T>(copied) + implicit_gemm_scratch_bytes(r.taps, threads);
}

// Rows over a bordered copy; a tap is a kernel row.
template <class T>
class BorderedRows final : public RowSource<T> {
 public:
  BorderedRows(const T* image, const ConvShape& s, int64_t run_length)
      : image_(image), s_(s), size_(s) {
    this->row_count = s.out_pixels();
    this->taps = s.kernel_h;
    this->run = run_length;
    this->row_bytes = s.kernel_h * s.stride_w * s.in_channels * static_cast<int64_t>(sizeof(T));
  }

  uint32_t rows(int64_t first, int64_t count, const T** out) const override {
    PixelWalk at(s_, first);
    const T* pixels[32];
    for (int64_t i = 0; i < count; ++i, at.next()) {
      const int64_t row = at.n * size_.height + at.y * s_.stride_h;
      pixels[i] = image_ + (row * size_.width + at.x * s_.stride_w) * s_.in_channels;
    }
    const int64_t tap_step = s_.dilation_h * size_.width * s_.in_channels;
    for (int64_t tap = 0; tap < s_.kernel_h; ++tap, out += count) {
      for (int64_t i = 0; i < count; ++i) out[i] = pixels[i] + tap * tap_step;
    }
    return 0;  // padding lies in the copy, as pixels of its own
  }

 private:
  const T* image_;
  ConvShape s_;
  Bordered size_;
};

template <class T>
void copy_with_border(ThreadPool& pool, const T* in, const ConvShape& s, T padding, T* out) {
  const Bordered size(s);
  const int64_t row_length = size.width * s.in_channels;
  const int64_t left = std::clamp<int64_t>(s.pad_left, 0, size.width);
  const int64_t skip = std::max<int64_t>(-s.pad_left, 0);
  const int64_t copied =
      std::max<int64_t>(std::min(s.in_w - skip, size.width - left), 0) * s.in_channels;
  const int64_t margin = left * s.in_channels;
  pool.parallel_for(s.batch * size.height, [&](int64_t row, int) {
    const int64_t y = row % size.height - s.pad_top;
    T* line = out + row * row_length;
    const bool inside = y >= 0 && y < s.in_h;
    const int64_t length = inside ? copied : 0;
    if (inside) {
      const int64_t in_row = row / size.height * s.in_h + y;
      std::memcpy(line + margin, in + (in_row * s.in_w + skip) * s.in_channels,
                  static_cast<size_t>(length) * sizeof(T));
    }
    std::fill(line, line + margin, padding);
    std::fill(line + margin + length, line + row_length, padding);
  });
  std::fill(out + size.elements, out + size.elements + kSlack, padding);
}

bool is_matrix_product(const ConvShape& s) {
  return s.taps() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 &&
         s.in_h == s.out_h && s.in_w == s.out_w;
}

// Calls multiply(context, row source, group) for every group.
template <class T, class Multiply>
void for_groups(const Context& context, const T* input, const ConvShape& s, T padding,
                const Multiply& multiply) {
  const Reduction r = reduction_of(s);
  ScratchCursor cursor(context.scratch);
  T* copy = cursor.take<T>(r.whole_rows ? Bordered(s).elements + kSlack : r.run + kSlack);
  const Context rest = {context.pool, cursor.rest(context.scratch)};
  if (r.whole_rows) {
    copy_with_border(context.pool, input, s, padding, copy);
    // Packed runs of codes end at a multiple of four, with zero weights; floats at any length.
    const int64_t run = sizeof(T) == 1 ? round_up(r.run, 4) : r.run;
    return multiply(rest, BorderedRows<T>(copy, s, run), int64_t{0});
  }
  std::fill(copy, copy + r.run + kSlack, padding);
  for (int64_t group = 0; group < s.groups; ++group) {
    const T* image = input + group * s.group_in();
    if (is_matrix_product(s)) {
      multiply(rest, MatrixRows<T>(image, s.in_channels, s.out_pixels(), s.group_in()), group);
    } else {
      multiply(rest, ConvRows<T>(image, copy, s), group);
    }
  }
}

}  // namespace

PackedConvF32 pack_conv_f32(const float* ohwi, const ConvShape& shape) {
  PackedConvF32 packed;
  packed.shape = shape;
  const int64_t k = shape.taps() * shape.group_in();
  for (int64_t group = 0; group < shape.groups; ++group) {
    const float* weights = ohwi + group * shape.group_out() * k;
    packed.groups.push_back(pack_f32(weights, k, shape.group_out(), WeightLayout::kNxK));
  }
  return packed;
}

void conv_f32(const Context& context, const float* input, const PackedConvF32& weights,
              const ConvShape& shape, float* output, int64_t ldc, const Epilogue& epilogue) {
  for_groups(context, input, shape, 0.0F,
             [&](const Context& rest, const RowSource<float>& rows, int64_t group) {
               const int64_t first = group * shape.group_out();
               Epilogue e = epilogue;
               if (e.bias != nullptr) e.bias += first;
               if (e.residual != nullptr) e.residual += first;
               const PackedF32& b = weights.groups[static_cast<size_t>(group)];
               implicit_gemm_f32(rest, rows, {b.data.data(), b.n}, output + first, ldc, e);
             });
}

size_t conv_f32_scratch_bytes(const ConvShape& shape, int threads) {
  return scratch_bytes<float>(shape, threads);
}

PackedConvS8 pack_conv_s8(const int8_t* ohwi, const ConvShape& shape, int32_t a_zero_point,
                          const int32_t* bias) {
  PackedConvS8 packed;
  packed.shape = shape;
  packed.a_zero_point = a_zero_point;
  const Reduction r = reduction_of(shape);
  for (int64_t group = 0; group < shape.groups; ++group) {
    const int64_t first = group * shape.group_out();
    packed.groups.push_back(pack_s8_taps(ohwi + first * r.taps * r.run, r.taps, r.run,
                                         shape.group_out(), WeightLayout::kNxK, a_zero_point,
                                         bias == nullptr ? nullptr : bias + first));
  }
  return packed;
}

void conv_u8s8(const Context& context, const uint8_t* input, const PackedConvS8& weights,
               const ConvShape& shape, const IntegerEpilogue& epilogue) {
  for_groups(context, input, shape, static_cast<uint8_t>(weights.a_zero_point),
             [&](const Context& rest, const RowSource<uint8_t>& rows, int64_t group) {
               const PackedS8& b = weights.groups[static_cast<size_t>(group)];
               implicit_gemm_u8s8(rest, rows,
                                  {b.data.data(), b.n, b.column_sums.data(), b.offsets.data()},
                                  epilogue_of_columns(epilogue, group * shape.group_out()));
             });
}

size_t conv_u8s8_scratch_bytes(const ConvShape& shape, int threads) {
  return scratch_bytes<uint8_t>(shape, threads);
}

PackedConvCodes pack_conv_codes(const int8_t* ohwi, CodeFormat format, const ConvShape& shape,
                                int32_t a_zero_point, const int8_t* zero_points,
                                const int32_t* bias) {
  if (format == CodeFormat::kInt8 && zero_points != nullptr) {
    throw Error("8-bit weights have no zero points here", "pack_conv_codes",
                "weights whose codes mean themselves times a scale");
  }
  PackedConvCodes packed;
  packed.shape = shape;
  packed.a_zero_point = a_zero_point;
  const Reduction r = reduction_of(shape);
  for (int64_t group = 0; group < shape.groups; ++group) {
    const int64_t first = group * shape.group_out();
    CodeMatrix matrix;
    matrix.format = format;
    matrix.taps = r.taps;
    matrix.run = r.run;
    matrix.n = shape.group_out();
    matrix.codes = ohwi + first * r.taps * r.run;
    matrix.zero_points = zero_points == nullptr ? nullptr : zero_points + first;
    packed.groups.push_back(
        pack_codes(matrix, a_zero_point, bias == nullptr ? nullptr : bias + first));
  }
  return packed;
}

void conv_u8_codes(const Context& context, const uint8_t* input, const PackedConvCodes& weights,
                   const ConvShape& shape, const IntegerEpilogue& epilogue) {
  if (is_matrix_product(shape) && shape.groups == 1) {
    return gemm_u8_codes(context, input, shape.in_channels, weights.groups.front(),
                         shape.out_pixels(), epilogue);
  }
  for_groups(context, input, shape, static_cast<uint8_t>(weights.a_zero_point),
             [&](const Context& rest, const RowSource<uint8_t>& rows, int64_t group) {
               implicit_gemm_u8_codes(rest, rows, weights.groups[static_cast<size_t>(group)],
                                      epilogue_of_columns(epilogue, group * shape.group_out()));
             });
}

size_t conv_u8_codes_scratch_bytes(const PackedConvCodes& weights, const ConvShape& shape,
                                   int threads) {
  if (is_matrix_product(shape) && shape.groups == 1) {
    return gemm_codes_scratch_bytes(weights.groups.front(), shape.out_pixels(), threads);
  }
  // What the two count twice are a few row pointers.
  return scratch_bytes<uint8_t>(shape, threads) +
         implicit_gemm_u8_codes_scratch_bytes(weights.groups.front(), threads);
}

}  // namespace ounce::engine
