#include "engine/kernels/attention/attention_bits.h"

#include <bit>
#include <cmath>

#include "engine/kernels/attention/attention_bits_scratch.h"
#include "engine/kernels/attention/attention_tasks.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/attention/attention_bits.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/tensor/normalize-inl.h"
#include "engine/kernels/vector/bits-inl.h"
#include "engine/kernels/vector/count_bytes-inl.h"
#include "engine/kernels/vector/dot4-inl.h"
#include "hwy/cache_control.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

inline constexpr int64_t kColumns = BitAttentionScratch::kColumns;
inline constexpr int64_t kRows = kBitAttentionRows;
inline constexpr uint8_t kNoKey = 255;  // the count of columns behind the last key

// What one head needs while it runs.
struct Head {
  Head(const BitAttentionItem& head, const AttentionShape& geometry, const BitRowNorms& row_norms,
       const BitAttentionScratch& sizes, std::span<std::byte> scratch)
      : item(head), shape(geometry), norms(row_norms), size(sizes) {
    ScratchCursor cursor(scratch);
    keys = cursor.take<uint8_t>(size.key_size());
    values = cursor.take<uint8_t>(size.value_size());
    q = cursor.take<uint32_t>(kRows * size.head_words);
    map = cursor.take<uint32_t>(kRows * size.key_words);
    counts = cursor.take<uint8_t>(kRows * size.row_counts);
    weights = cursor.take<uint64_t>(size.row_counts);
  }
  const BitAttentionItem& item;
  const AttentionShape& shape;
  const BitRowNorms& norms;
  const BitAttentionScratch& size;
  uint8_t* keys;      // [panel][byte of head_dim][64 keys]
  uint8_t* values;    // [panel][byte of keys][64 elements of a value]
  uint32_t* q;        // [kRows][head_words]
  uint32_t* map;      // [kRows][key_words]
  uint8_t* counts;    // [kRows][row_counts] differing signs of q and every key
  uint64_t* weights;  // [row_counts] of one row whose scores have biases
};

// Rows of one head lie far apart, so that no hardware foresees the next: asks for the row that
// comes `kRows` after row i of `rows`.
HWY_INLINE void prefetch_later_row(const float* x, int64_t ld, int64_t i, int64_t rows,
                                   int64_t count) {
  constexpr int64_t kLine = 16;  // floats
  const float* row = x + std::min(i + kRows, rows - 1) * ld;
  for (int64_t c = 0; c < count; c += kLine) hwy::Prefetch(row + c);
}

// The signs of a row as words of bits.
HWY_INLINE void row_signs(const float* x, int64_t count, uint64_t* words) {
  int64_t c = 0;
  for (; c + 64 <= count; c += 64) {
    uint64_t word = 0;
#pragma GCC unroll kUnroll
    for (int i = 0; i < 4; ++i) {
      word |= uint64_t{sign_bits(x + c + i * kPanelColumns, nullptr, kPanelColumns)}
              << (i * kPanelColumns);
    }
    *words++ = word;
  }
  if (c == count) return;
  uint64_t word = 0;
  for (int64_t i = 0; c + i < count; i += kPanelColumns) {
    word |= uint64_t{sign_bits(x + c + i, nullptr, std::min(kPanelColumns, count - c - i))} << i;
  }
  *words = word;
}

using HeadSigns = uint64_t[kMostBitHeadDim / 64 + 1];

// The signs of rows `first` to `first + count` <= kRows more of q or k, of which there are `rows`.
void signs_of_rows(const float* x, int64_t ld, int64_t first, int64_t count, int64_t rows,
                   int64_t dim, const BitRowNorm* norm, HeadSigns* signs) {
  for (int64_t i = 0; i < count; ++i) prefetch_later_row(x, ld, first + i, rows, dim);
  x += first * ld;
  if (norm == nullptr) {
    for (int64_t i = 0; i < count; ++i) row_signs(x + i * ld, dim, signs[i]);
    return;
  }
  // Each part for all rows: what one row does is a chain of waiting.
  float mean[kRows];
  float scale[kRows];
  for (int64_t i = 0; i < count; ++i) mean[i] = row_mean(x + i * ld, dim);
  for (int64_t i = 0; i < count; ++i) scale[i] = row_scale(x + i * ld, dim, mean[i], norm->epsilon);
  for (int64_t i = 0; i < count; ++i) {
    alignas(64) float normalized[kMostBitHeadDim];
    scale_row(x + i * ld, normalized, dim, mean[i], scale[i], norm->gamma, norm->beta);
    row_signs(normalized, dim, signs[i]);
  }
}

