#include "engine/kernels/gemv_codes.h"

#include <array>
#include <cstring>

#include "engine/isa.h"
#include "engine/kernels/blocking.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/gemv_codes.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/epilogue_u8-inl.h"
#include "engine/kernels/finish_quantized-inl.h"
#include "engine/kernels/gemv_codes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// One tile: all rows, kPanels panels. Groups of scales are counted in blocks.
struct GemvTile {
  const PackedCodes* b;
  int64_t panel;          // the first
  const int8_t* x;        // signed activations, rows `x_stride` apart, zeros behind their end
  const float* xf;        // or floats
  int64_t x_stride;       // elements
  const int32_t* x_sums;  // [rows][groups]
  const float* xf_sums;   // likewise
  int32_t* sums;          // [rows][kSumStride]
  float* values;          // likewise
  const uint8_t* data() const { return b->data.data() + panel * b->panel_bytes(); }
  const int8_t* zeros(int64_t j, int64_t group) const {
    if (b->zero_points.empty()) return nullptr;
    return b->zero_points.data() + entry(j, group) * kPanelColumns + lane(j);
  }
  // Of register j.
  int64_t entry(int64_t j, int64_t group) const {
    return (panel + j / kPanelVectors) * b->groups() + group;
  }
  static int64_t lane(int64_t j) { return (j % kPanelVectors) * kLanes; }
};

// Integers out: sums of (code - zero point) * (a - a_zero_point), plus bias.
template <class Dot, int kBits, int kRows, int kPanels>
HWY_NOINLINE void gemv_integers(const GemvTile& t) {
  constexpr int kVectors = kPanels * kPanelVectors;
  const PackedCodes& b = *t.b;
  VI sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) sums[i][j] = hn::Zero(DI());
  }
  add_blocks<Dot, kBits>(sums, t.data(), b.panel_bytes(), t.x, t.x_stride,
                         b.panel_bytes() / Block<kBits>::kBytes);
  const int32_t offset = sum_offset<Dot, kBits>(b.format);
  const int64_t column = t.panel * kPanelColumns;
#pragma GCC unroll 16
  for (int j = 0; j < kVectors; ++j) {
    // x is a - 128.
    const VI columns = hn::LoadU(DI(), b.column_sums.data() + column + j * kLanes);
    const VI start =
        hn::Add(hn::LoadU(DI(), b.offsets.data() + column + j * kLanes), hn::ShiftLeft<7>(columns));
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const VI sum = centred_sum<kBits>(sums[i][j], offset, t.x_sums[i], t.zeros(j, 0));
      hn::StoreU(hn::Add(sum, start), DI(), t.sums + i * kSumStride + j * kLanes);
    }
  }
}

// Floats out: integer sums of groups times their scales.
template <class Dot, int kBits, int kRows, int kPanels>
HWY_NOINLINE void gemv_scaled(const GemvTile& t) {
  constexpr int kVectors = kPanels * kPanelVectors;
  const PackedCodes& b = *t.b;
  const int64_t all_blocks = b.panel_bytes() / Block<kBits>::kBytes;
  const int64_t group_blocks = b.group == 0 ? all_blocks : b.group / Block<kBits>::kElements;
  const int32_t offset = sum_offset<Dot, kBits>(b.format);
  const ScaleSource scales(b);
  VF values[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) values[i][j] = hn::Zero(DF());
  }
  for (int64_t group = 0; group < b.groups(); ++group) {
    const int64_t first = group * group_blocks;
    VI sums[kRows][kVectors];
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) sums[i][j] = hn::Zero(DI());
    }
    add_blocks<Dot, kBits>(sums, t.data() + first * Block<kBits>::kBytes, b.panel_bytes(),
                           t.x + first * Block<kBits>::kElements, t.x_stride,
                           std::min(group_blocks, all_blocks - first));
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      const VF scale = scales.load(t.entry(j, group), GemvTile::lane(j));
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const VI sum = centred_sum<kBits>(sums[i][j], offset, t.x_sums[i * b.groups() + group],
                                          t.zeros(j, group));
        values[i][j] = fused_mul_add(hn::ConvertTo(DF(), sum), scale, values[i][j]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      hn::StoreU(values[i][j], DF(), t.values + i * kSumStride + j * kLanes);
    }
  }
}

