#include <algorithm>

#include "engine/isa.h"
#include "engine/kernels/dispatch.h"
#include "engine/kernels/gemv_codes.h"
#include "engine/kernels/implicit_codes.h"
#include "engine/kernels/packed_codes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/gemm_codes.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/finish_quantized-inl.h"
#include "engine/kernels/pack-inl.h"
#include "engine/kernels/tile_u8s8-inl.h"
#include "engine/kernels/unpack_codes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

void unpack_panels_s8(const PackedCodes& b, int64_t first, int64_t count, int8_t* panels) {
  const int64_t stride = unpacked_panel_bytes(b);
  with_bits(b.format, [&](auto bits) {
    for (int64_t p = 0; p < count; ++p) {
      unpack_panel_s8<decltype(bits)::value>(b, first + p, panels + p * stride);
    }
  });
}

void unpack_panels_f32(const PackedCodes& b, int64_t first, int64_t count, float* panels) {
  const int64_t stride = b.taps * b.run * kPanelColumns;
  with_bits(b.format, [&](auto bits) {
    for (int64_t p = 0; p < count; ++p) {
      unpack_panel_f32<decltype(bits)::value>(b, first + p, panels + p * stride);
    }
  });
}

// Scratch of a task of gemm_quantized_codes: unpacked panels and, for each group, the sums of their
// columns and where the sums of a tile start, -128 times that.
struct GroupPanels {
  GroupPanels(const PackedCodes& b, int64_t panels, std::byte* scratch)
      : stride(panels * kPanelColumns),
        column_sums(reinterpret_cast<int32_t*>(scratch)),
        starts(column_sums + b.groups() * stride),
        data(reinterpret_cast<int8_t*>(starts + b.groups() * stride)) {}
  int64_t stride;  // of the sums of a group
  int32_t* column_sums;
  int32_t* starts;
  int8_t* data;
};

template <class Dot>
void make_group_panels(const PackedCodes& b, int64_t first, int64_t count, const GroupPanels& out) {
  unpack_panels_s8(b, first, count, out.data);
  const int64_t words = ceil_div(b.run, 4);
  const int64_t group_words = b.group == 0 ? words : b.group / 4;
  for (int64_t group = 0; group < b.groups(); ++group) {
    const int64_t from = group * group_words;
    for (int64_t p = 0; p < count; ++p) {
      const int64_t at = group * out.stride + p * kPanelColumns;
      panel_column_sums<Dot>(out.data + p * unpacked_panel_bytes(b) + from * 4 * kPanelColumns,
                             std::min(group_words, words - from), out.column_sums + at);
      for (int64_t c = 0; c < kPanelColumns; ++c) {
        out.starts[at + c] = -128 * out.column_sums[at + c];
      }
    }
  }
}

// values += sums * scale, over the panels of a tile.
HWY_INLINE void add_scaled(const int32_t* sums, const ScaleSource& scales, int64_t entry,
                           int64_t groups, int64_t rows, int64_t panels, float* values) {
  for (int64_t j = 0; j < panels * kPanelColumns; j += kLanes) {
    const VF scale = scales.load(entry + j / kPanelColumns * groups, j % kPanelColumns);
    for (int64_t i = 0; i < rows; ++i) {
      const VF sum = hn::ConvertTo(DF(), hn::LoadU(DI(), sums + i * kSumStride + j));
      float* value = values + i * kSumStride + j;
      hn::StoreU(fused_mul_add(sum, scale, hn::LoadU(DF(), value)), DF(), value);
    }
  }
}