void pack_keys(const Head& h) {
  std::fill(h.keys, h.keys + h.size.key_size(), uint8_t{0});
  for (int64_t first = 0; first < h.shape.keys; first += kRows) {
    const int64_t count = std::min(kRows, h.shape.keys - first);
    HeadSigns signs[kRows];
    signs_of_rows(h.item.k, h.shape.ldk, first, count, h.shape.keys, h.shape.head_dim, h.norms.k,
                  signs);
    // kRows divides the columns of a panel.
    uint8_t* columns = h.keys + first / kColumns * h.size.head_bytes * kColumns + first % kColumns;
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t b = 0; b < h.size.head_bytes; ++b) {
        columns[b * kColumns + i] = static_cast<uint8_t>(signs[i][b / 8] >> (b % 8 * 8));
      }
    }
  }
}

// Bits along keys: byte b of a column holds the signs of keys 8 b to 8 b + 7.
void pack_values(const Head& h) {
  for (int64_t b = 0; b < h.size.key_bytes; ++b) {
    const int64_t first = b * 8;
    const int64_t count = std::min<int64_t>(8, h.shape.keys - first);
    const float* rows = h.item.v + first * h.shape.ldv;
    for (int64_t i = first; i < first + count; ++i) {
      prefetch_later_row(h.item.v, h.shape.ldv, i, h.shape.keys, h.shape.value_dim);
    }
    for (int64_t column = 0; column < h.size.value_panels * kColumns; column += kLanes) {
      const int64_t lanes = std::clamp<int64_t>(h.shape.value_dim - column, 0, kLanes);
      VI byte = hn::Zero(DI());
      for (int64_t i = 0; lanes > 0 && i < count; ++i) {
        const VF v = load_lanes(rows + i * h.shape.ldv + column, lanes);
        const VI bit = hn::Set(DI(), 1 << i);
        byte =
            hn::Or(byte, hn::IfThenElseZero(hn::RebindMask(DI(), hn::Lt(v, hn::Zero(DF()))), bit));
      }
      const int64_t panel = column / kColumns;
      store_codes(byte, h.values + (panel * h.size.key_bytes + b) * kColumns + column % kColumns);
    }
  }
}

void pack_queries(const Head& h, int64_t first, int64_t rows) {
  HeadSigns signs[kRows];
  signs_of_rows(h.item.q, h.shape.ldq, first, rows, h.shape.tokens, h.shape.head_dim, h.norms.q,
                signs);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t w = 0; w * 8 < h.size.head_bytes; ++w) {
      expand_word(signs[i][w], h.q + i * h.size.head_words + w * 8);
    }
  }
}

void count_differences(const Head& h) {
  for (int64_t panel = 0; panel < h.size.key_panels; ++panel) {
    count_bytes<BitJoin::kXor, kRows>(
        h.q, h.size.head_words, h.keys + panel * h.size.head_bytes * kColumns, h.size.head_bytes,
        h.counts + panel * kColumns, h.size.row_counts);
  }
  for (int64_t i = 0; i < kRows; ++i) {
    uint8_t* row = h.counts + i * h.size.row_counts;
    std::fill(row + h.shape.keys, row + h.size.row_counts, kNoKey);
  }
}

// sums[i] = the sum of the weights of all keys for row i, whose nearest key differs in nearest[i].
HWY_INLINE void sums_of_weights(const Head& h, int64_t rows, const uint8_t* nearest,
                                uint64_t* sums) {
  const BitSoftmax& softmax = *h.item.softmax;
#if HWY_TARGET == HWY_AVX3_DL
  if (!softmax.weight_planes.empty()) {
    return sums_of_table(h.counts, h.size.row_counts, rows, h.shape.keys, nearest,
                         softmax.weight_planes.data(), sums);
  }
#endif
  for (int64_t i = 0; i < rows; ++i) {
    const uint8_t* counts = h.counts + i * h.size.row_counts;
    sums[i] = 0;
    for (int64_t j = 0; j < h.shape.keys; ++j) sums[i] += softmax.weights[counts[j] - nearest[i]];
  }
}