template <int kElement, int kBits, int kRows, int kVectors>
HWY_INLINE void add_float_words(VF (&sums)[kRows][kVectors], const Block<kBits> (&block)[kVectors],
                                const FloatCodes<kBits>& codes, const float* const (&x)[kRows]) {
  if constexpr (kElement < Block<kBits>::kElements) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      const VF weight = codes.template get<kElement / 4, kElement % 4>(block[j]);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        sums[i][j] = hn::MulAdd(hn::Set(DF(), x[i][kElement]), weight, sums[i][j]);
      }
    }
    add_float_words<kElement + 1>(sums, block, codes, x);
  }
}

// Activations and results in float.
template <int kBits, int kRows, int kPanels>
HWY_NOINLINE void gemv_floats(const GemvTile& t) {
  using B = Block<kBits>;
  constexpr int kVectors = kPanels * kPanelVectors;
  const PackedCodes& b = *t.b;
  const int64_t all_blocks = b.panel_bytes() / B::kBytes;
  const int64_t group_blocks = b.group == 0 ? all_blocks : b.group / B::kElements;
  const ScaleSource scales(b);
  const FloatCodes<kBits> codes(b.format);
  VF values[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) values[i][j] = hn::Zero(DF());
  }
  for (int64_t group = 0; group < b.groups(); ++group) {
    VF sums[kRows][kVectors];
    const float* x[kRows];
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      x[i] = t.xf + i * t.x_stride + group * group_blocks * B::kElements;
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) sums[i][j] = hn::Zero(DF());
    }
    const int64_t last = std::min((group + 1) * group_blocks, all_blocks);
    for (int64_t at = group * group_blocks; at < last; ++at) {
      B block[kVectors];
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) {
        const uint8_t* p = t.data() + (j / kPanelVectors) * b.panel_bytes() + at * B::kBytes;
        block[j].load(p, GemvTile::lane(j));
      }
      add_float_words<0>(sums, block, codes, x);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) x[i] += B::kElements;
    }
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      const VF scale = scales.load(t.entry(j, group), GemvTile::lane(j));
      const int8_t* zeros = t.zeros(j, group);
      VF zero = hn::Zero(DF());
      if (zeros != nullptr) {
        const VI codes32 = hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<int8_t, DI>(), zeros));
        zero = hn::ConvertTo(DF(), codes32);
      }
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const VF x_sum = hn::Set(DF(), t.xf_sums[i * b.groups() + group]);
        const VF sum = hn::NegMulAdd(zero, x_sum, sums[i][j]);
        values[i][j] = hn::MulAdd(sum, scale, values[i][j]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      hn::StoreU(values[i][j], DF(), t.values + i * kSumStride + j * kLanes);
    }
  }
}

// A kernel for each number of rows: with as many panels as fit, and with one for what is left.
struct GemvFunction {
  void (*wide)(const GemvTile&);
  void (*narrow)(const GemvTile&);
  int64_t panels;
};

template <class Dot, int kBits>
struct IntegerKernels {
  template <int kRows>
  static constexpr GemvFunction make() {
    constexpr int kPanels = gemv_panels(kBits, kRows);
    return {&gemv_integers<Dot, kBits, kRows, kPanels>, &gemv_integers<Dot, kBits, kRows, 1>,
            kPanels};
  }
};
template <class Dot, int kBits>
struct ScaledKernels {
  template <int kRows>
  static constexpr GemvFunction make() {
    constexpr int kPanels = gemv_panels(kBits, kRows);
    return {&gemv_scaled<Dot, kBits, kRows, kPanels>, &gemv_scaled<Dot, kBits, kRows, 1>, kPanels};
  }
};
template <class, int kBits>
struct FloatKernels {
  template <int kRows>
  static constexpr GemvFunction make() {
    constexpr int kPanels = gemv_float_panels(kRows);
    return {&gemv_floats<kBits, kRows, kPanels>, &gemv_floats<kBits, kRows, 1>, kPanels};
  }
};

