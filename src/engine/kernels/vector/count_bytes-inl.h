// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_COUNT_BYTES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_COUNT_BYTES_INL_H
#undef OUNCE_ENGINE_KERNELS_COUNT_BYTES_INL_H
#else
#define OUNCE_ENGINE_KERNELS_COUNT_BYTES_INL_H
#endif

#include "engine/kernels/vector/tally-inl.h"

// Counts of bits that fit into bytes: as many sums in a register as it has bytes.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

// Eight bytes in a general register.
using Bytes = uint64_t;
inline constexpr int64_t kBytes = sizeof(Bytes);
HWY_INLINE Bytes load_bytes(const uint8_t* p) {
  Bytes bytes;
  std::memcpy(&bytes, p, sizeof(bytes));
  return bytes;
}
HWY_INLINE void store_bytes(Bytes bytes, uint8_t* p) {
  std::memcpy(p, &bytes, sizeof(bytes));
}
HWY_INLINE Bytes same_bytes(uint32_t four) {
  return four * 0x100000001U;
}
HWY_INLINE Bytes add_bytes(Bytes a, Bytes b) {
  return a + b;
}
HWY_INLINE Bytes bits_of_bytes(Bytes x) {
  x -= x >> 1 & 0x5555555555555555U;
  x = (x & 0x3333333333333333U) + (x >> 2 & 0x3333333333333333U);
  return (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0FU;
}
template <BitJoin kJoin>
HWY_INLINE Bytes join_bytes(Bytes a, Bytes b) {
  return kJoin == BitJoin::kXor ? a ^ b : a & b;
}

#else

using DBytes8 = hn::ScalableTag<uint8_t>;
using Bytes = hn::Vec<DBytes8>;
inline constexpr int64_t kBytes = static_cast<int64_t>(HWY_LANES(uint8_t));
HWY_INLINE Bytes load_bytes(const uint8_t* p) {
  return hn::LoadU(DBytes8(), p);
}
HWY_INLINE void store_bytes(Bytes bytes, uint8_t* p) {
  hn::StoreU(bytes, DBytes8(), p);
}
HWY_INLINE Bytes same_bytes(uint32_t four) {
  return hn::BitCast(DBytes8(), hn::Set(hn::Repartition<uint32_t, DBytes8>(), four));
}
HWY_INLINE Bytes add_bytes(Bytes a, Bytes b) {
  return hn::Add(a, b);
}
HWY_INLINE Bytes bits_of_bytes(Bytes x) {
  return hn::PopulationCount(x);
}
template <BitJoin kJoin>
HWY_INLINE Bytes join_bytes(Bytes a, Bytes b) {
  return kJoin == BitJoin::kXor ? hn::Xor(a, b) : hn::And(a, b);
}

#endif

inline constexpr int64_t kCountedColumns = 64;    // of a panel
inline constexpr int64_t kMostCountedBytes = 31;  // steps until a byte may be full

// counts[i][c] = number of bits set in rows[i][b] join panel[b][c], over all b < steps <=
// kMostCountedBytes: kRows rows of bytes kept four times, `row_stride` words apart, and 64 columns
// of bytes. Counts are `count_stride` apart.
template <BitJoin kJoin, int kRows>
HWY_INLINE void count_bytes(const uint32_t* rows, int64_t row_stride, const uint8_t* panel,
                            int64_t steps, uint8_t* counts, int64_t count_stride) {
  // Counters, the panel's vector and what the count needs must fit 16 registers, or 32.
  constexpr int kTile = HWY_CAP_GE512 || HWY_TARGET == HWY_NEON ? 8 : 4;
  static_assert(kRows % kTile == 0);
  for (int64_t c = 0; c < kCountedColumns; c += kBytes) {
    for (int first = 0; first < kRows; first += kTile) {
      const uint32_t* tile = rows + first * row_stride;
      Bytes sums[kTile];
#pragma GCC unroll kUnroll
      for (Bytes& sum : sums) sum = same_bytes(0);
      for (int64_t b = 0; b < steps; ++b) {
        const Bytes column = load_bytes(panel + b * kCountedColumns + c);
#pragma GCC unroll kUnroll
        for (int i = 0; i < kTile; ++i) {
          const Bytes row = same_bytes(tile[i * row_stride + b]);
          sums[i] = add_bytes(sums[i], bits_of_bytes(join_bytes<kJoin>(row, column)));
        }
      }
#pragma GCC unroll kUnroll
      for (int i = 0; i < kTile; ++i) store_bytes(sums[i], counts + (first + i) * count_stride + c);
    }
  }
}

// The least of `count` bytes, a multiple of 64.
HWY_INLINE uint8_t least_byte(const uint8_t* bytes, int64_t count) {
#if HWY_TARGET == HWY_SCALAR
  return *std::min_element(bytes, bytes + count);
#else
  Bytes least = load_bytes(bytes);
  for (int64_t j = kBytes; j < count; j += kBytes) least = hn::Min(least, load_bytes(bytes + j));
  alignas(64) uint8_t lanes[kBytes];
  store_bytes(least, lanes);
  const hn::Full128<uint8_t> d;
  const hn::Full128<uint16_t> d16;
  auto last = hn::Load(d, lanes);
  for (int64_t j = 16; j < kBytes; j += 16) last = hn::Min(last, hn::Load(d, lanes + j));
  const auto pairs = hn::BitCast(d16, last);
  const auto even = hn::And(pairs, hn::Set(d16, uint16_t{0xFF}));
  return static_cast<uint8_t>(
      hn::GetLane(hn::MinOfLanes(d16, hn::Min(even, hn::ShiftRight<8>(pairs)))));
#endif
}

// Bit j is bytes[j] < bound, of 64 bytes.
HWY_INLINE uint64_t bytes_below(const uint8_t* bytes, uint8_t bound) {
  uint64_t bits = 0;
#if HWY_TARGET == HWY_SCALAR
  for (int64_t j = 0; j < kCountedColumns; ++j) bits |= uint64_t{bytes[j] < bound} << j;
#else
  const DBytes8 d;
  uint8_t out[kCountedColumns / 8 + 8];
  for (int64_t j = 0; j < kCountedColumns; j += kBytes) {
    hn::StoreMaskBits(d, hn::Lt(load_bytes(bytes + j), hn::Set(d, bound)), out + j / 8);
  }
  std::memcpy(&bits, out, sizeof(bits));
#endif
  return bits;
}

// Every byte of a word four times: eight 32-bit words.
HWY_INLINE void expand_word(uint64_t word, uint32_t* words) {
#if HWY_TARGET == HWY_SCALAR
  for (int b = 0; b < 8; ++b) words[b] = (word >> (8 * b) & 0xFF) * 0x01010101U;
#else
  const hn::Full128<uint8_t> d;
  const hn::Full128<uint32_t> d32;
  const auto bytes = hn::BitCast(d, hn::Set(hn::Full128<uint64_t>(), word));
  alignas(16) static constexpr uint8_t kFour[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
  const auto first = hn::Load(d, kFour);
  const auto second = hn::Add(first, hn::Set(d, uint8_t{4}));
  hn::StoreU(hn::BitCast(d32, hn::TableLookupBytes(bytes, first)), d32, words);
  hn::StoreU(hn::BitCast(d32, hn::TableLookupBytes(bytes, second)), d32, words + 4);
#endif
}

#if HWY_TARGET == HWY_AVX3_DL
// sums[i] = sum over j of table[bytes[i][j] - least[i]], each entry of 32 bits as planes of bytes
// [4][128]. Rows of bytes are `stride` apart.
HWY_INLINE void sums_of_table(const uint8_t* bytes, int64_t stride, int64_t rows, int64_t count,
                              const uint8_t* least, const uint8_t* planes, uint64_t* sums) {
  constexpr int kPlanes = 4;
  const __m512i zero = _mm512_setzero_si512();
  __m512i low[kPlanes], high[kPlanes];
#pragma GCC unroll kUnroll
  for (int p = 0; p < kPlanes; ++p) {
    low[p] = _mm512_load_si512(planes + p * 128);
    high[p] = _mm512_load_si512(planes + p * 128 + 64);
  }
  for (int64_t i = 0; i < rows; ++i) {
    const __m512i base = _mm512_set1_epi8(static_cast<char>(least[i]));
    __m512i sum[kPlanes] = {zero, zero, zero, zero};
    for (int64_t j = 0; j < count; j += 64) {
      const __mmask64 present = ~__mmask64{0} >> std::max<int64_t>(64 - (count - j), 0);
      const __m512i at = _mm512_sub_epi8(_mm512_loadu_si512(bytes + i * stride + j), base);
#pragma GCC unroll kUnroll
      for (int p = 0; p < kPlanes; ++p) {
        const __m512i entry = _mm512_maskz_permutex2var_epi8(present, low[p], at, high[p]);
        sum[p] = _mm512_add_epi64(sum[p], _mm512_sad_epu8(entry, zero));
      }
    }
    // Shifted to their places, lanes stay far below 2^64.
    const __m512i lower = _mm512_add_epi64(sum[0], _mm512_slli_epi64(sum[1], 8));
    const __m512i upper = _mm512_add_epi64(sum[2], _mm512_slli_epi64(sum[3], 8));
    sums[i] = static_cast<uint64_t>(
        _mm512_reduce_add_epi64(_mm512_add_epi64(lower, _mm512_slli_epi64(upper, 16))));
  }
}

// entries[j] = table[bytes[j] - least] for 64 bytes, with the table as above; any number where the
// difference is 128 or more.
HWY_INLINE void entries_of_table(const uint8_t* bytes, uint8_t least, const uint8_t* planes,
                                 uint32_t* entries) {
  // Joining planes of bytes works in quarters of a register: byte 16 q + 4 v + r of the planes
  // becomes number 4 q + r of vector v, which is to be entry 16 v + 4 q + r.
  alignas(64) static constexpr uint8_t kOrder[64] = {
      0,  1,  2,  3,  16, 17, 18, 19, 32, 33, 34, 35, 48, 49, 50, 51,   // q = 0
      4,  5,  6,  7,  20, 21, 22, 23, 36, 37, 38, 39, 52, 53, 54, 55,   // q = 1
      8,  9,  10, 11, 24, 25, 26, 27, 40, 41, 42, 43, 56, 57, 58, 59,   // q = 2
      12, 13, 14, 15, 28, 29, 30, 31, 44, 45, 46, 47, 60, 61, 62, 63};  // q = 3
  const __m512i distance =
      _mm512_sub_epi8(_mm512_loadu_si512(bytes), _mm512_set1_epi8(static_cast<char>(least)));
  const __m512i at = _mm512_permutexvar_epi8(_mm512_load_si512(kOrder), distance);
  const auto plane = [&](int p) HWY_ATTR {
    return _mm512_permutex2var_epi8(_mm512_load_si512(planes + p * 128), at,
                                    _mm512_load_si512(planes + p * 128 + 64));
  };
  const __m512i p0 = plane(0), p1 = plane(1), p2 = plane(2), p3 = plane(3);
  const __m512i low0 = _mm512_unpacklo_epi8(p0, p1), high0 = _mm512_unpackhi_epi8(p0, p1);
  const __m512i low1 = _mm512_unpacklo_epi8(p2, p3), high1 = _mm512_unpackhi_epi8(p2, p3);
  _mm512_store_si512(entries, _mm512_unpacklo_epi16(low0, low1));
  _mm512_store_si512(entries + 16, _mm512_unpackhi_epi16(low0, low1));
  _mm512_store_si512(entries + 32, _mm512_unpacklo_epi16(high0, high1));
  _mm512_store_si512(entries + 48, _mm512_unpackhi_epi16(high0, high1));
}
#endif

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
