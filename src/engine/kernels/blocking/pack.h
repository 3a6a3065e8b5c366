#pragma once

#include "engine/kernels/common.h"

// Packing of a range of panels, at load time (weights) or on the fly (activations).
namespace ounce::engine {

/// A matrix in memory: kKxN rows are k, kNxK rows are columns; rows `stride` elements apart.
template <class T>
struct MatrixView {
  const T* data = nullptr;
  int64_t stride = 0;
  int64_t k = 0;
  int64_t n = 0;
  WeightLayout layout = WeightLayout::kKxN;
};

/// panels[p][k][16] = alpha * matrix for p in [first, last).
void pack_panels_f32(const MatrixView<float>& matrix, float alpha, int64_t first, int64_t last,
                     float* panels);

/// panels[p][k / 4][16][4] for p in [first, last), panels `panel_stride` bytes apart; bytes beyond
/// K are zero. With `flip`, codes are unsigned and stored minus 128.
void pack_panels_s8(const MatrixView<int8_t>& matrix, bool flip, int64_t first, int64_t last,
                    int8_t* panels, int64_t panel_stride);

/// sums[p][16] = column sums of panels of `panel_stride` bytes.
void column_sums_s8(const int8_t* panels, int64_t panel_stride, int64_t first, int64_t last,
                    int32_t* sums);

/// sums[i] = sum of the `k` codes of row i.
void row_sums_u8(const uint8_t* a, int64_t lda, int64_t rows, int64_t k, int32_t* sums);

}  // namespace ounce::engine
