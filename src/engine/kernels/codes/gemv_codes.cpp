#include "engine/kernels/codes/gemv_codes.h"

#include <cstring>

#include "engine/isa.h"
#include "engine/kernels/blocking/blocking.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/codes/gemv_codes.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/blocking/pack-inl.h"
#include "engine/kernels/codes/finish_quantized-inl.h"
#include "engine/kernels/codes/gemv_codes-inl.h"
#include "engine/kernels/int8/epilogue_u8-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Blocks of a panel whose sums are kept apart, so that a sum is not awaited by the next: where one
// row meets one panel, places of codes alone are too few.
template <int kBits, int kRows, int kVectors>
constexpr int gemv_chains() {
#if HWY_TARGET == HWY_AVX3_DL
  return kRows * kVectors > 1 ? 1 : std::max(1, 8 / Block<kBits>::kClasses);
#else
  return 1;
#endif
}

// sums += stored codes times activations, over `blocks` blocks from block `first` on.
template <class Dot, int kBits, int kChains, int kRows, int kVectors>
HWY_INLINE void add_blocks(VI (&sums)[kRows][kVectors], const GemvTile& t, int64_t first,
                           int64_t blocks) {
  using B = Block<kBits>;
  using Sums = PartialSums<Dot, kBits, kRows, kVectors>;
  const int8_t* rows[kRows];
  for (int i = 0; i < kRows; ++i) rows[i] = t.x + i * t.x_stride + first * B::kElements;
  int64_t offset = first * B::kBytes;
  while (blocks > 0) {
    Sums part[kChains];
    // Adds `count` blocks, the first at `offset`; returns where they end.
    const auto add = [&](auto count) OUNCE_INLINE_LAMBDA {
      unroll<decltype(count)::value>([&](auto chain) OUNCE_INLINE_LAMBDA {
        const int8_t* x[kRows];
        unroll<kRows>([&](auto i) OUNCE_INLINE_LAMBDA { x[i] = rows[i] + chain * B::kElements; });
        B block[kVectors];
        load_blocks(block, t, offset + chain * B::kBytes);
        add_words<0>(part[chain], block, x);
      });
#pragma GCC unroll kUnroll
      for (int i = 0; i < kRows; ++i) rows[i] += count * B::kElements;
      return offset + count * B::kBytes;
    };
    const int64_t count = std::min(blocks, Sums::kMostBlocks);
    const int64_t end = offset + count * B::kBytes;
    while (offset + kChains * B::kBytes <= end) {
      offset = add(std::integral_constant<int, kChains>());
    }
    while (offset < end) offset = add(std::integral_constant<int, 1>());
    unroll<kRows * kVectors>([&](auto at) OUNCE_INLINE_LAMBDA {
      VI& all = sums[at / kVectors][at % kVectors];
      unroll<kChains>([&](auto chain) OUNCE_INLINE_LAMBDA {
        const VI sum = part[chain].total(at / kVectors, at % kVectors);
        // The factor of signs is -2.
        all = kBits == 1 ? hn::Sub(all, hn::Add(sum, sum)) : hn::Add(all, sum);
      });
    });
    blocks -= count;
  }
}

// sums of (code - zero point) * x, where the sums of (code - offset) * x are there already.
template <int kRows, int kVectors>
HWY_INLINE void add_offsets(VI (&sums)[kRows][kVectors], const GemvTile& t, int32_t offset,
                            int64_t group) {
  const bool centred = t.b->zero_points.empty();
#pragma GCC unroll kUnroll
  for (int j = 0; j < kVectors; ++j) {
    VI weight = hn::Set(DI(), offset);
    if (!centred) {
      const hn::Rebind<int8_t, DI> d8;
      weight = hn::Sub(weight, hn::PromoteTo(DI(), hn::LoadU(d8, zeros_of(t, j, group))));
    }
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) {
      const int32_t x_sum = t.x_sums[i * t.groups + group];
      const VI term =
          centred ? hn::Set(DI(), offset * x_sum) : hn::Mul(weight, hn::Set(DI(), x_sum));
      sums[i][j] = hn::Add(sums[i][j], term);
    }
  }
}

