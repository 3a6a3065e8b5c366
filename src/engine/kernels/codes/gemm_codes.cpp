#include <algorithm>
#include <limits>

#include "engine/isa.h"
#include "engine/kernels/codes/gemv_codes.h"
#include "engine/kernels/codes/implicit_codes.h"
#include "engine/kernels/codes/packed_codes.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/codes/gemm_codes.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/blocking/pack-inl.h"
#include "engine/kernels/codes/finish_quantized-inl.h"
#include "engine/kernels/codes/unpack_codes-inl.h"
#include "engine/kernels/int8/tile_u8s8-inl.h"

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

// Integer sums of a group and float sums of all of them are both in registers: 7 x 2 x 2 + 2 + 1 =
// 31 of 32 with vpdpbusd; see tile_u8s8-inl.h for what the others need besides.
#if HWY_TARGET == HWY_AVX3_DL
inline constexpr TileLimits kTileGroups = {7, 2};
#elif HWY_CAP_GE512
inline constexpr TileLimits kTileGroups = {5, 2};
#elif HWY_TARGET == HWY_NEON
inline constexpr TileLimits kTileGroups = {3, 1};
#else
inline constexpr TileLimits kTileGroups = {2, 1};
#endif

struct GroupTile {
  const uint8_t* const* rows;
  int64_t run, length;  // of A's rows and of a group
  const int8_t* b;      // first panel
  int64_t panel_stride;
  const int32_t* starts;       // [groups], of the first panel
  const int32_t* column_sums;  // likewise
  int64_t sum_stride;          // between groups
  ScaleSource scales;
  int64_t entry, groups;  // of the first panel in [panels][groups]
  float* values;          // [kRows][kSumStride]
};

template <class Dot, int kRows, int kPanels>
HWY_NOINLINE void tile_groups(const GroupTile& t) {
  constexpr int kVectors = kPanels * kPanelVectors;
  VF values[kRows][kVectors];
  const uint8_t* rows[kRows];
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
    rows[i] = t.rows[i];
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) values[i][j] = hn::Zero(DF());
  }
  const int8_t* b = t.b;
  for (int64_t group = 0; group < t.groups; ++group) {
    VI sums[kRows][kVectors];
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      const int64_t at = group * t.sum_stride + j * kLanes;
      VI start = hn::LoadU(DI(), t.starts + at);
      if (Dot::kInputShift != 0) {
        const VI column_sums = hn::LoadU(DI(), t.column_sums + at);
        start = hn::Add(start, hn::Mul(column_sums, hn::Set(DI(), Dot::kInputShift)));
      }
#pragma GCC unroll kUnroll
      for (int i = 0; i < kRows; ++i) sums[i][j] = start;
    }
    const int64_t run = std::min(t.length, t.run - group * t.length);
    b = multiply_bytes<Dot>(sums, rows, run, b, t.panel_stride);
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      const int64_t entry = t.entry + (j / kPanelVectors) * t.groups + group;
      const VF scale = t.scales.load(entry, (j % kPanelVectors) * kLanes);
#pragma GCC unroll kUnroll
      for (int i = 0; i < kRows; ++i) {
        values[i][j] = fused_mul_add(hn::ConvertTo(DF(), sums[i][j]), scale, values[i][j]);
      }
    }
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) rows[i] += run;
  }
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      hn::StoreU(values[i][j], DF(), t.values + i * kSumStride + j * kLanes);
    }
  }
}

template <class Dot>
struct GroupKernel {
  static constexpr TileLimits kLimits = kTileGroups;
  static constexpr int kFewRows = 0;
  using Function = void (*)(const GroupTile&);
  template <int kRows, int kPanels>
  static constexpr Function function = &tile_groups<Dot, kRows, kPanels>;
};

