#include <algorithm>

#include "engine/kernels/elementwise.h"

// Transposes in square tiles: a tile's rows and columns then stay in the first-level cache,
// whatever the strides. The compiler vectorises what it can; the work is bound by memory.
namespace ounce::engine {
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
  transpose(context, in, out, batch, rows, columns);
}
void transpose_u8(const Context& context, const uint8_t* in, uint8_t* out, int64_t batch,
                  int64_t rows, int64_t columns) {
  transpose(context, in, out, batch, rows, columns);
}

}  // namespace ounce::engine