// Integer sums of (code - zero point) * x: stored, where all of a column is one group; or
// multiplied with the scales of groups and added.
template <class Dot, int kBits, int kRows, int kPanels>
HWY_NOINLINE void gemv_integers(const GemvTile& t) {
  constexpr int kVectors = kPanels * kPassVectors;
  const int32_t offset = sum_offset<Dot, kBits>(t.b->format);
  VF values[kRows][kVectors];
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) values[i][j] = hn::Zero(DF());
  }
  for (int64_t group = 0; group < t.groups; ++group) {
    VI sums[kRows][kVectors];
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
      for (int j = 0; j < kVectors; ++j) sums[i][j] = hn::Zero(DI());
    }
    const int64_t first = group * t.group_blocks;
    const int64_t blocks = std::min(t.group_blocks, t.blocks - first);
    // Groups need not await each other: within a small one, chains are not worth their sum.
    constexpr int kChains = gemv_chains<kBits, kRows, kVectors>();
    if (kChains == 1 || blocks < 4 * kChains) {
      add_blocks<Dot, kBits, 1>(sums, t, first, blocks);
    } else {
      add_blocks<Dot, kBits, kChains>(sums, t, first, blocks);
    }
    add_offsets(sums, t, offset, group);
    if (t.sums != nullptr) return store_tile(sums, t.sums);
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      const VF scale = scale_of(t, j, group);
#pragma GCC unroll kUnroll
      for (int i = 0; i < kRows; ++i) {
        values[i][j] = fused_mul_add(hn::ConvertTo(DF(), sums[i][j]), scale, values[i][j]);
      }
    }
  }
  store_tile(values, t.values);
}

// Panels side by side: as many as leave the accumulators in registers; the widest level has one for
// each place of a code in its byte. It is fast enough to be limited by memory, which is read
// fastest from one place: one row has one panel.
constexpr int gemv_panels(int bits, int rows) {
#if HWY_TARGET == HWY_AVX3_DL
  if (rows == 1) return 1;
  const int places = bits == 3 ? 3 : 8 / bits;
  return std::clamp(16 / (rows * places), 1, 4);
#elif HWY_TARGET == HWY_AVX3
  return rows == 1 && bits < 8 ? 4 : 2;
#else
  return HWY_TARGET == HWY_SCALAR || rows > 1 || bits == 8 ? 1 : 2;
#endif
}

template <class Dot, int kBits>
struct IntegerKernels {
  template <int kRows>
  static GemvFunction make() {
    constexpr int kPanels = gemv_panels(kBits, kRows);
    return {&gemv_integers<Dot, kBits, kRows, kPanels>, kRows, kPanels};
  }
};

template <class Dot>
GemvFunction integer_function(CodeFormat format, int64_t rows) {
  GemvFunction function{};
  with_bits(format, [&](auto bits) {
    function = function_for<IntegerKernels<Dot, decltype(bits)::value>>(rows);
  });
  return function;
}

// Sum of unsigned bytes; a multiple of 16 of them.
HWY_INLINE int32_t sum_of_bytes(const uint8_t* p, int64_t count) {
  uint64_t sum = 0;
#if HWY_TARGET == HWY_SCALAR
  for (int64_t i = 0; i < count; ++i) sum += p[i];
#else
  const hn::Full128<uint8_t> d;
  const hn::Full128<uint64_t> d64;
  auto wide = hn::Zero(d64);
  for (int64_t i = 0; i < count; i += 16) wide = hn::Add(wide, hn::SumsOf8(hn::LoadU(d, p + i)));
  sum = hn::GetLane(hn::SumOfLanes(d64, wide));
#endif
  return static_cast<int32_t>(sum);
}

// Activations minus 128 and the sums of their groups; zeros up to whole blocks, and in rows that
// only the kernel has.
struct SignedRows {
  SignedRows(const Context& context, const uint8_t* a, int64_t lda, const PackedCodes& b, int64_t m)
      : stride(round_up(b.run, 32)) {
    const int64_t rows = whole_rows(m);
    const int64_t groups = b.groups();
    const int64_t group = b.group == 0 ? stride : b.group;
    ScratchCursor cursor(context.scratch);
    x = cursor.take<int8_t>(rows * stride);
    sums = cursor.take<int32_t>(rows * groups);
    context.pool.parallel_for(ceil_div(rows, kGemvRows), [&](int64_t part, int) HWY_ATTR {
      const int64_t end = std::min((part + 1) * kGemvRows, rows);
      for (int64_t i = part * kGemvRows; i < end; ++i) {
        fill_row(i < m ? a + i * lda : nullptr, b.run, group, x + i * stride, sums + i * groups);
      }
    });
  }

