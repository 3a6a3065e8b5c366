#include "engine/kernels/attention_bits.h"

#include <bit>
#include <cmath>

#include "engine/kernels/attention_bits_scratch.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/attention_bits.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/bits-inl.h"
#include "engine/kernels/count_bytes-inl.h"
#include "engine/kernels/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

inline constexpr int64_t kColumns = BitAttentionScratch::kColumns;
inline constexpr int64_t kRows = kBitAttentionRows;
inline constexpr uint8_t kNoKey = 255;  // the count of columns behind the last key

// What one head needs while it runs.
struct Head {
  Head(const BitAttentionItem& head, const BitAttentionShape& geometry,
       const BitAttentionScratch& sizes, std::span<std::byte> scratch)
      : item(head), shape(geometry), size(sizes) {
    ScratchCursor cursor(scratch);
    keys = cursor.take<uint8_t>(size.key_size());
    values = cursor.take<uint8_t>(size.value_size());
    q = cursor.take<uint32_t>(kRows * size.head_words);
    map = cursor.take<uint32_t>(kRows * size.key_words);
    counts = cursor.take<uint8_t>(kRows * size.row_counts);
  }
  const BitAttentionItem& item;
  const BitAttentionShape& shape;
  const BitAttentionScratch& size;
  uint8_t* keys;    // [panel][byte of head_dim][64 keys]
  uint8_t* values;  // [panel][byte of keys][64 elements of a value]
  uint32_t* q;      // [kRows][head_words]
  uint32_t* map;    // [kRows][key_words]
  uint8_t* counts;  // [kRows][row_counts] differing signs of q and every key
};

// The bytes of the signs of a row.
HWY_INLINE void row_signs(const float* x, int64_t count, uint8_t* bytes) {
  for (int64_t c = 0; c < count; c += kPanelColumns) {
    const auto bits =
        static_cast<uint16_t>(sign_bits(x + c, nullptr, std::min(kPanelColumns, count - c)));
    std::memcpy(bytes + c / 8, &bits, sizeof(bits));
  }
}

// Bytes to words that hold each of them four times. Whole vectors are read and written.
HWY_INLINE void expand_bytes(const uint8_t* bytes, int64_t count, uint32_t* words) {
  const hn::Repartition<uint32_t, DI> d;
  for (int64_t j = 0; j < count; j += kLanes) {
    const VI four = hn::Mul(load_codes(bytes + j), hn::Set(DI(), 0x01010101));
    hn::StoreU(hn::BitCast(d, four), d, words + j);
  }
}

void pack_keys(const Head& h) {
  std::fill(h.keys, h.keys + h.size.key_size(), uint8_t{0});
  for (int64_t key = 0; key < h.shape.keys; ++key) {
    uint8_t bytes[kMostBitHeadDim / 8 + 1];
    row_signs(h.item.k + key * h.shape.ldk, h.shape.head_dim, bytes);
    uint8_t* column = h.keys + key / kColumns * h.size.head_bytes * kColumns + key % kColumns;
    for (int64_t b = 0; b < h.size.head_bytes; ++b) column[b * kColumns] = bytes[b];
  }
}