// A tile over all groups: integer tiles of one group after the other, scaled and added.
template <class Dot>
void run_group_tile(const PackedCodes& b, const GroupPanels& made, int64_t first_panel,
                    const uint8_t* const* pointers, const TileRange& tile, float* values) {
  const auto [row, rows, column, panels] = tile;
  const int64_t length = b.group == 0 ? b.run : b.group;
  const int64_t panel_stride = unpacked_panel_bytes(b);
  const int64_t panel = column / kPanelColumns;
  const ScaleSource scales(b);
  const auto function = tile_function<TileKernelU8S8<Dot>>(rows, panels);
  const uint8_t* at[kMostTileRows];
  std::copy(pointers, pointers + rows, at);
  std::fill(values, values + rows * kSumStride, 0.0F);
  alignas(64) int32_t sums[kTileU8S8.rows * kSumStride];
  for (int64_t group = 0; group < b.groups(); ++group) {
    const int64_t run = std::min(length, b.run - group * length);
    const int64_t sum = group * made.stride + (panel - first_panel) * kPanelColumns;
    TileU8S8 t{};
    t.rows = at;
    t.taps = 1;
    t.run = run;
    t.b = made.data + (panel - first_panel) * panel_stride + group * length * kPanelColumns;
    t.panel_stride = panel_stride;
    t.offsets = made.starts + sum;
    t.column_sums = made.column_sums + sum;
    t.c = sums;
    t.ldc = kSumStride;
    function(t);
    add_scaled(sums, scales, panel * b.groups() + group, b.groups(), rows, panels, values);
    for (int64_t i = 0; i < rows; ++i) at[i] += run;
  }
}

template <class Dot>
void multiply_groups(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                     int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  const TileLimits limits = limits_for_rows<TileKernelU8S8<Dot>>(m);
  const MatrixRows<uint8_t> source(a.codes, a.stride, m, b.run);
  for_all_made_tiles(
      context, source, b.n, limits, limits.panels * group_panel_bytes(b),
      [&](int64_t panel, int64_t panels, std::byte* own) {
        make_group_panels<Dot>(b, panel, panels, GroupPanels(b, limits.panels, own));
      },
      [&](const uint8_t* const* rows, const TileRange& tile, std::byte* own) {
        alignas(64) float values[kTileU8S8.rows * kSumStride];
        const int64_t first = tile.column / kPanelColumns / limits.panels * limits.panels;
        run_group_tile<Dot>(b, GroupPanels(b, limits.panels, own), first, rows, tile, values);
        const int64_t columns = std::min(tile.panels * kPanelColumns, b.n - tile.column);
        finish_quantized({values, tile.rows, columns, tile.row, tile.column}, a, b,
                         {c, ldc, &epilogue});
      });
}

