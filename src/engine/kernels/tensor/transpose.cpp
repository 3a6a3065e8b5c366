#define OUNCE_AVX512VNNI_IS_AVX512  // see dispatch.h

#include <algorithm>

#include "engine/kernels/dispatch.h"
#include "engine/kernels/tensor/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/tensor/transpose.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/vector/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Elements of one plane that a thread takes at a time.
inline constexpr int64_t kPlaneChunk = 4096;

// Three planes to pixels: a picture that comes in channels-first. [3, pixels] -> [pixels, 3].
template <class T>
void interleave3(const T* in, T* out, int64_t pixels, int64_t first, int64_t last) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const T* green = in + pixels;
  const T* blue = in + 2 * pixels;
  int64_t i = first;
  for (; i + lanes <= last; i += lanes) {
    hn::StoreInterleaved3(hn::LoadU(d, in + i), hn::LoadU(d, green + i), hn::LoadU(d, blue + i), d,
                          out + 3 * i);
  }
  for (; i < last; ++i) {
    out[3 * i] = in[i];
    out[3 * i + 1] = green[i];
    out[3 * i + 2] = blue[i];
  }
}

template <class T>
void planes_to_pixels(const Context& context, const T* in, T* out, int64_t batch, int64_t pixels) {
  const int64_t chunks = ceil_div(pixels, kPlaneChunk);
  context.pool.parallel_for(batch * chunks, [&](int64_t task, int) HWY_ATTR {
    const int64_t image = task / chunks * 3 * pixels;
    const int64_t first = task % chunks * kPlaneChunk;
    interleave3(in + image, out + image, pixels, first, std::min(first + kPlaneChunk, pixels));
  });
}

void planes_to_pixels_f32(const Context& context, const float* in, float* out, int64_t batch,
                          int64_t pixels) {
  planes_to_pixels(context, in, out, batch, pixels);
}
void planes_to_pixels_u8(const Context& context, const uint8_t* in, uint8_t* out, int64_t batch,
                         int64_t pixels) {
  planes_to_pixels(context, in, out, batch, pixels);
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(planes_to_pixels_f32);
OUNCE_EXPORT(planes_to_pixels_u8);

// Other transposes in square tiles: a tile's rows and columns then stay in the first-level cache,
// whatever the strides. The compiler vectorises what it can; the work is bound by memory.
namespace {

constexpr int64_t kTile = 32;

template <class T>
void transpose_tile(const T* in, T* out, int64_t rows, int64_t columns, int64_t row,
                    int64_t column) {
  const int64_t last_row = std::min(row + kTile, rows);
  const int64_t last_column = std::min(column + kTile, columns);
  for (int64_t c = column; c < last_column; ++c) {
    for (int64_t r = row; r < last_row; ++r) out[c * rows + r] = in[r * columns + c];
  }
}

// A task is a band of columns of one matrix, so that it writes contiguous memory.
template <class T>
void transpose(const Context& context, const T* in, T* out, int64_t batch, int64_t rows,
               int64_t columns) {
  const int64_t bands = ceil_div(columns, kTile);
  context.pool.parallel_for(batch * bands, [&](int64_t task, int) {
    const int64_t offset = task / bands * rows * columns;
    const int64_t column = task % bands * kTile;
    for (int64_t row = 0; row < rows; row += kTile) {
      transpose_tile(in + offset, out + offset, rows, columns, row, column);
    }
  });
}

}  // namespace

void transpose_f32(const Context& context, const float* in, float* out, int64_t batch, int64_t rows,
                   int64_t columns) {
  if (rows == 3) return OUNCE_DISPATCH(planes_to_pixels_f32)(context, in, out, batch, columns);
  transpose(context, in, out, batch, rows, columns);
}
void transpose_u8(const Context& context, const uint8_t* in, uint8_t* out, int64_t batch,
                  int64_t rows, int64_t columns) {
  if (rows == 3) return OUNCE_DISPATCH(planes_to_pixels_u8)(context, in, out, batch, columns);
  transpose(context, in, out, batch, rows, columns);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
