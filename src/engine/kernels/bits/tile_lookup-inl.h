// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_TILE_LOOKUP_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_TILE_LOOKUP_INL_H
#undef OUNCE_ENGINE_KERNELS_TILE_LOOKUP_INL_H
#else
#define OUNCE_ENGINE_KERNELS_TILE_LOOKUP_INL_H
#endif

#include "engine/kernels/bits/lookup_bits.h"
#include "engine/kernels/bits/product_bits-inl.h"
#include "engine/kernels/blocking/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

using DB8 = hn::ScalableTag<uint8_t>;
using VB8 = hn::Vec<DB8>;
using D16 = hn::ScalableTag<uint16_t>;
inline constexpr int64_t kLookupColumns = static_cast<int64_t>(HWY_LANES(uint8_t));

// One tile of counts: kRows x (kGroups * kLookupColumns).
struct TileLookup {
  const uint16_t* const* rows;  // [taps][kRows], offsets of tables
  int64_t taps;
  int64_t bytes;          // of a run of one plane, of a column
  int64_t a_plane;        // offsets between planes of A
  const uint8_t* b;       // first group
  int64_t group_stride;   // bytes
  const uint8_t* tables;  // of the join
  std::span<const BitSweep> sweeps;
  uint16_t* counts;  // [kRows][kGroups][2][kLookupColumns / 2]: of even bytes, of odd bytes
};

inline constexpr int kLookupRows = 4;
inline constexpr int kLookupGroups = HWY_TARGET == HWY_AVX3 ? 4 : 2;
inline constexpr int64_t kLookupSteps = 255 / 8;  // steps before a byte overflows

// Adds the products of 8 k: two indices of a byte of weights, two tables of every row.
template <int kRows, int kGroups>
HWY_INLINE void lookup_step(VB8 (&acc)[kRows][kGroups], const uint16_t* const* rows, int64_t a,
                            const uint8_t* b, const TileLookup& t) {
  const DB8 d;
  VB8 low[kGroups], high[kGroups];
  const VB8 nibble = hn::Set(d, uint8_t{15});
#pragma GCC unroll kUnroll
  for (int j = 0; j < kGroups; ++j) {
    const VB8 index = hn::LoadU(d, b + j * t.group_stride);
    low[j] = hn::And(index, nibble);
    high[j] = hn::And(hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(D16(), index))), nibble);
  }
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
    const VB8 first = hn::Load(d, t.tables + rows[i][a]);
#pragma GCC unroll kUnroll
    for (int j = 0; j < kGroups; ++j) {
      acc[i][j] = hn::Add(acc[i][j], hn::TableLookupBytes(first, low[j]));
    }
    const VB8 second = hn::Load(d, t.tables + rows[i][a + 1]);
#pragma GCC unroll kUnroll
    for (int j = 0; j < kGroups; ++j) {
      acc[i][j] = hn::Add(acc[i][j], hn::TableLookupBytes(second, high[j]));
    }
  }
}

// Byte sums go to the 16-bit counts, which are doubled where `doubles`.
template <int kRows, int kGroups>
HWY_INLINE void flush_bytes(VB8 (&acc)[kRows][kGroups], const TileLookup& t, bool doubles) {
  const D16 d;
  uint16_t* p = t.counts;
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kGroups; ++j, p += kLookupColumns) {
      const auto bytes = hn::BitCast(d, acc[i][j]);
      auto even = hn::Add(hn::Load(d, p), hn::And(bytes, hn::Set(d, uint16_t{0xFF})));
      auto odd = hn::Add(hn::Load(d, p + kLookupColumns / 2), hn::ShiftRight<8>(bytes));
      if (doubles) {
        even = hn::Add(even, even);
        odd = hn::Add(odd, odd);
      }
      hn::Store(even, d, p);
      hn::Store(odd, d, p + kLookupColumns / 2);
      acc[i][j] = hn::Zero(DB8());
    }
  }
}

template <int kRows, int kGroups>
HWY_NOINLINE void tile_lookup(const TileLookup& t) {
  VB8 acc[kRows][kGroups];
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kGroups; ++j) acc[i][j] = hn::Zero(DB8());
  }
  std::memset(t.counts, 0, size_t{kRows} * kGroups * kLookupColumns * sizeof(uint16_t));
  const int64_t b_plane = t.bytes * kLookupColumns;
  const int64_t b_tap = t.group_stride / t.taps;
  int64_t room = kLookupSteps;
  for (const BitSweep& s : t.sweeps) {
    if (s.doubles) {
      flush_bytes(acc, t, true);
      room = kLookupSteps;
    }
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      const uint16_t* const* rows = t.rows + tap * kRows;
      const uint8_t* b = t.b + tap * b_tap + s.b * b_plane;
      int64_t a = s.a * t.a_plane;
      for (int64_t done = 0; done < t.bytes;) {
        const int64_t steps = std::min(room, t.bytes - done);
        for (int64_t n = 0; n < steps; ++n, b += kLookupColumns, a += 2) {
          lookup_step(acc, rows, a, b, t);
        }
        done += steps;
        room -= steps;
        if (room > 0) continue;
        flush_bytes(acc, t, false);
        room = kLookupSteps;
      }
    }
  }
  flush_bytes(acc, t, false);
}

struct TileKernelLookup {
  static constexpr TileLimits kLimits = {kLookupRows, kLookupGroups};
  static constexpr int kFewRows = 0;
  using Function = void (*)(const TileLookup&);
  template <int kRows, int kGroups>
  static constexpr Function function = &tile_lookup<kRows, kGroups>;
};

inline TileKernelLookup::Function lookup_function(int64_t rows, int64_t groups) {
  using Rows = std::make_integer_sequence<int, kLookupRows>;
  static constexpr auto kMany = tile_functions<TileKernelLookup, kLookupGroups>(Rows());
  static constexpr auto kOne = tile_functions<TileKernelLookup, 1>(Rows());
  return groups == kLookupGroups ? kMany[static_cast<size_t>(rows - 1)]
                                 : kOne[static_cast<size_t>(rows - 1)];
}

// The counts of the `part`-th kLanes columns of a group; see column_place.
HWY_INLINE VI counts_of_part(const uint16_t* counts, int part) {
  const hn::Repartition<uint16_t, DI> d16;
  const VI words = hn::BitCast(DI(), hn::Load(d16, counts + (part % 2) * (kLookupColumns / 2)));
  if (part < 2) return hn::And(words, hn::Set(DI(), 0xFFFF));
  const hn::RebindToUnsigned<DI> du;
  return hn::BitCast(DI(), hn::ShiftRight<16>(hn::BitCast(du, words)));
}

#endif

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
