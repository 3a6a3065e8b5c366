#pragma once

#include "engine/kernels/common.h"

namespace ounce::engine {

/// y[r] = softmax(x[r]) over `columns`; x and y may be the same. Rows `ldx` and `ldy`
/// apart. `mask`: added to x before, [mask_rows, columns] with row r using r % mask_rows,
/// or null. Entries of -infinity get probability 0; a row of only -infinity becomes zeros.
struct SoftmaxShape {
  int64_t rows = 0, columns = 0;
  int64_t ldx = 0, ldy = 0;
  const float* mask = nullptr;
  int64_t mask_rows = 1;
};
void softmax_f32(const Context& context, const float* x, float* y, const SoftmaxShape& shape);

/// y = (x - mean) / sqrt(var + epsilon) * gamma + beta over `columns` of each row, two passes in
/// f32. gamma or beta may be null. Rows contiguous; x and y may be the same.
void layer_norm_f32(const Context& context, const float* x, float* y, int64_t rows, int64_t columns,
                    const float* gamma, const float* beta, float epsilon);

/// y = x / sqrt(mean(x^2) + epsilon) * gamma. gamma may be null.
void rms_norm_f32(const Context& context, const float* x, float* y, int64_t rows, int64_t columns,
                  const float* gamma, float epsilon);

}  // namespace ounce::engine