template <class Kernels>
GemvFunction function_for(int64_t rows) {
  static constexpr std::array<GemvFunction, kMostGemvRows> kFunctions = {
      Kernels::template make<1>(), Kernels::template make<2>(), Kernels::template make<3>()};
  return kFunctions[static_cast<size_t>(rows - 1)];
}

template <template <class, int> class Kernels, class Dot>
GemvFunction function_of(CodeFormat format, int64_t rows) {
  GemvFunction function{};
  with_bits(format,
            [&](auto bits) { function = function_for<Kernels<Dot, decltype(bits)::value>>(rows); });
  return function;
}

// Calls run(first panel, count, function) for tiles of all panels, on all threads.
template <class Run>
void for_panel_tiles(const Context& context, int64_t panels, const GemvFunction& function,
                     const Run& run) {
  context.pool.parallel_for(ceil_div(panels, function.panels), [&](int64_t tile, int) {
    const int64_t first = tile * function.panels;
    const int64_t count = std::min(function.panels, panels - first);
    const int64_t step = count == function.panels ? count : 1;
    for (int64_t i = 0; i < count; i += step) {
      run(first + i, step, step == count ? function.wide : function.narrow);
    }
  });
}

// Activations minus 128, with zeros up to whole blocks, and the sums of groups.
struct SignedRows {
  SignedRows(std::span<std::byte> scratch, const uint8_t* a, int64_t lda, const PackedCodes& b,
             int64_t m)
      : stride(round_up(b.run, 32)) {
    ScratchCursor cursor(scratch);
    x = cursor.take<int8_t>(m * stride);
    sums = cursor.take<int32_t>(m * b.groups());
    const int64_t group = b.group == 0 ? b.run : b.group;
    for (int64_t i = 0; i < m; ++i) {
      int8_t* row = x + i * stride;
      for (int64_t k = 0; k < b.run; ++k) row[k] = static_cast<int8_t>(a[i * lda + k] ^ 0x80);
      std::memset(row + b.run, 0, static_cast<size_t>(stride - b.run));
      for (int64_t g = 0; g < b.groups(); ++g) {
        const int64_t last = std::min((g + 1) * group, b.run);
        int32_t sum = 0;
        for (int64_t k = g * group; k < last; ++k) sum += row[k];
        sums[i * b.groups() + g] = sum;
      }
    }
  }
  int64_t stride;
  int8_t* x;
  int32_t* sums;
};

struct FloatRows {
  FloatRows(std::span<std::byte> scratch, const float* a, int64_t lda, const PackedCodes& b,
            int64_t m)
      : stride(round_up(b.run, 32)) {
    ScratchCursor cursor(scratch);
    x = cursor.take<float>(m * stride);
    sums = cursor.take<float>(m * b.groups());
    const int64_t group = b.group == 0 ? b.run : b.group;
    for (int64_t i = 0; i < m; ++i) {
      float* row = x + i * stride;
      std::memcpy(row, a + i * lda, static_cast<size_t>(b.run) * sizeof(float));
      std::fill(row + b.run, row + stride, 0.0F);
      for (int64_t g = 0; g < b.groups() && !b.zero_points.empty(); ++g) {
        const int64_t last = std::min((g + 1) * group, b.run);
        double sum = 0.0;
        for (int64_t k = g * group; k < last; ++k) sum += row[k];
        sums[i * b.groups() + g] = static_cast<float>(sum);
      }
      if (b.zero_points.empty()) std::fill(sums, sums + m * b.groups(), 0.0F);
    }
  }
  int64_t stride;
  float* x;
  float* sums;
};

template <class Dot>
void gemv_u8_codes_with(const Context& context, const uint8_t* a, int64_t lda, const PackedCodes& b,
                        int64_t m, const IntegerEpilogue& epilogue) {
  const SignedRows rows(context.scratch, a, lda, b, m);
  for_panel_tiles(context, b.panels(), function_of<IntegerKernels, Dot>(b.format, m),
                  [&](int64_t panel, int64_t count, void (*function)(const GemvTile&)) {
                    alignas(64) int32_t sums[kMostGemvRows * kSumStride];
                    GemvTile t{};
                    t.b = &b;
                    t.panel = panel;
                    t.x = rows.x;
                    t.x_stride = rows.stride;
                    t.x_sums = rows.sums;
                    t.sums = sums;
                    function(t);
                    const int64_t column = panel * kPanelColumns;
                    const int64_t columns = std::min(count * kPanelColumns, b.n - column);
                    finish_sums({sums, m, columns, 0, column, nullptr, b.n}, epilogue);
                  });
}

