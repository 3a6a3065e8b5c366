#include "engine/kernels/blocking/pack.h"

#include <cstring>

#include "engine/isa.h"
#include "engine/kernels/dispatch.h"
#include "engine/kernels/f32/gemm_f32.h"
#include "engine/kernels/int8/gemm_u8s8.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/blocking/pack.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/blocking/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

void pack_panels_f32(const MatrixView<float>& matrix, float alpha, int64_t first, int64_t last,
                     float* panels) {
  for (int64_t p = first; p < last; ++p) {
    const int64_t column = p * kPanelColumns;
    const int64_t columns = std::min(kPanelColumns, matrix.n - column);
    float* panel = panels + column * matrix.k;
    if (matrix.layout == WeightLayout::kNxK) {
      const auto* source = reinterpret_cast<const std::byte*>(matrix.data + column * matrix.stride);
      pack_columns(source, matrix.stride * static_cast<int64_t>(sizeof(float)), columns, matrix.k,
                   reinterpret_cast<uint32_t*>(panel));
    } else {
      const size_t bytes = static_cast<size_t>(columns) * sizeof(float);
      for (int64_t k = 0; k < matrix.k; ++k) {
        float* row = panel + k * kPanelColumns;
        if (columns < kPanelColumns) std::memset(row, 0, kPanelColumns * sizeof(float));
        std::memcpy(row, matrix.data + k * matrix.stride + column, bytes);
      }
    }
    if (alpha != 1.0F) {
      for (int64_t i = 0; i < matrix.k * kPanelColumns; i += kLanes) {
        hn::StoreU(hn::Mul(hn::LoadU(DF(), panel + i), hn::Set(DF(), alpha)), DF(), panel + i);
      }
    }
  }
}

void pack_panels_s8(const MatrixView<int8_t>& matrix, bool flip, int64_t first, int64_t last,
                    int8_t* panels, int64_t panel_stride) {
  const int64_t whole = matrix.k / 4;
  const int64_t rest = matrix.k % 4;
  const int64_t words = ceil_div(matrix.k, 4);
  for (int64_t p = first; p < last; ++p) {
    const int64_t column = p * kPanelColumns;
    const int64_t columns = std::min(kPanelColumns, matrix.n - column);
    int8_t* panel = panels + p * panel_stride;
    int8_t* tail = panel + whole * 4 * kPanelColumns;
    if (matrix.layout == WeightLayout::kKxN) {
      pack_byte_rows(matrix.data + column, matrix.stride, columns, matrix.k, panel);
    } else {
      const int8_t* source = matrix.data + column * matrix.stride;
      pack_columns(reinterpret_cast<const std::byte*>(source), matrix.stride, columns, whole,
                   reinterpret_cast<uint32_t*>(panel));
      for (int64_t c = 0; c < (rest > 0 ? columns : 0); ++c) {
        std::memcpy(tail + c * 4, source + c * matrix.stride + whole * 4,
                    static_cast<size_t>(rest));
      }
    }
    if (flip) flip_signs(panel, words * 4 * kPanelColumns);
    for (int64_t c = 0; c < (rest > 0 ? kPanelColumns : 0); ++c) {
      std::memset(tail + c * 4 + rest, 0, static_cast<size_t>(4 - rest));
    }
  }
}

template <class Dot>
void column_sums(const int8_t* panels, int64_t panel_stride, int64_t first, int64_t last,
                 int32_t* sums) {
  for (int64_t p = first; p < last; ++p) {
    panel_column_sums<Dot>(panels + p * panel_stride, panel_stride / (4 * kPanelColumns),
                           sums + p * kPanelColumns);
  }
}

void column_sums_s8(const int8_t* panels, int64_t panel_stride, int64_t first, int64_t last,
                    int32_t* sums) {
#if HWY_TARGET == HWY_NEON
  if (current_isa() == Isa::kNeon) {
    return column_sums<DotPlain>(panels, panel_stride, first, last, sums);
  }
#endif
  column_sums<Dot>(panels, panel_stride, first, last, sums);
}