// Keys with fewer differences than this are in the map.
HWY_INLINE uint8_t map_bound(const BitSoftmax& softmax, uint64_t sum, uint8_t nearest) {
  // The number of limits above the sum, in steps that do not depend on the outcome.
  size_t reach = 0;
  for (size_t step = (softmax.limits.size() + 1) / 2; step > 0; step /= 2) {
    reach += step & -static_cast<size_t>(sum < softmax.limits[reach + step - 1]);
  }
  return static_cast<uint8_t>(std::min<size_t>(nearest + reach, kNoKey));
}

// Makes the map of some rows and counts the keys in each. What one row does is a chain of waiting;
// so each step is done for all rows.
void make_map(const Head& h, int64_t rows, int32_t* in_map) {
  uint8_t nearest[kRows];
  uint8_t bounds[kRows];
  uint64_t sums[kRows];
  for (int64_t i = 0; i < rows; ++i) {
    nearest[i] = least_byte(h.counts + i * h.size.row_counts, h.size.row_counts);
  }
  sums_of_weights(h, rows, nearest, sums);
  for (int64_t i = 0; i < rows; ++i) bounds[i] = map_bound(*h.item.softmax, sums[i], nearest[i]);
  for (int64_t i = 0; i < rows; ++i) {
    in_map[i] = 0;
    for (int64_t panel = 0; panel < h.size.key_panels; ++panel) {
      const uint64_t bits =
          bytes_below(h.counts + i * h.size.row_counts + panel * kColumns, bounds[i]);
      in_map[i] += std::popcount(bits);
      expand_word(bits, h.map + i * h.size.key_words + panel * 8);
    }
  }
}

// entries[j] = softmax.weights[counts[j] - nearest] of 64 keys; anything beyond the last key.
HWY_INLINE void weights_of_counts(const uint8_t* counts, uint8_t nearest, const BitSoftmax& softmax,
                                  int64_t keys, uint32_t* entries) {
#if HWY_TARGET == HWY_AVX3_DL
  if (!softmax.weight_planes.empty()) {
    return entries_of_table(counts, nearest, softmax.weight_planes.data(), entries);
  }
#endif
  for (int64_t j = 0; j < std::min(keys, kColumns); ++j) {
    entries[j] = softmax.weights[counts[j] - nearest];
  }
}

// The weights of all keys for one row, zero behind the last up to a whole panel, and their sum.
HWY_INLINE uint64_t weigh_keys(const uint8_t* counts, uint8_t nearest, const BitSoftmax& softmax,
                               const uint32_t* biases, int64_t keys, uint64_t* weights) {
  uint64_t total = 0;
  for (int64_t first = 0; first < keys; first += kColumns) {
    alignas(64) uint32_t entries[kColumns];
    weights_of_counts(counts + first, nearest, softmax, keys - first, entries);
    const int64_t count = std::min(keys - first, kColumns);
    uint64_t* own = weights + first;
    std::fill(own + count / kLanes * kLanes, own + kColumns, uint64_t{0});
#if HWY_TARGET == HWY_SCALAR
    for (int64_t j = 0; j < count; ++j) {
      own[j] = uint64_t{entries[j]} * biases[first + j] >> 16;
      total += own[j];
    }
#else
    const hn::ScalableTag<uint32_t> d32;
    const hn::ScalableTag<uint64_t> d64;
    const auto odd_of = [&](auto v) HWY_ATTR {
      return hn::BitCast(d32, hn::ShiftRight<32>(hn::BitCast(d64, v)));
    };
    auto sum = hn::Zero(d64);
    for (int64_t j = 0; j < count; j += kLanes) {
      const auto present =
          hn::FirstN(d32, static_cast<size_t>(std::min<int64_t>(count - j, kLanes)));
      const auto weight = hn::Load(d32, entries + j);
      const auto bias = hn::MaskedLoad(present, d32, biases + first + j);
      const auto even = hn::ShiftRight<16>(hn::MulEven(weight, bias));
      const auto odd = hn::ShiftRight<16>(hn::MulEven(odd_of(weight), odd_of(bias)));
      sum = hn::Add(sum, hn::Add(even, odd));
      hn::StoreInterleaved2(even, odd, d64, own + j);
    }
    total += hn::GetLane(hn::SumOfLanes(d64, sum));
#endif
  }
  return total;
}

