#include "engine/kernels/reference/reference_codes.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/kernels/codes/implicit_codes.h"
#include "engine/kernels/reference/reference.h"

namespace ounce::engine::reference {
namespace {

// Element k of column j with the scale and zero point of its group.
struct Weight {
  int32_t code;  // minus zero point
  double scale;
};

Weight weight_of(const CodeMatrix& b, int64_t k, int64_t j) {
  const bool by_rows = b.layout == WeightLayout::kKxN;
  const int64_t code = by_rows ? k * b.n + j : j * b.taps * b.run + k;
  const int64_t group = b.group == 0 ? 0 : k / b.group;
  const int64_t entry = by_rows ? group * b.n + j : j * b.groups() + group;
  return {b.codes[code] - (b.zero_points == nullptr ? 0 : b.zero_points[entry]),
          b.scales == nullptr ? 1.0 : b.scales[entry]};
}

// c = epilogue(sums).
void finish_floats(const std::vector<double>& sums, int64_t m, int64_t n, float* c, int64_t ldc,
                   const Epilogue& e) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double x = sums[static_cast<size_t>(i * n + j)];
      const double residual = e.residual == nullptr ? 0.0 : e.residual[i * e.residual_stride + j];
      if (e.bias != nullptr) x += e.bias[j];
      c[i * ldc + j] =
          static_cast<float>(e.activation_first ? activate(x, e.activation) + residual
                                                : activate(x + residual, e.activation));
    }
  }
}

}  // namespace

void gemm_u8_codes(const uint8_t* a, int64_t lda, const CodeMatrix& b, int64_t m,
                   int32_t a_zero_point, const int32_t* bias, const IntegerEpilogue& epilogue) {
  std::vector<int32_t> sums(static_cast<size_t>(b.n));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < b.n; ++j) {
      int64_t sum = bias == nullptr ? 0 : bias[j];
      for (int64_t k = 0; k < b.taps * b.run; ++k) {
        sum += int64_t{a[i * lda + k] - a_zero_point} * weight_of(b, k, j).code;
      }
      sums[static_cast<size_t>(j)] = static_cast<int32_t>(sum);
    }
    // The epilogue of a product without a reduction, whose bias the sums are.
    gemm_u8s8(nullptr, 0, nullptr, WeightLayout::kKxN, 1, b.n, 0, 0, sums.data(),
              epilogue_of_rows(epilogue, i));
  }
}

void gemm_quantized_codes(const QuantizedRows& a, const CodeMatrix& b, int64_t m, float* c,
                          int64_t ldc, const Epilogue& epilogue) {
  std::vector<double> sums;
  for (int64_t i = 0; i < m; ++i) {
    const int64_t row = a.shared ? 0 : i;
    const int32_t zero = a.zero_points == nullptr ? 128 : a.zero_points[row];
    for (int64_t j = 0; j < b.n; ++j) {
      double sum = 0.0;
      for (int64_t k = 0; k < b.run; ++k) {
        const Weight w = weight_of(b, k, j);
        sum += w.scale * (a.codes[i * a.stride + k] - zero) * w.code;
      }
      sums.push_back(sum * a.scales[row]);
    }
  }
  finish_floats(sums, m, b.n, c, ldc, epilogue);
}

void gemm_f32_codes(const float* a, int64_t lda, const CodeMatrix& b, int64_t m, float* c,
                    int64_t ldc, const Epilogue& epilogue) {
  std::vector<double> sums;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < b.n; ++j) {
      double sum = 0.0;
      for (int64_t k = 0; k < b.taps * b.run; ++k) {
        const Weight w = weight_of(b, k, j);
        sum += static_cast<double>(a[i * lda + k]) * w.code * w.scale;
      }
      sums.push_back(sum);
    }
  }
  finish_floats(sums, m, b.n, c, ldc, epilogue);
}

namespace {

// Least and greatest value, 0 among them.
struct Range {
  float lo = 0.0F, hi = 0.0F;
  void add(float x) {
    if (x < lo) lo = x;
    if (x > hi) hi = x;
  }
};

void quantize_row(const float* x, int64_t columns, const Range& range, DynamicGrid grid, int bits,
                  uint8_t* codes, float& scale, int32_t& zero_point, int32_t& sum) {
  const bool symmetric = grid == DynamicGrid::kSymmetric;
  const int32_t half = 1 << (bits - 1);
  zero_point = 128;
  int32_t lo = 128 - half, hi = 127 + half;
  if (symmetric) {
    scale = std::max(-range.lo, range.hi) / static_cast<float>(half - 1);
  } else {
    lo = 0;
    hi = 2 * half - 1;
    scale = (range.hi - range.lo) / static_cast<float>(hi);
    zero_point = scale > 0.0F ? to_code(-range.lo / scale, 0, lo, hi) : 0;
  }
  sum = 0;
  for (int64_t i = 0; i < columns; ++i) {
    const int32_t code = scale > 0.0F ? to_code(x[i] / scale, zero_point, lo, hi) : zero_point;
    codes[i] = static_cast<uint8_t>(code);
    sum += code - zero_point;
  }
}

void quantize(const float* x, int64_t ldx, int64_t rows, int64_t columns, const Range& range,
              DynamicGrid grid, int bits, const DynamicCodes& out, int64_t first) {
  for (int64_t i = 0; i < rows; ++i) {
    float scale = 0.0F;
    int32_t zero_point = 0, sum = 0;
    quantize_row(x + i * ldx, columns, range, grid, bits, out.codes + (first + i) * out.stride,
                 scale, zero_point, sum);
    if (i == 0) out.scales[first] = scale;
    if (i == 0 && out.zero_points != nullptr) out.zero_points[first] = zero_point;
    if (out.row_sums != nullptr) out.row_sums[first + i] = sum;
  }
}

}  // namespace

void quantize_rows(const float* x, int64_t ldx, int64_t rows, int64_t columns, DynamicGrid grid,
                   int bits, const DynamicCodes& out) {
  for (int64_t i = 0; i < rows; ++i) {
    Range range;
    for (int64_t j = 0; j < columns; ++j) range.add(x[i * ldx + j]);
    quantize(x + i * ldx, ldx, 1, columns, range, grid, bits, out, i);
  }
}

void quantize_tensor(const float* x, int64_t ldx, int64_t rows, int64_t columns, DynamicGrid grid,
                     int bits, const DynamicCodes& out) {
  Range range;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) range.add(x[i * ldx + j]);
  }
  quantize(x, ldx, rows, columns, range, grid, bits, out, 0);
}

void quantize_log(const float* x, uint8_t* codes, int64_t count, LogBase base, int bits) {
  const double highest = (1 << bits) - 1;
  for (int64_t i = 0; i < count; ++i) {
    // No f32 is so close to a border that the rounding of this logarithm could matter.
    const double k = -std::log2(static_cast<double>(x[i])) * (base == LogBase::k2 ? 1.0 : 2.0);
    const double code = x[i] <= 0.0F ? highest : std::nearbyint(k);
    codes[i] = std::isnan(x[i]) ? uint8_t{0} : static_cast<uint8_t>(std::clamp(code, 0.0, highest));
  }
}

}  // namespace ounce::engine::reference