template <class Dot>
void multiply_groups(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                     int64_t m, const FloatOutput& out) {
  constexpr TileLimits kLimits = GroupKernel<Dot>::kLimits;
  const MatrixRows<uint8_t> source(a.codes, a.stride, m, b.run);
  const int64_t length = b.group == 0 ? b.run : b.group;
  const int64_t groups = b.groups();
  const int64_t panel_stride = unpacked_panel_bytes(b);
  for_all_made_tiles(
      context, source, b.n, kLimits, kLimits.panels * group_panel_bytes(b),
      [&](int64_t panel, int64_t panels, std::byte* own) HWY_ATTR {
        make_group_panels<Dot>(b, panel, panels, GroupPanels(b, kLimits.panels, own));
      },
      [&](const uint8_t* const* rows, const TileRange& tile, std::byte* own) HWY_ATTR {
        alignas(64) float values[kLimits.rows * kSumStride];
        const GroupPanels made(b, kLimits.panels, own);
        const int64_t panel = tile.column / kPanelColumns;
        const int64_t own_panel = panel % kLimits.panels;
        const int64_t sum = own_panel * kPanelColumns;
        const GroupTile t = {rows,
                             b.run,
                             length,
                             made.data + own_panel * panel_stride,
                             panel_stride,
                             made.starts + sum,
                             made.column_sums + sum,
                             made.stride,
                             ScaleSource(b),
                             panel * groups,
                             groups,
                             values};
        tile_function<GroupKernel<Dot>>(tile.rows, tile.panels)(t);
        const int64_t columns = std::min(tile.panels * kPanelColumns, b.n - tile.column);
        finish_quantized({values, tile.rows, columns, tile.row, tile.column}, a, b, out);
      });
}

void multiply_quantized_codes(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                              int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  const FloatOutput out = {c, ldc, &epilogue};
#if HWY_TARGET == HWY_NEON
  if (current_isa() == Isa::kNeon) return multiply_groups<DotPlain>(context, a, b, m, out);
#endif
  multiply_groups<Dot>(context, a, b, m, out);
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

constexpr int64_t kAnyRows = std::numeric_limits<int64_t>::max();
// A reduction that hides what a tile of three rows costs besides; and one whose rows, read side by
// side by the 8-bit product, push each other out of the first-level cache.
constexpr int64_t kLongRun = 384;
constexpr int64_t kVeryLongRun = 4096;

// Few rows decode codes in registers, three at a time; more are worth unpacked panels. The most
// rows that are few.
int64_t few_rows(const PackedCodes& b) {
  // Differences of 8-bit codes and zero points are no bytes: they fit in no panel.
  if (b.format == CodeFormat::kInt8 && !b.zero_points.empty()) return kAnyRows;
  if (b.run < kLongRun) return kGemvRows;
  return b.run < kVeryLongRun ? 24 : kAnyRows;
}
int64_t few_float_rows(const PackedCodes& b) {
  return b.run < kLongRun ? kGemvRows : 2 * kGemvRows;
}

// Products of 8 bits must be widened where there is no instruction that adds four of them; those of
// fewer bits need not, which is faster than 8-bit panels for any number of rows.
bool gain_without_widening(const PackedCodes& b) {
  return b.format != CodeFormat::kInt8 && b.run >= kLongRun;
}
bool widens_bytes() {
  return current_isa() == Isa::kAvx2 || current_isa() == Isa::kAvx512;
}

bool in_registers(const PackedCodes& b, int64_t m) {
  return b.taps == 1 && (m <= few_rows(b) || (gain_without_widening(b) && widens_bytes()));
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
  // Panels of 8 bits need no decoding.
  const bool decoded = b.format == CodeFormat::kInt8 && b.zero_points.empty();
  if (!decoded && in_registers(b, m)) return gemv_u8_codes(context, a, lda, b, m, epilogue);
  implicit_gemm_u8_codes(context, MatrixRows<uint8_t>(a, lda, m, b.taps * b.run), b, epilogue);
}

void gemm_quantized_codes(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                          int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  if (in_registers(b, m)) {
    return gemv_quantized_codes(context, a, b, m, c, ldc, epilogue);
  }
  OUNCE_DISPATCH(multiply_quantized_codes)(context, a, b, m, c, ldc, epilogue);
}

void gemm_f32_codes(const Context& context, const float* a, int64_t lda, const PackedCodes& b,
                    int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  if (b.taps == 1 && m <= few_float_rows(b)) {
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
  // For every instruction set.
  const int64_t rows = std::min(m, gain_without_widening(b) ? kAnyRows : few_rows(b));
  const int64_t float_rows = std::min(m, few_float_rows(b));
  const auto floats = static_cast<int64_t>(sizeof(float)) * b.taps * b.run * kPanelColumns;
  return std::max(
      {gemv_codes_scratch_bytes<int8_t>(b, rows), gemv_codes_scratch_bytes<float>(b, float_rows),
       made_gemm_scratch_bytes(b.taps, std::max(floats, group_panel_bytes(b)), threads)});
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
