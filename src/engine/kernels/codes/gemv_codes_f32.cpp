#define OUNCE_AVX512VNNI_IS_AVX512  // see dispatch.h

#include <cstring>

#include "engine/kernels/blocking/blocking.h"
#include "engine/kernels/codes/gemv_codes.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/codes/gemv_codes_f32.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/codes/finish_quantized-inl.h"
#include "engine/kernels/codes/gemv_codes-inl.h"
#include "engine/kernels/codes/unpack_codes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

template <int kElement, int kBits, int kRows, int kVectors>
HWY_INLINE void add_elements(VF (&sums)[kRows][kVectors], const Block<kBits> (&block)[kVectors],
                             const FloatCodes<kBits>& codes, const float* const (&x)[kRows]) {
  if constexpr (kElement < Block<kBits>::kElements) {
    VF a[kRows];
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) a[i] = hn::Set(DF(), x[i][kElement]);
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      const VF code = codes.template get<kElement / 4, kElement % 4>(block[j]);
#pragma GCC unroll kUnroll
      for (int i = 0; i < kRows; ++i) sums[i][j] = hn::MulAdd(a[i], code, sums[i][j]);
    }
    add_elements<kElement + 1>(sums, block, codes, x);
  }
}

// Sums of code * x of a group, minus zero point * sum of x, times its scale.
template <int kBits, int kRows, int kPanels>
HWY_NOINLINE void gemv_floats(const GemvTile& t) {
  using B = Block<kBits>;
  constexpr int kVectors = kPanels * kPassVectors;
  const FloatCodes<kBits> codes(t.b->format);
  const bool centred = t.b->zero_points.empty();
  VF values[kRows][kVectors];
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) values[i][j] = hn::Zero(DF());
  }
  for (int64_t group = 0; group < t.groups; ++group) {
    const int64_t first = group * t.group_blocks;
    const int64_t last = std::min(first + t.group_blocks, t.blocks);
    VF sums[kRows][kVectors];
    const float* x[kRows];
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) {
      x[i] = t.xf + i * t.x_stride + first * B::kElements;
#pragma GCC unroll kUnroll
      for (int j = 0; j < kVectors; ++j) sums[i][j] = hn::Zero(DF());
    }
    for (int64_t at = first; at < last; ++at) {
      B block[kVectors];
      load_blocks(block, t, at * B::kBytes);
      add_elements<0>(sums, block, codes, x);
#pragma GCC unroll kUnroll
      for (int i = 0; i < kRows; ++i) x[i] += B::kElements;
    }
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      const VF scale = scale_of(t, j, group);
      const VF zero = float_zeros(centred ? nullptr : zeros_of(t, j, group));
#pragma GCC unroll kUnroll
      for (int i = 0; i < kRows; ++i) {
        const VF x_sum = hn::Set(DF(), t.xf_sums[i * t.groups + group]);
        const VF sum = hn::NegMulAdd(zero, x_sum, sums[i][j]);
        values[i][j] = hn::MulAdd(sum, scale, values[i][j]);
      }
    }
  }
  store_tile(values, t.values);
}

// Each sum is one register, and a decoded code one more.
constexpr int gemv_float_panels(int rows) {
  constexpr int kRegisters = HWY_TARGET == HWY_AVX2 ? 6 : 12;
  return HWY_TARGET == HWY_SCALAR ? 1 : std::clamp(kRegisters / (rows * kPassVectors), 1, 4);
}

template <int kBits>
struct FloatKernels {
  template <int kRows>
  static GemvFunction make() {
    constexpr int kPanels = gemv_float_panels(kRows);
    return {&gemv_floats<kBits, kRows, kPanels>, kRows, kPanels};
  }
};

// Rows with zeros up to whole blocks, and the sums of groups where there are zero points.
struct FloatRows {
  FloatRows(std::span<std::byte> scratch, const float* a, int64_t lda, const PackedCodes& b,
            int64_t m)
      : stride(round_up(b.run, 32)) {
    const int64_t all_rows = whole_rows(m);
    ScratchCursor cursor(scratch);
    const int64_t groups = b.groups();
    const int64_t group = b.group == 0 ? stride : b.group;
    x = cursor.take<float>(all_rows * stride);
    sums = cursor.take<float>(all_rows * groups);
    std::fill(x, x + all_rows * stride, 0.0F);
    std::fill(sums, sums + all_rows * groups, 0.0F);
    for (int64_t i = 0; i < m; ++i) {
      float* row = x + i * stride;
      std::memcpy(row, a + i * lda, static_cast<size_t>(b.run) * sizeof(float));
      for (int64_t k = 0; k < b.run && !b.zero_points.empty(); k += group) {
        double sum = 0.0;
        for (int64_t e = k; e < std::min(k + group, b.run); ++e) sum += row[e];
        sums[i * groups + k / group] = static_cast<float>(sum);
      }
    }
  }
  int64_t stride;
  float* x;
  float* sums;
};

void gemv_f32_codes(const Context& context, const float* a, int64_t lda, const PackedCodes& b,
                    int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  GemvFunction function{};
  with_bits(b.format,
            [&](auto bits) { function = function_for<FloatKernels<decltype(bits)::value>>(m); });
  const FloatRows rows(context.scratch, a, lda, b, m);
  for_panel_tiles(context, b, m, function,
                  [&](GemvTile t, int64_t row, int64_t count, int64_t column, int64_t columns)
                      HWY_ATTR {
                        alignas(64) float values[kGemvRows * kSumStride];
                        t.values = values;
                        t.xf = rows.x + row * rows.stride;
                        t.xf_sums = rows.sums + row * t.groups;
                        t.x_stride = rows.stride;
                        run_passes(function, t, columns);
                        finish_floats({values, count, columns, row, column}, {c, ldc, &epilogue});
                      });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(gemv_f32_codes);

void gemv_f32_codes(const Context& context, const float* a, int64_t lda, const PackedCodes& b,
                    int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  OUNCE_DISPATCH(gemv_f32_codes)(context, a, lda, b, m, c, ldc, epilogue);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
