// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_TILE_BITS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_TILE_BITS_INL_H
#undef OUNCE_ENGINE_KERNELS_TILE_BITS_INL_H
#else
#define OUNCE_ENGINE_KERNELS_TILE_BITS_INL_H
#endif

#include "engine/kernels/tally-inl.h"
#include "engine/kernels/tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Register budget with two registers a counter: 6 x 2 counters, two halves of two panels, and
// temporaries: 24 + 4 + 3 = 31 of 32 (AVX-512); 2 x 2 counters: 8 + 4 + 4 = 16 of 16 (AVX2);
// 3 x 4 counters of one register: 12 + 8 + 4 = 24 of 32 (NEON).
#if HWY_CAP_GE512
inline constexpr TileLimits kTileBits = {6, 2};
inline constexpr int kFewRowsBits = 2;
#elif HWY_TARGET == HWY_NEON
inline constexpr TileLimits kTileBits = {3, 1};
inline constexpr int kFewRowsBits = 0;
#else
inline constexpr TileLimits kTileBits = {2, 1};
inline constexpr int kFewRowsBits = 0;
#endif

// One sweep over K: planes of A and B that meet. Sums are doubled before it where `doubles`: sweeps
// go from the highest level 2^(plane of A + plane of B) down.
struct BitSweep {
  int64_t a;  // 64-bit words from a row pointer to the plane
  int64_t b;  // 32-bit words from a tap of a panel to the plane
  bool doubles;
};

// One tile of integer sums: kRows x (kPanels * 16).
struct TileBits {
  const uint64_t* const* rows;  // [taps][kRows]
  int64_t taps;
  int64_t words;           // 64-bit words of a plane of a tap
  int64_t a_plane;         // 64-bit words between planes of A
  const uint32_t* b;       // first panel, [tap][plane][2 * words][16]
  int64_t b_tap, b_plane;  // 32-bit words between taps and planes of B
  int64_t panel_stride;    // 32-bit words between panels
  std::span<const BitSweep> sweeps;
  int32_t factor;          // sums are offsets + factor * what was counted
  const int32_t* offsets;  // [kPanels * 16]
  int32_t* sums;           // rows `stride` apart
  int64_t stride;
};

HWY_INLINE VI load_lanes32(const uint32_t* p) {
  return hn::BitCast(DI(), hn::LoadU(hn::Repartition<uint32_t, DI>(), p));
}

HWY_INLINE HalfWords broadcast_halves(const uint64_t* p) {
  int32_t halves[2];
  std::memcpy(halves, p, sizeof(halves));
  return {{hn::Set(DI(), halves[0]), hn::Set(DI(), halves[1])}};
}

// `words` words of one run of every row.
template <class Counter, int kRows, int kVectors>
HWY_INLINE void count_words(Counter (&counters)[kRows][kVectors], const uint64_t* const* rows,
                            int64_t a, const uint32_t* b, int64_t words, const TileBits& t) {
  for (int64_t w = 0; w < words; ++w, ++a, b += 2 * kPanelColumns) {
    HalfWords bv[kVectors][Counter::kPlanesB];
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      const uint32_t* p = b + (j / kPanelVectors) * t.panel_stride + (j % kPanelVectors) * kLanes;
#pragma GCC unroll 2
      for (int plane = 0; plane < Counter::kPlanesB; ++plane) {
        bv[j][plane] = {{load_lanes32(p + plane * t.b_plane),
                         load_lanes32(p + plane * t.b_plane + kPanelColumns)}};
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      HalfWords av[Counter::kPlanesA];
#pragma GCC unroll 2
      for (int plane = 0; plane < Counter::kPlanesA; ++plane) {
        av[plane] = broadcast_halves(rows[i] + a + plane * t.a_plane);
      }
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) counters[i][j].step(av, bv[j]);
    }
  }
}

// sums = f(sums, counter) for a tile.
template <class Counter, int kRows, int kVectors, class F>
HWY_INLINE void update_sums(const TileBits& t, Counter (&counters)[kRows][kVectors], const F& f) {
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      int32_t* p = t.sums + i * t.stride + j * kLanes;
      hn::StoreU(f(p, counters[i][j], j), DI(), p);
    }
  }
}

template <class Counter, int kRows, int kVectors>
HWY_INLINE void take_sums(const TileBits& t, Counter (&counters)[kRows][kVectors]) {
  update_sums(t, counters, [](const int32_t* p, Counter& counter, int) HWY_ATTR {
    const VI sum = hn::Add(hn::LoadU(DI(), p), counter.sum());
    counter.reset();
    return sum;
  });
}

template <class Counter, int kRows, int kVectors>
HWY_INLINE void sweep(Counter (&counters)[kRows][kVectors], const BitSweep& s, int64_t& room,
                      const TileBits& t) {
  for (int64_t tap = 0; tap < t.taps; ++tap) {
    for (int64_t first = 0; first < t.words;) {
      const int64_t words = std::min(room, t.words - first);
      count_words(counters, t.rows + tap * kRows, s.a + first,
                  t.b + tap * t.b_tap + s.b + first * 2 * kPanelColumns, words, t);
      first += words;
      if constexpr (Counter::kSteps < kUnlimited / 2) {
        room -= words;
        if (room == 0) {
          take_sums(t, counters);
          room = Counter::kSteps;
        }
      }
    }
  }
}

template <class Counter, int kRows, int kPanels>
HWY_NOINLINE void tile_bits(const TileBits& t) {
  constexpr int kVectors = kPanels * kPanelVectors;
  Counter counters[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) counters[i][j].reset();
  }
  update_sums(t, counters, [](const int32_t*, Counter&, int) HWY_ATTR { return hn::Zero(DI()); });
  int64_t room = Counter::kSteps;
  for (const BitSweep& s : t.sweeps) {
    if (s.doubles) {
      update_sums(t, counters, [](const int32_t* p, Counter& counter, int) HWY_ATTR {
        const VI sum = hn::Add(hn::LoadU(DI(), p), counter.sum());
        counter.reset();
        return hn::Add(sum, sum);
      });
      room = Counter::kSteps;
    }
    sweep(counters, s, room, t);
  }
  const VI factor = hn::Set(DI(), t.factor);
  update_sums(t, counters, [&](const int32_t* p, Counter& counter, int j) HWY_ATTR {
    const VI sum = hn::Add(hn::LoadU(DI(), p), counter.sum());
    return hn::Add(hn::LoadU(DI(), t.offsets + j * kLanes), hn::Mul(sum, factor));
  });
}

template <class Counter>
struct TileKernelBits {
  static constexpr TileLimits kLimits = kTileBits;
  static constexpr int kFewRows = kFewRowsBits;
  using Function = void (*)(const TileBits&);
  template <int kRows, int kPanels>
  static constexpr Function function = &tile_bits<Counter, kRows, kPanels>;
};

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