// Bits along keys: byte b of a column holds the signs of keys 8 b to 8 b + 7.
void pack_values(const Head& h) {
  for (int64_t b = 0; b < h.size.key_bytes; ++b) {
    const int64_t first = b * 8;
    const int64_t count = std::min<int64_t>(8, h.shape.keys - first);
    const float* rows = h.item.v + first * h.shape.ldv;
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
  for (int64_t i = 0; i < rows; ++i) {
    uint8_t bytes[kMostBitHeadDim / 8 + 1 + kPanelColumns] = {};
    row_signs(h.item.q + (first + i) * h.shape.ldq, h.shape.head_dim, bytes);
    expand_bytes(bytes, h.size.head_bytes, h.q + i * h.size.head_words);
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

// The sum of the weights of all keys.
HWY_INLINE uint64_t sum_of_weights(const uint8_t* counts, int64_t keys, uint8_t nearest,
                                   const BitSoftmax& softmax) {
#if HWY_TARGET == HWY_AVX3_DL
  if (!softmax.weight_planes.empty()) {
    return sum_of_table(counts, keys, nearest, softmax.weight_planes.data());
  }
#endif
  uint64_t sum = 0;
  for (int64_t j = 0; j < keys; ++j) sum += softmax.weights[counts[j] - nearest];
  return sum;
}

// Keys with fewer differences than this are in the map.
HWY_INLINE uint8_t map_bound(const BitSoftmax& softmax, uint64_t sum, uint8_t nearest) {
  const uint64_t* limits = softmax.limits.data();
  // The first distance whose limit is not above the sum; the steps do not depend on the outcome.
  size_t reach = 0;
  for (size_t count = softmax.limits.size(); count > 0;) {
    const size_t half = count / 2;
    const bool above = sum < limits[reach + half];
    reach += above ? half + 1 : 0;
    count = above ? count - half - 1 : half;
  }
  return static_cast<uint8_t>(std::min<size_t>(nearest + reach, kNoKey));
}

// Makes the map of one row and returns the number of keys in it.
HWY_INLINE int32_t make_map(const Head& h, const uint8_t* counts, uint32_t* map) {
  const uint8_t nearest = least_byte(counts, h.size.row_counts);
  const uint64_t sum = sum_of_weights(counts, h.shape.keys, nearest, *h.item.softmax);
  const uint8_t bound = map_bound(*h.item.softmax, sum, nearest);
  int32_t set = 0;
  for (int64_t panel = 0; panel < h.size.key_panels; ++panel) {
    const uint64_t bits = bytes_below(counts + panel * kColumns, bound);
    set += std::popcount(bits);
    uint8_t bytes[sizeof(bits) + kPanelColumns] = {};
    std::memcpy(bytes, &bits, sizeof(bits));
    expand_bytes(bytes, sizeof(bits), map + panel * 8);
  }
  return set;
}

// y = (keys in the map - 2 * those of them whose value is negative) * scale.
void mix_values(const Head& h, const int32_t* in_map, int64_t first, int64_t rows) {
  const VF scale = constant(h.item.y_scale);
  for (int64_t panel = 0; panel < h.size.value_panels; ++panel) {
    const uint8_t* values = h.values + panel * h.size.key_bytes * kColumns;
    alignas(64) int32_t sums[kRows * kColumns] = {};
    for (int64_t b = 0; b < h.size.key_bytes; b += kMostCountedBytes) {
      alignas(64) uint8_t counts[kRows * kColumns];
      count_bytes<BitJoin::kAnd, kRows>(h.map + b, h.size.key_words, values + b * kColumns,
                                        std::min(kMostCountedBytes, h.size.key_bytes - b), counts,
                                        kColumns);
      for (int64_t j = 0; j < kRows * kColumns; j += kLanes) {
        const VI sum = hn::Load(DI(), sums + j);
        hn::Store(hn::Add(sum, load_codes(counts + j)), DI(), sums + j);
      }
    }
    const int64_t columns = std::min(kColumns, h.shape.value_dim - panel * kColumns);
    for (int64_t i = 0; i < rows; ++i) {
      float* y = h.item.y + (first + i) * h.shape.ldy + panel * kColumns;
      const VI all = hn::Set(DI(), in_map[i]);
      for_vectors(columns, [&](int64_t j, int64_t lanes) HWY_ATTR {
        const VI negative = hn::Load(DI(), sums + i * kColumns + j);
        const VI sum = hn::Sub(all, hn::Add(negative, negative));
        store_lanes(hn::Mul(hn::ConvertTo(DF(), sum), scale), y + j, lanes);
      });
    }
  }
}

void attend(const Head& h, int64_t first, int64_t last) {
  pack_keys(h);
  pack_values(h);
  for (; first < last; first += kRows) {
    const int64_t rows = std::min(kRows, last - first);
    pack_queries(h, first, rows);
    count_differences(h);
    int32_t in_map[kRows] = {};
    for (int64_t i = 0; i < rows; ++i) {
      in_map[i] = make_map(h, h.counts + i * h.size.row_counts, h.map + i * h.size.key_words);
    }
    mix_values(h, in_map, first, rows);
  }
}

void attention_bits(const Context& context, std::span<const BitAttentionItem> items,
                    const BitAttentionShape& shape) {
  const BitAttentionScratch size(shape);
  const int64_t threads = context.pool.size();
  const auto count = static_cast<int64_t>(items.size());
  // Where there are few heads for the threads, heads are cut: keys are then packed once a part.
  const int64_t blocks = ceil_div(shape.tokens, kRows);
  const int64_t wanted = threads == 1 || count == 0 ? 1 : ceil_div(4 * threads, count);
  const int64_t parts = std::clamp<int64_t>(wanted, 1, blocks);
  context.pool.parallel_for(count * parts, [&](int64_t task, int thread) {
    const size_t bytes = size.bytes();
    const auto own = context.scratch.subspan(static_cast<size_t>(thread) * bytes, bytes);
    const int64_t part = task % parts;
    attend(Head(items[static_cast<size_t>(task / parts)], shape, size, own),
           blocks * part / parts * kRows,
           std::min(shape.tokens, blocks * (part + 1) / parts * kRows));
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(attention_bits);

BitSoftmax::BitSoftmax(int64_t head_dim, double score_scale, double map_scale) {
  constexpr double kUnit = 4294967295.0;  // weight of the nearest key
  constexpr double kMost = 1.8e19;        // below 2^64
  const auto distances = static_cast<size_t>(head_dim) + 1;
  for (size_t d = 0; d < distances; ++d) {
    const double weight = std::exp(-2.0 * score_scale * static_cast<double>(d)) * kUnit;
    weights.push_back(static_cast<uint32_t>(std::llround(weight)));
    limits.push_back(static_cast<uint64_t>(std::min(std::ceil(weight / map_scale * 2.0), kMost)));
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

void attention_bits(const Context& context, std::span<const BitAttentionItem> items,
                    const BitAttentionShape& shape) {
  OUNCE_DISPATCH(attention_bits)(context, items, shape);
}

size_t attention_bits_scratch_bytes(const BitAttentionShape& shape, int threads) {
  return BitAttentionScratch(shape).bytes() * static_cast<size_t>(threads);
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
