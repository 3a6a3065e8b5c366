#pragma once

#include "engine/kernels/common.h"

/// Quantizing activations while a model runs: the grid comes from the values themselves.
namespace ounce::engine {

enum class DynamicGrid : uint8_t {
  // scale = max |x| / (2^(bits-1) - 1), code = round_half_even(x / scale) clamped to
  // [-2^(bits-1), 2^(bits-1) - 1], stored + 128; zero point 128.
  kSymmetric,
  // scale = (max(x, 0) - min(x, 0)) / (2^bits - 1), zero point = round_half_even(-min / scale),
  // code = round_half_even(x / scale) + zero point clamped to [0, 2^bits - 1].
  kAsymmetric,
};

/// Where the codes go. Divisions are IEEE divisions; a row of zeros has scale 0 and codes equal to
/// the zero point. NaN counts as 0 for the range and gets the zero point.
struct DynamicCodes {
  uint8_t* codes = nullptr;  // [rows, columns], rows `stride` apart
  int64_t stride = 0;
  float* scales = nullptr;         // [rows]; [1] for a tensor
  int32_t* zero_points = nullptr;  // likewise, or null
  int32_t* row_sums = nullptr;     // [rows], sum of code - zero point, or null
};

/// One grid a row (per token). `bits`: 2 to 8.
void quantize_rows(const Context& context, const float* x, int64_t ldx, int64_t rows,
                   int64_t columns, DynamicGrid grid, int bits, const DynamicCodes& out);

/// One grid for all rows (per tensor).
void quantize_tensor(const Context& context, const float* x, int64_t ldx, int64_t rows,
                     int64_t columns, DynamicGrid grid, int bits, const DynamicCodes& out);

/// Steps in an octave.
enum class LogBase : uint8_t {
  k2 = 1,      // value 2^-k
  kSqrt2 = 2,  // value 2^(-k / 2)
};

/// Codes of values in [0, 1], such as softmax outputs: k = round(-log_base(x)) of the exact
/// logarithm, clamped to [0, 2^bits - 1]; there are no ties, since the borders are irrational. Zero
/// and negative numbers get the highest code, NaN gets 0. `bits`: 1 to 6
/// (what is below the normal numbers is then clamped).
void quantize_log(const Context& context, const float* x, uint8_t* codes, int64_t count,
                  LogBase base, int bits);

}  // namespace ounce::engine