// Bit j is set where weights[j] > bound.
HWY_INLINE uint64_t weights_above(const uint64_t* weights, uint64_t bound) {
  const hn::ScalableTag<uint64_t> d;
  constexpr int64_t kStep = HWY_LANES(uint64_t);
  const auto limit = hn::Set(d, bound);
  uint64_t bits = 0;
  for (int64_t j = 0; j < kColumns; j += kStep) {
    uint8_t bytes[8] = {};
    hn::StoreMaskBits(d, hn::Gt(hn::Load(d, weights + j), limit), bytes);
    bits |= uint64_t{bytes[0]} << j;
  }
  return bits;
}

// The map of `rows` rows from token `first` on, whose scores have biases.
void make_biased_map(const Head& h, int64_t first, int64_t rows, int32_t* in_map) {
  constexpr double kMost = 1.8e19;  // below 2^64
  const BitSoftmax& softmax = *h.item.softmax;
  const int64_t keys = h.shape.keys;
  for (int64_t i = 0; i < rows; ++i) {
    const uint8_t* counts = h.counts + i * h.size.row_counts;
    const uint64_t sum = weigh_keys(counts, least_byte(counts, h.size.row_counts), softmax,
                                    h.item.bias_weights + (first + i) * keys, keys, h.weights);
    // A weight is an integer: it lies above the product where it lies above its whole part.
    const double product = static_cast<double>(sum) * softmax.half_map_scale;
    const auto bound = static_cast<uint64_t>(std::min(product, kMost));
    in_map[i] = 0;
    for (int64_t panel = 0; panel < h.size.key_panels; ++panel) {
      const uint64_t bits = weights_above(h.weights + panel * kColumns, bound);
      in_map[i] += std::popcount(bits);
      expand_word(bits, h.map + i * h.size.key_words + panel * 8);
    }
  }
}

// y = (keys in the map - 2 * those of them whose value is negative) * scale, of one panel of
// values. negative(i, j): the latter for row i and columns j on.
template <class Negative>
HWY_INLINE void store_values(const Head& h, const int32_t* in_map, int64_t first, int64_t rows,
                             int64_t panel, const Negative& negative) {
  if (h.item.signs != nullptr) {
    for (int64_t i = 0; i < rows; ++i) {
      const VI all = hn::Set(DI(), in_map[i]);
      uint64_t word = 0;
      for (int64_t j = 0; j < kColumns; j += kLanes) {
        const VI lost = negative(i, j);
        word |= uint64_t{bits_of_mask(DI(), hn::Gt(hn::Add(lost, lost), all))} << j;
      }
      h.item.signs[(first + i) * (h.shape.ldy / kColumns) + panel] = word;
    }
    return;
  }
  const VF scale = constant(h.item.y_scale);
  const int64_t columns = std::min(kColumns, h.shape.value_dim - panel * kColumns);
  for (int64_t i = 0; i < rows; ++i) {
    float* y = h.item.y + (first + i) * h.shape.ldy + panel * kColumns;
    const VI all = hn::Set(DI(), in_map[i]);
    for_vectors(columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
      const VI lost = negative(i, j);
      const VI sum = hn::Sub(all, hn::Add(lost, lost));
      store_lanes(hn::Mul(hn::ConvertTo(DF(), sum), scale), y + j, lanes);
    });
  }
}

void mix_values(const Head& h, const int32_t* in_map, int64_t first, int64_t rows) {
  alignas(64) uint8_t counts[kRows * kColumns];
  for (int64_t panel = 0; panel < h.size.value_panels; ++panel) {
    const uint8_t* values = h.values + panel * h.size.key_bytes * kColumns;
    const auto count = [&](int64_t begin, int64_t steps) HWY_ATTR {
      count_bytes<BitJoin::kAnd, kRows>(h.map + begin, h.size.key_words, values + begin * kColumns,
                                        steps, counts, kColumns);
    };
    if (h.size.key_bytes <= kMostCountedBytes) {
      count(0, h.size.key_bytes);
      store_values(h, in_map, first, rows, panel, [&](int64_t i, int64_t j) HWY_ATTR {
        return load_codes(counts + i * kColumns + j);
      });
      continue;
    }
    alignas(64) int32_t sums[kRows * kColumns] = {};
    for (int64_t b = 0; b < h.size.key_bytes; b += kMostCountedBytes) {
      count(b, std::min(kMostCountedBytes, h.size.key_bytes - b));
      for (int64_t j = 0; j < kRows * kColumns; j += kLanes) {
        hn::Store(hn::Add(hn::Load(DI(), sums + j), load_codes(counts + j)), DI(), sums + j);
      }
    }
    store_values(h, in_map, first, rows, panel, [&](int64_t i, int64_t j) HWY_ATTR {
      return hn::Load(DI(), sums + i * kColumns + j);
    });
  }
}