  // `source` is null for a row that does not exist.
  void fill_row(const uint8_t* source, int64_t run, int64_t group, int8_t* row,
                int32_t* row_sums) const {
    auto* const bytes = reinterpret_cast<uint8_t*>(row);
    const int64_t length = source == nullptr ? 0 : run;
    if (length > 0) std::memcpy(bytes, source, static_cast<size_t>(length));
    std::memset(bytes + length, 128, static_cast<size_t>(stride - length));
    for (int64_t k = 0; k < run; k += group) {
      const int64_t count = std::min(group, stride - k);
      *row_sums++ = sum_of_bytes(bytes + k, count) - 128 * static_cast<int32_t>(count);
    }
    flip_signs(row, stride);
  }
  int64_t stride;
  int8_t* x;
  int32_t* sums;
};

// Fills in a tile of integer products from `row` on and runs it.
void run_integers(const GemvFunction& function, GemvTile& t, const SignedRows& rows, int64_t row,
                  int64_t columns) {
  t.x = rows.x + row * rows.stride;
  t.x_stride = rows.stride;
  t.x_sums = rows.sums + row * t.groups;
  run_passes(function, t, columns);
}

// Corrected sums: those of (code - zero point) * (a - 128) become those of (a - a_zero_point), plus
// the bias.
void add_columns(const PackedCodes& b, int64_t rows, int64_t column, int64_t columns,
                 int32_t* sums) {
  for (int64_t j = 0; j < columns; j += kLanes) {
    const VI column_sum = hn::LoadU(DI(), b.column_sums.data() + column + j);
    const VI offset = hn::LoadU(DI(), b.offsets.data() + column + j);
    const VI start = hn::Add(offset, hn::ShiftLeft<7>(column_sum));
    for (int64_t i = 0; i < rows; ++i) {
      int32_t* sum = sums + i * kSumStride + j;
      hn::StoreU(hn::Add(hn::LoadU(DI(), sum), start), DI(), sum);
    }
  }
}

template <class Dot>
void multiply_integers(const Context& context, const uint8_t* a, int64_t lda, const PackedCodes& b,
                       int64_t m, const IntegerEpilogue& epilogue) {
  const GemvFunction function = integer_function<Dot>(b.format, m);
  const SignedRows rows(context, a, lda, b, m);
  for_panel_tiles(context, b, m, function,
                  [&](GemvTile t, int64_t row, int64_t count, int64_t column, int64_t columns)
                      HWY_ATTR {
                        alignas(64) int32_t sums[kGemvRows * kSumStride];
                        t.sums = sums;
                        run_integers(function, t, rows, row, columns);
                        add_columns(b, count, column, columns, sums);
                        finish_sums({sums, count, columns, row, column, nullptr, b.n}, epilogue);
                      });
}

template <class Dot>
void multiply_scaled(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                     int64_t m, const FloatOutput& out) {
  const GemvFunction function = integer_function<Dot>(b.format, m);
  const SignedRows rows(context, a.codes, a.stride, b, m);
  for_panel_tiles(context, b, m, function,
                  [&](GemvTile t, int64_t row, int64_t count, int64_t column, int64_t columns)
                      HWY_ATTR {
                        alignas(64) float values[kGemvRows * kSumStride];
                        t.values = values;
                        run_integers(function, t, rows, row, columns);
                        finish_quantized({values, count, columns, row, column}, a, b, out);
                      });
}

void gemv_u8_codes(const Context& context, const uint8_t* a, int64_t lda, const PackedCodes& b,
                   int64_t m, const IntegerEpilogue& epilogue) {
#if HWY_TARGET == HWY_NEON
  if (current_isa() == Isa::kNeon) {
    return multiply_integers<DotPlain>(context, a, lda, b, m, epilogue);
  }
#endif
  multiply_integers<Dot>(context, a, lda, b, m, epilogue);
}

void gemv_quantized_codes(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                          int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  const FloatOutput out = {c, ldc, &epilogue};
#if HWY_TARGET == HWY_NEON
  if (current_isa() == Isa::kNeon) return multiply_scaled<DotPlain>(context, a, b, m, out);
#endif
  multiply_scaled<Dot>(context, a, b, m, out);
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(gemv_u8_codes);
OUNCE_EXPORT(gemv_quantized_codes);

void gemv_u8_codes(const Context& context, const uint8_t* a, int64_t lda, const PackedCodes& b,
                   int64_t m, const IntegerEpilogue& epilogue) {
  OUNCE_DISPATCH(gemv_u8_codes)(context, a, lda, b, m, epilogue);
}
void gemv_quantized_codes(const Context& context, const QuantizedRows& a, const PackedCodes& b,
                          int64_t m, float* c, int64_t ldc, const Epilogue& epilogue) {
  OUNCE_DISPATCH(gemv_quantized_codes)(context, a, b, m, c, ldc, epilogue);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