template <class Dot>
void gemv_quantized_codes_with(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                               int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  const SignedRows rows(context.scratch, a.codes, a.stride, b, m);
  for_panel_tiles(context, b.panels(), function_of<ScaledKernels, Dot>(b.format, m),
                  [&](int64_t panel, int64_t count, void (*function)(const GemvTile&)) {
                    alignas(64) float values[kMostGemvRows * kSumStride];
                    GemvTile t{};
                    t.b = &b;
                    t.panel = panel;
                    t.x = rows.x;
                    t.x_stride = rows.stride;
                    t.x_sums = rows.sums;
                    t.values = values;
                    function(t);
                    const int64_t column = panel * kPanelColumns;
                    const int64_t columns = std::min(count * kPanelColumns, b.n - column);
                    finish_quantized({values, m, columns, 0, column}, a, b, {c, ldc, &epilogue});
                  });
}

void gemv_u8_codes(const Context& context, const uint8_t* a, int64_t lda, const PackedCodes& b,
                   int64_t m, const IntegerEpilogue& epilogue) {
#if HWY_TARGET == HWY_NEON
  if (current_isa() == Isa::kNeon) {
    return gemv_u8_codes_with<DotPlain>(context, a, lda, b, m, epilogue);
  }
#endif
  gemv_u8_codes_with<Dot>(context, a, lda, b, m, epilogue);
}

void gemv_quantized_codes(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                          int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
#if HWY_TARGET == HWY_NEON
  if (current_isa() == Isa::kNeon) {
    return gemv_quantized_codes_with<DotPlain>(context, a, b, m, c, ldc, epilogue);
  }
#endif
  gemv_quantized_codes_with<Dot>(context, a, b, m, c, ldc, epilogue);
}

void gemv_f32_codes(const Context& context, const float* a, int64_t lda, const PackedCodes& b,
                    int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  const FloatRows rows(context.scratch, a, lda, b, m);
  for_panel_tiles(context, b.panels(), function_of<FloatKernels, Dot>(b.format, m),
                  [&](int64_t panel, int64_t count, void (*function)(const GemvTile&)) {
                    alignas(64) float values[kMostGemvRows * kSumStride];
                    GemvTile t{};
                    t.b = &b;
                    t.panel = panel;
                    t.xf = rows.x;
                    t.x_stride = rows.stride;
                    t.xf_sums = rows.sums;
                    t.values = values;
                    function(t);
                    const int64_t column = panel * kPanelColumns;
                    const int64_t columns = std::min(count * kPanelColumns, b.n - column);
                    finish_floats({values, m, columns, 0, column}, {c, ldc, &epilogue});
                  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(gemv_u8_codes);
OUNCE_EXPORT(gemv_quantized_codes);
OUNCE_EXPORT(gemv_f32_codes);

void gemv_u8_codes(const Context& context, const uint8_t* a, int64_t lda, const PackedCodes& b,
                   int64_t m, const IntegerEpilogue& epilogue) {
  OUNCE_DISPATCH(gemv_u8_codes)(context, a, lda, b, m, epilogue);
}
void gemv_quantized_codes(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                          int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  OUNCE_DISPATCH(gemv_quantized_codes)(context, a, b, m, c, ldc, epilogue);
}
void gemv_f32_codes(const Context& context, const float* a, int64_t lda, const PackedCodes& b,
                    int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  OUNCE_DISPATCH(gemv_f32_codes)(context, a, lda, b, m, c, ldc, epilogue);
}

size_t gemv_codes_scratch_bytes(const PackedCodes& b, int64_t m) {
  return ScratchCursor::need<float>(m * round_up(b.run, 32)) +
         ScratchCursor::need<float>(m * b.groups());
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
