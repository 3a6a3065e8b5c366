#define OUNCE_AVX512VNNI_IS_AVX512  // see dispatch.h

#include <bit>
#include <cstring>

#include "engine/kernels/bits/implicit_bits.h"
#include "engine/kernels/blocking/batch_items.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/bits/matmul_bits.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/blocking/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// 32 k of 16 columns from rows of bits along the columns: lane c gathers bit c of one row after the
// other.
HWY_INLINE void turn_word(const std::byte* rows, int64_t stride, int64_t count, uint32_t* out) {
  for (int v = 0; v < kPanelVectors; ++v) {
    const hn::RebindToUnsigned<DI> d;
    alignas(64) uint32_t lane_bits[kLanes];
    for (int j = 0; j < kLanes; ++j) lane_bits[j] = 1U << (v * kLanes + j);
    const auto lanes = hn::Load(d, lane_bits);
    auto word = hn::Zero(d);
    for (int64_t i = 0; i < count; ++i) {
      uint16_t bits;
      std::memcpy(&bits, rows + i * stride, sizeof(bits));
      const auto set = hn::TestBit(hn::Set(d, uint32_t{bits}), lanes);
      word = hn::Or(word, hn::IfThenElseZero(hn::RebindMask(d, set), hn::Set(d, 1U << i)));
    }
    hn::StoreU(word, d, out + v * kLanes);
  }
}

// The panels [first, last) of the right operand of an item.
void pack_bit_panels(const uint64_t* b, const MatmulBitsShape& s, int64_t first, int64_t last,
                     uint32_t* panels) {
  const int64_t plane = BitFormat::plane_words(s.k) * 2;  // 32-bit words of a column
  const auto* bytes = reinterpret_cast<const std::byte*>(b);
  const int64_t row_bytes = s.ldb * 8;
  for (int64_t p = first; p < last; ++p) {
    const int64_t column = p * kPanelColumns;
    uint32_t* panel = panels + p * s.b.planes * plane * kPanelColumns;
    if (s.b_layout == WeightLayout::kNxK) {
      pack_columns(bytes + column * row_bytes, row_bytes, std::min(kPanelColumns, s.n - column),
                   s.b.planes * plane, panel);
      continue;
    }
    for (int q = 0; q < s.b.planes; ++q) {
      const std::byte* source = bytes + q * BitFormat::plane_words(s.n) * 8 + column / 8;
      for (int64_t w = 0; w < plane; ++w, panel += kPanelColumns) {
        const int64_t rows = std::clamp<int64_t>(s.k - w * 32, 0, 32);
        turn_word(source + w * 32 * row_bytes, row_bytes, rows, panel);
      }
    }
  }
}

// counts[q][c]: set bits of plane q of the columns of a panel.
inline void count_panel_bits(const uint32_t* panel, const MatmulBitsShape& s,
                             int32_t (&counts)[3][kPanelColumns]) {
  const int64_t plane = BitFormat::plane_words(s.k) * 2;
  for (int q = 0; q < s.b.planes; ++q) {
    for (int64_t c = 0; c < kPanelColumns; ++c) {
      int32_t bits = 0;
      for (int64_t w = 0; w < plane; ++w) {
        bits += std::popcount(panel[(q * plane + w) * kPanelColumns + c]);
      }
      counts[q][c] = bits;
    }
  }
}

// offsets[c] of panels [first, last): what the bits of a product do not count.
void matmul_bits_offsets(const uint32_t* panels, const MatmulBitsShape& s, int64_t first,
                         int64_t last, int32_t* offsets) {
  const auto k = static_cast<int32_t>(s.k);
  const int64_t stride = s.b.planes * BitFormat::plane_words(s.k) * 2 * kPanelColumns;
  for (int64_t p = first; p < last; ++p) {
    int32_t counts[3][kPanelColumns] = {};
    count_panel_bits(panels + p * stride, s, counts);
    for (int64_t c = 0; c < kPanelColumns; ++c) {
      int32_t codes = 0;
      for (int q = 0; q < s.b.planes; ++q) codes += counts[q][c] << q;
      int64_t sum = codes + k * s.b.lowest();
      int64_t squares = 0;
      if (s.b.coding == BitCoding::kSign) sum = k - 2 * codes;
      if (s.b.coding == BitCoding::kTernary) squares = counts[0][c];
      offsets[p * kPanelColumns + c] =
          static_cast<int32_t>(bit_product_constant({s.a, 0}, s.b, s.k, sum, squares));
    }
  }
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(pack_bit_panels);
OUNCE_EXPORT(matmul_bits_offsets);

namespace {

// Scratch of one item: packed panels, where their sums start, then what the product needs.
struct Plan {
  explicit Plan(const MatmulBitsShape& s)
      : panels(ceil_div(s.n, kPanelColumns)), words(2 * s.b.words(s.k) * kPanelColumns) {}
  size_t bytes(const MatmulBitsShape& s, int threads) const {
    return ScratchCursor::need<uint32_t>(panels * words) +
           ScratchCursor::need<int32_t>(panels * kPanelColumns) +
           implicit_gemm_bits_scratch_bytes(s.m, 1, threads);
  }
  int64_t panels;
  int64_t words;  // 32-bit words of a panel
};

void multiply_item(const Context& context, const MatmulBitsItem& item, const MatmulBitsShape& s,
                   const Plan& plan, const IntegerEpilogue& epilogue) {
  ScratchCursor cursor(context.scratch);
  uint32_t* panels = cursor.take<uint32_t>(plan.panels * plan.words);
  int32_t* offsets = cursor.take<int32_t>(plan.panels * kPanelColumns);
  pack_in_parallel(context.pool, plan.panels, [&](int64_t first, int64_t last) {
    OUNCE_DISPATCH(pack_bit_panels)(item.b, s, first, last, panels);
    OUNCE_DISPATCH(matmul_bits_offsets)(panels, s, first, last, offsets);
  });
  PanelsBits b;
  b.data = panels;
  b.n = s.n;
  b.words = BitFormat::plane_words(s.k);
  b.format = s.b;
  b.a = s.a;
  b.a_plane = b.words;
  b.offsets = offsets;
  IntegerEpilogue e = epilogue;
  e.c = item.c;
  const Context rest = {context.pool, cursor.rest(context.scratch)};
  implicit_gemm_bits(rest, MatrixRows<uint64_t>(item.a, s.lda, s.m, s.a.words(s.k)), b, e);
}

}  // namespace

void matmul_bits(const Context& context, std::span<const MatmulBitsItem> items,
                 const MatmulBitsShape& shape, const IntegerEpilogue& epilogue) {
  const Plan plan(shape);
  for_items(context, static_cast<int64_t>(items.size()), plan.bytes(shape, 1),
            [&](const Context& own, int64_t i) {
              multiply_item(own, items[static_cast<size_t>(i)], shape, plan, epilogue);
            });
}

size_t matmul_bits_scratch_bytes(const MatmulBitsShape& shape, int64_t items, int threads) {
  const Plan plan(shape);
  return batch_bytes(items, threads, plan.bytes(shape, 1), plan.bytes(shape, threads));
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