void attend(const Head& h, int64_t first, int64_t last) {
  pack_keys(h);
  pack_values(h);
  for (; first < last; first += kRows) {
    const int64_t rows = std::min(kRows, last - first);
    pack_queries(h, first, rows);
    count_differences(h);
    int32_t in_map[kRows];
    if (h.item.bias_weights != nullptr) {
      make_biased_map(h, first, rows, in_map);
    } else {
      make_map(h, rows, in_map);
    }
    mix_values(h, in_map, first, rows);
  }
}

void attention_bits(const Context& context, std::span<const BitAttentionItem> items,
                    const AttentionShape& shape, const BitRowNorms& norms) {
  const BitAttentionScratch size(shape);
  const size_t bytes = size.bytes();
  const AttentionTasks tasks(static_cast<int64_t>(items.size()), shape.tokens, kRows,
                             context.pool.size());
  tasks.for_each(context.pool, [&](int64_t head, int64_t first, int64_t last, int thread) {
    const auto own = context.scratch.subspan(static_cast<size_t>(thread) * bytes, bytes);
    attend(Head(items[static_cast<size_t>(head)], shape, norms, size, own), first, last);
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(attention_bits);

namespace {
constexpr double kUnit = 4294967295.0;  // weight of the nearest key, and of the largest bias
}

BitSoftmax::BitSoftmax(int64_t head_dim, double score_scale, double map_scale)
    : half_map_scale(map_scale / 2) {
  constexpr double kMost = 1.8e19;  // below 2^64
  const auto distances = static_cast<size_t>(head_dim) + 1;
  limits.assign(std::bit_ceil(distances + 1) - 1, 0);
  for (size_t d = 0; d < distances; ++d) {
    const double weight = std::exp(-2.0 * score_scale * static_cast<double>(d)) * kUnit;
    weights.push_back(static_cast<uint32_t>(std::llround(weight)));
    limits[d] = static_cast<uint64_t>(std::min(std::ceil(weight / map_scale * 2.0), kMost));
  }
  constexpr size_t kPlane = 128;
  if (distances > kPlane) return;
  weight_planes.resize(sizeof(uint32_t) * kPlane);
  for (size_t d = 0; d < distances; ++d) {
    for (size_t p = 0; p < sizeof(uint32_t); ++p) {
      weight_planes[p * kPlane + d] = static_cast<uint8_t>(weights[d] >> (8 * p));
    }
  }
}

std::vector<uint32_t> bit_bias_weights(std::span<const float> biases, int64_t keys) {
  std::vector<uint32_t> weights;
  weights.reserve(biases.size() + kPanelColumns);
  for (size_t row = 0; row < biases.size(); row += static_cast<size_t>(keys)) {
    const auto of_row = biases.subspan(row, static_cast<size_t>(keys));
    const double most = *std::max_element(of_row.begin(), of_row.end());
    for (const float bias : of_row) {
      weights.push_back(static_cast<uint32_t>(std::llround(std::exp(bias - most) * kUnit)));
    }
  }
  weights.resize(biases.size() + kPanelColumns);  // vectors may read behind the last row
  return weights;
}

void attention_bits(const Context& context, std::span<const BitAttentionItem> items,
                    const AttentionShape& shape, const BitRowNorms& norms) {
  OUNCE_DISPATCH(attention_bits)(context, items, shape, norms);
}

size_t attention_bits_scratch_bytes(const AttentionShape& shape, int threads) {
  return BitAttentionScratch(shape).bytes() * static_cast<size_t>(threads);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
