#include <algorithm>
#include <cstring>

#include "engine/kernels/bits/implicit_bits.h"
#include "engine/kernels/blocking/batch_items.h"

// Only the right operand is arranged here, which is little beside the product: one version serves
// every instruction set.
namespace ounce::engine {
namespace {

constexpr int64_t kWordBits = 32;  // of a word of a panel

// Bit i of byte j becomes bit j of byte i: blocks of 1, 2, then 4 bits change sides of the
// diagonal.
uint64_t turn_square(uint64_t x) {
  constexpr uint64_t kSides[] = {0x00AA00AA00AA00AA, 0x0000CCCC0000CCCC, 0x00000000F0F0F0F0};
  for (int i = 0; i < 3; ++i) {
    const int shift = 7 << i;
    const uint64_t differ = (x ^ (x >> shift)) & kSides[i];
    x ^= differ ^ (differ << shift);
  }
  return x;
}

// A word of 32 k of 8 columns from `count` rows, the bytes of which hold these columns.
void turn_columns(const std::byte* rows, int64_t stride, int64_t count, uint32_t* columns) {
  std::fill_n(columns, 8, 0U);
  auto* bytes = reinterpret_cast<std::byte*>(columns);
  for (; count > 0; count -= 8, rows += 8 * stride, ++bytes) {
    uint64_t square = 0;
    for (int i = 0; i < std::min<int64_t>(8, count); ++i) {
      square |= std::to_integer<uint64_t>(rows[i * stride]) << (8 * i);
    }
    square = turn_square(square);
    for (int c = 0; c < 8; ++c) {
      bytes[c * 4] = static_cast<std::byte>(square >> (8 * c));
    }
  }
}

// The panels [first, last) of the right operand of an item.
void pack_bit_panels(const uint64_t* b, const MatmulBitsShape& s, int64_t first, int64_t last,
                     uint32_t* panels) {
  const int64_t words = BitFormat::plane_words(s.k) * 2;
  const auto* bytes = reinterpret_cast<const std::byte*>(b);
  const int64_t stride = s.ldb * 8;
  for (int64_t p = first; p < last; ++p) {
    const int64_t column = p * kPanelColumns;
    for (int64_t w = 0; w < words; ++w) {
      uint32_t* out = panels + (p * words + w) * kPanelColumns;
      if (s.b_layout == WeightLayout::kKxN) {
        const std::byte* rows = bytes + w * kWordBits * stride + column / 8;
        const int64_t count = std::clamp<int64_t>(s.k - w * kWordBits, 0, kWordBits);
#pragma GCC unroll 1
        for (int64_t c = 0; c < kPanelColumns; c += 8) {
          turn_columns(rows + c / 8, stride, count, out + c);
        }
        continue;
      }
#pragma GCC unroll 1
      for (int64_t c = 0; c < kPanelColumns; ++c) {
        out[c] = 0;
        if (column + c >= s.n) continue;
        std::memcpy(out + c, bytes + (column + c) * stride + w * 4, sizeof(uint32_t));
      }
    }
  }
}

// Scratch of one item: packed panels, where their sums start, then what the product needs.
struct Plan {
  explicit Plan(const MatmulBitsShape& s)
      : panels(ceil_div(s.n, kPanelColumns)),
        words(panels * BitFormat::plane_words(s.k) * 2 * kPanelColumns) {}
  size_t bytes(const MatmulBitsShape& s, int threads) const {
    return ScratchCursor::need<uint32_t>(words) +
           ScratchCursor::need<int32_t>(panels * kPanelColumns) +
           implicit_gemm_bits_scratch_bytes(s.m, 1, threads);
  }
  int64_t panels;
  int64_t words;  // of all panels
};

void multiply_item(const Context& context, const MatmulBitsItem& item, const MatmulBitsShape& s,
                   const Plan& plan, const IntegerEpilogue& epilogue) {
  ScratchCursor cursor(context.scratch);
  uint32_t* panels = cursor.take<uint32_t>(plan.words);
  int32_t* offsets = cursor.take<int32_t>(plan.panels * kPanelColumns);
  pack_in_parallel(context.pool, plan.panels, [&](int64_t first, int64_t last) {
    pack_bit_panels(item.b, s, first, last, panels);
  });
  // Of signs by signs, a product counts those that differ; of others by signs, nothing is constant.
  const auto start = static_cast<int32_t>(bit_product_constant({s.a, 0}, kSignBits, s.k, 0, 0));
  std::fill_n(offsets, plan.panels * kPanelColumns, start);
  PanelsBits b;
  b.data = panels;
  b.n = s.n;
  b.words = BitFormat::plane_words(s.k);
  b.format = kSignBits;
  b.a = s.a;
  b.a_plane = b.words;
  b.offsets = offsets;
  IntegerEpilogue e = epilogue;
  e.c = item.c;
  e.scale = item.scale;
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