void multiply_quantized_codes(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                              int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
#if HWY_TARGET == HWY_NEON
  if (current_isa() == Isa::kNeon) {
    return multiply_groups<DotPlain>(context, a, b, m, c, ldc, epilogue);
  }
#endif
  multiply_groups<Dot>(context, a, b, m, c, ldc, epilogue);
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
namespace {

OUNCE_EXPORT(unpack_panels_s8);
OUNCE_EXPORT(unpack_panels_f32);
OUNCE_EXPORT(multiply_quantized_codes);

class CodePanelsS8 final : public PanelMaker<int8_t> {
 public:
  explicit CodePanelsS8(const PackedCodes& b) : b_(b) { panel_elements = unpacked_panel_bytes(b); }
  void make(int64_t first, int64_t count, int8_t* panels) const override {
    OUNCE_DISPATCH(unpack_panels_s8)(b_, first, count, panels);
  }

 private:
  const PackedCodes& b_;
};

class CodePanelsF32 final : public PanelMaker<float> {
 public:
  explicit CodePanelsF32(const PackedCodes& b) : b_(b) {
    panel_elements = b.taps * b.run * kPanelColumns;
  }
  void make(int64_t first, int64_t count, float* panels) const override {
    OUNCE_DISPATCH(unpack_panels_f32)(b_, first, count, panels);
  }

 private:
  const PackedCodes& b_;
};

// Differences of 8-bit codes and zero points are no bytes: only sums decoded in registers can do
// them.
bool needs_gemv(const PackedCodes& b, int64_t m) {
  const bool wide = b.format == CodeFormat::kInt8 && !b.zero_points.empty();
  return b.taps == 1 && (m <= kMostGemvRows || wide);
}

// Calls part(first row, rows) for all rows, as many at a time as the kernels for few rows take.
template <class Part>
void for_few_rows(int64_t m, const Part& part) {
  for (int64_t row = 0; row < m; row += kMostGemvRows) {
    part(row, std::min(kMostGemvRows, m - row));
  }
}

Epilogue epilogue_of_rows(Epilogue e, int64_t first) {
  if (e.residual != nullptr) e.residual += first * e.residual_stride;
  return e;
}

}  // namespace

IntegerEpilogue epilogue_of_rows(const IntegerEpilogue& epilogue, int64_t first) {
  IntegerEpilogue e = epilogue;
  constexpr int64_t kBytes[] = {sizeof(int32_t), sizeof(float), sizeof(uint8_t), sizeof(uint64_t)};
  e.c = static_cast<std::byte*>(e.c) + first * e.ldc * kBytes[static_cast<int>(e.output)];
  if (e.f32.residual != nullptr) e.f32.residual += first * e.f32.residual_stride;
  if (e.residual != nullptr) e.residual += first * e.residual_stride;
  if (e.sign_bits != nullptr) {
    e.sign_bits = static_cast<uint64_t*>(e.sign_bits) + first * e.sign_stride;
  }
  return e;
}

void implicit_gemm_u8_codes(const Context& context, const RowSource<uint8_t>& rows,
                            const PackedCodes& b, const IntegerEpilogue& epilogue) {
  const CodePanelsS8 maker(b);
  PanelsS8 panels = {nullptr, b.n, b.column_sums.data(), b.offsets.data()};
  if (b.format == CodeFormat::kInt8) {
    panels.data = reinterpret_cast<const int8_t*>(b.data.data());
  } else {
    panels.maker = &maker;
  }
  implicit_gemm_u8s8(context, rows, panels, epilogue);
}

void gemm_u8_codes(const Context& context, const uint8_t* a, int64_t lda, const PackedCodes& b,
                   int64_t m, const IntegerEpilogue& epilogue) {
  if (!needs_gemv(b, m)) {
    return implicit_gemm_u8_codes(context, MatrixRows<uint8_t>(a, lda, m, b.taps * b.run), b,
                                  epilogue);
  }
  for_few_rows(m, [&](int64_t row, int64_t rows) {
    gemv_u8_codes(context, a + row * lda, lda, b, rows, epilogue_of_rows(epilogue, row));
  });
}

void gemm_quantized_codes(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                          int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  if (!needs_gemv(b, m)) {
    return OUNCE_DISPATCH(multiply_quantized_codes)(context, a, b, m, c, ldc, epilogue);
  }
  for_few_rows(m, [&](int64_t row, int64_t rows) {
    QuantizedRows part = a;
    part.codes += row * a.stride;
    if (!a.shared) part.scales += row;
    if (!a.shared && a.zero_points != nullptr) part.zero_points += row;
    gemv_quantized_codes(context, part, b, rows, c + row * ldc, ldc,
                         epilogue_of_rows(epilogue, row));
  });
}

void gemm_f32_codes(const Context& context, const float* a, int64_t lda, const PackedCodes& b,
                    int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  if (b.taps == 1 && m <= kMostGemvRows) {
    return gemv_f32_codes(context, a, lda, b, m, c, ldc, epilogue);
  }
  const CodePanelsF32 maker(b);
  implicit_gemm_f32(context, MatrixRows<float>(a, lda, m, b.taps * b.run), {nullptr, b.n, &maker},
                    c, ldc, epilogue);
}

int64_t unpacked_panel_bytes(const PackedCodes& b) {
  return b.taps * round_up(b.run, 4) * kPanelColumns;
}

int64_t group_panel_bytes(const PackedCodes& b) {
  const auto sums = static_cast<int64_t>(2 * sizeof(int32_t));
  return unpacked_panel_bytes(b) + b.groups() * kPanelColumns * sums;
}

size_t implicit_gemm_u8_codes_scratch_bytes(const PackedCodes& b, int threads) {
  const int64_t panel = b.format == CodeFormat::kInt8 ? 0 : unpacked_panel_bytes(b);
  return made_gemm_scratch_bytes(b.taps, panel, threads);
}

size_t gemm_codes_scratch_bytes(const PackedCodes& b, int64_t m, int threads) {
  const size_t few = gemv_codes_scratch_bytes(b);
  if (b.taps == 1 && m <= kMostGemvRows) return few;
  const auto floats = static_cast<int64_t>(sizeof(float)) * b.taps * b.run * kPanelColumns;
  return std::max(few,
                  made_gemm_scratch_bytes(b.taps, std::max(floats, group_panel_bytes(b)), threads));
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