void row_sums_u8(const uint8_t* a, int64_t lda, int64_t rows, int64_t k, int32_t* sums) {
  const hn::ScalableTag<uint8_t> d;
  constexpr int64_t kBytes = static_cast<int64_t>(HWY_LANES(uint8_t));
  for (int64_t i = 0; i < rows; ++i) {
    const uint8_t* row = a + i * lda;
    int64_t j = 0;
    uint64_t sum = 0;
#if HWY_TARGET != HWY_SCALAR
    const hn::Repartition<uint64_t, decltype(d)> d64;
    auto wide = hn::Zero(d64);
    for (; j + kBytes <= k; j += kBytes) {
      wide = hn::Add(wide, hn::SumsOf8(hn::LoadU(d, row + j)));
    }
    sum = hn::GetLane(hn::SumOfLanes(d64, wide));
#else
    (void)d;
    (void)kBytes;
#endif
    for (; j < k; ++j) sum += row[j];
    sums[i] = static_cast<int32_t>(sum);
  }
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(pack_panels_f32);
OUNCE_EXPORT(pack_panels_s8);
OUNCE_EXPORT(column_sums_s8);
OUNCE_EXPORT(row_sums_u8);

void pack_panels_f32(const MatrixView<float>& matrix, float alpha, int64_t first, int64_t last,
                     float* panels) {
  OUNCE_DISPATCH(pack_panels_f32)(matrix, alpha, first, last, panels);
}
void pack_panels_s8(const MatrixView<int8_t>& matrix, bool flip, int64_t first, int64_t last,
                    int8_t* panels, int64_t panel_stride) {
  OUNCE_DISPATCH(pack_panels_s8)(matrix, flip, first, last, panels, panel_stride);
}
void column_sums_s8(const int8_t* panels, int64_t panel_stride, int64_t first, int64_t last,
                    int32_t* sums) {
  OUNCE_DISPATCH(column_sums_s8)(panels, panel_stride, first, last, sums);
}
void row_sums_u8(const uint8_t* a, int64_t lda, int64_t rows, int64_t k, int32_t* sums) {
  OUNCE_DISPATCH(row_sums_u8)(a, lda, rows, k, sums);
}

PackedF32 pack_f32(const float* weights, int64_t k, int64_t n, WeightLayout layout) {
  PackedF32 packed;
  packed.k = k;
  packed.n = n;
  const int64_t panels = ceil_div(n, kPanelColumns);
  packed.data.resize(static_cast<size_t>(panels * kPanelColumns * k));
  const int64_t stride = layout == WeightLayout::kKxN ? n : k;
  pack_panels_f32({weights, stride, k, n, layout}, 1.0F, 0, panels, packed.data.data());
  return packed;
}

PackedS8 pack_s8_taps(const int8_t* weights, int64_t taps, int64_t run, int64_t n,
                      WeightLayout layout, int32_t a_zero_point, const int32_t* bias) {
  const int64_t panels = ceil_div(n, kPanelColumns);
  const int64_t run_bytes = round_up(run, 4) * kPanelColumns;
  PackedS8 packed;
  packed.k = taps * round_up(run, 4);
  packed.n = n;
  packed.data.resize(static_cast<size_t>(panels * taps * run_bytes));
  const int64_t stride = layout == WeightLayout::kKxN ? n : taps * run;
  for (int64_t tap = 0; tap < taps; ++tap) {
    const int8_t* source = weights + tap * run * (layout == WeightLayout::kKxN ? n : 1);
    pack_panels_s8({source, stride, run, n, layout}, false, 0, panels,
                   packed.data.data() + tap * run_bytes, taps * run_bytes);
  }
  packed.column_sums.resize(static_cast<size_t>(panels * kPanelColumns));
  packed.offsets.resize(packed.column_sums.size());
  column_sums_s8(packed.data.data(), taps * run_bytes, 0, panels, packed.column_sums.data());
  for (size_t column = 0; column < packed.offsets.size(); ++column) {
    const int32_t start = bias != nullptr && static_cast<int64_t>(column) < n ? bias[column] : 0;
    packed.offsets[column] = start - a_zero_point * packed.column_sums[column];
  }
  return packed;
}

PackedS8 pack_s8(const int8_t* weights, int64_t k, int64_t n, WeightLayout layout,
                 int32_t a_zero_point, const int32_t* bias) {
  PackedS8 packed = pack_s8_taps(weights, 1, k, n, layout, a_zero_point, bias);
  packed.k = k;
  return packed;
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
