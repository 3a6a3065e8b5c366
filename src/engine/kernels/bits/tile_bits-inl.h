// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_TILE_BITS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_TILE_BITS_INL_H
#undef OUNCE_ENGINE_KERNELS_TILE_BITS_INL_H
#else
#define OUNCE_ENGINE_KERNELS_TILE_BITS_INL_H
#endif

#include "engine/kernels/bits/product_bits-inl.h"
#include "engine/kernels/blocking/tiles-inl.h"
#include "engine/kernels/vector/tally-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Register budget: counters, two halves of every plane of two panels and of a row, and a temporary.
// AVX-512: 10 x 2 + 4 + 2 + 1 = 27 of 32 with one plane and one register a counter; 5 x 2 x 2 + 8 +
// 4 = 32 with two. AVX2: 2 x 2 x 2 + 4 + 2 + 2 = 16 of 16. NEON: 3 x 4 + 8 + 2 + 1 = 23 of 32.
template <class Counter>
constexpr TileLimits limits_of_counter() {
#if HWY_CAP_GE512
  if (Counter::kRegisters == 2) return {5, 2};
  return {Counter::kPlanesB == 2 ? 8 : 10, 2};
#elif HWY_TARGET == HWY_NEON
  return {3, 1};
#else
  return {2, 1};
#endif
}
inline constexpr int kFewRowsBits = HWY_CAP_GE512 ? 2 : 0;

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
  int32_t factor;              // 1 or -2: sums are offsets + factor * what was counted
  const int32_t* offsets;      // [kPanels * 16]
  const int32_t* row_offsets;  // [kRows] added as well, or null
  int32_t* sums;               // rows `stride` apart
  int64_t stride;
  // Scaled here, straight from the registers, where nothing but scale, bias and clamp is asked for
  // and all columns exist; or null.
  float* floats;
  int64_t float_stride;
  const float* scale;  // [kPanels * 16]
  const float* bias;   // the same, or null
  Clamp clamp;
};

HWY_INLINE VI load_lanes32(const uint32_t* p) {
  return hn::BitCast(DI(), hn::LoadU(hn::Repartition<uint32_t, DI>(), p));
}

// Each half is read by itself: a broadcast from memory costs a load, one from a general register
// more.
HWY_INLINE HalfWords broadcast_halves(const uint64_t* p) {
  const auto* bytes = reinterpret_cast<const std::byte*>(p);
  int32_t low, high;
  std::memcpy(&low, bytes, sizeof(low));
  std::memcpy(&high, bytes + sizeof(low), sizeof(high));
  return HalfWords(hn::Set(DI(), low), hn::Set(DI(), high));
}

// `words` words of one run of every row.
template <class Counter, int kRows, int kVectors>
HWY_INLINE void count_words(Counter (&counters)[kRows][kVectors], const uint64_t* const* rows,
                            int64_t a, const uint32_t* b, int64_t words, const TileBits& t) {
  for (int64_t w = 0; w < words; ++w, ++a, b += 2 * kPanelColumns) {
    HalfWords bv[kVectors][Counter::kPlanesB];
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      const uint32_t* p = b + (j / kPanelVectors) * t.panel_stride + (j % kPanelVectors) * kLanes;
#pragma GCC unroll kUnroll
      for (int plane = 0; plane < Counter::kPlanesB; ++plane) {
        bv[j][plane] = HalfWords(load_lanes32(p + plane * t.b_plane),
                                 load_lanes32(p + plane * t.b_plane + kPanelColumns));
      }
    }
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) {
      HalfWords av[Counter::kPlanesA];
#pragma GCC unroll kUnroll
      for (int plane = 0; plane < Counter::kPlanesA; ++plane) {
        av[plane] = broadcast_halves(rows[i] + a + plane * t.a_plane);
      }
#pragma GCC unroll kUnroll
      for (int j = 0; j < kVectors; ++j) counters[i][j].step(av, bv[j]);
    }
  }
}

// What counters hold goes to the sums.
template <class Counter>
HWY_NOINLINE void add_counted(const Counter* counted, const TileBits& t, int64_t rows,
                              int64_t vectors, bool doubles) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < vectors; ++j) {
      int32_t* p = t.sums + i * t.stride + j * kLanes;
      const VI sum = hn::Add(hn::LoadU(DI(), p), (counted++)->sum());
      hn::StoreU(doubles ? hn::Add(sum, sum) : sum, DI(), p);
    }
  }
}

// The same, and the counters begin anew. (It is a copy of them that goes through memory: they
// themselves would be forced out of their registers.)
template <class Counter, int kRows, int kVectors>
HWY_INLINE void take_sums(Counter (&counters)[kRows][kVectors], const TileBits& t, bool doubles) {
  Counter counted[kRows][kVectors];
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      counted[i][j] = counters[i][j];
      counters[i][j].reset();
    }
  }
  add_counted(counted[0], t, kRows, kVectors, doubles);
}

template <class Counter, int kRows, int kVectors>
HWY_INLINE void double_counters(Counter (&counters)[kRows][kVectors]) {
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) counters[i][j].twice();
  }
}

template <class Counter, int kRows, int kVectors>
HWY_INLINE void sweep(Counter (&counters)[kRows][kVectors], const BitSweep& s,
                      [[maybe_unused]] int64_t& room, const TileBits& t) {
  for (int64_t tap = 0; tap < t.taps; ++tap) {
    const uint64_t* const* rows = t.rows + tap * kRows;
    const uint32_t* b = t.b + tap * t.b_tap + s.b * t.b_plane;
    if constexpr (Counter::kSteps == kUnlimited) {
      count_words(counters, rows, s.a * t.a_plane, b, t.words, t);
    } else {
      for (int64_t first = 0; first < t.words;) {
        const int64_t words = std::min(room, t.words - first);
        count_words(counters, rows, s.a * t.a_plane + first, b + first * 2 * kPanelColumns, words,
                    t);
        first += words;
        room -= words;
        if (room > 0) continue;
        take_sums(counters, t, false);
        room = Counter::kSteps;
      }
    }
  }
}

// Sums from what was counted, and to where they go: to the sums of the tile, or scaled to the
// output. kFactor is one of a counter.
template <int32_t kFactor, bool kFloats>
class SumWriter {
 public:
  HWY_INLINE explicit SumWriter(const TileBits& t)
      : t_(t),
        factor_(hn::Set(DI(), t.factor)),
        lo_(constant(t.clamp.lo)),
        hi_(constant(t.clamp.hi)) {}

  // Vectors from now on are of columns [column, column + kLanes).
  HWY_INLINE void enter(int64_t column) {
    column_ = column;
    offset_ = hn::LoadU(DI(), t_.offsets + column);
    if constexpr (kFloats) {
      scale_ = hn::LoadU(DF(), t_.scale + column);
      bias_ = t_.bias == nullptr ? hn::Zero(DF()) : hn::LoadU(DF(), t_.bias + column);
    }
  }
  HWY_INLINE void write(int64_t row, VI counted) const {
    VI sum;
    if constexpr (kFactor == 1) {
      sum = hn::Add(offset_, counted);
    } else if constexpr (kFactor == -2) {
      sum = hn::Sub(offset_, hn::Add(counted, counted));
    } else {
      sum = hn::Add(offset_, hn::Mul(counted, factor_));
      if (t_.row_offsets != nullptr) sum = hn::Add(sum, hn::Set(DI(), t_.row_offsets[row]));
    }
    if constexpr (kFloats) {
      const VF x = hn::Add(hn::Mul(hn::ConvertTo(DF(), sum), scale_), bias_);
      hn::StoreU(at_most(at_least(x, lo_), hi_), DF(), t_.floats + row * t_.float_stride + column_);
    } else {
      hn::StoreU(sum, DI(), t_.sums + row * t_.stride + column_);
    }
  }

 private:
  const TileBits& t_;
  VI factor_, offset_;
  VF lo_, hi_, scale_, bias_;
  int64_t column_;
};

// Of counters that hold all there is.
template <bool kFloats, class Counter, int kRows, int kVectors>
HWY_INLINE void write_counters(const Counter (&counters)[kRows][kVectors], const TileBits& t) {
  SumWriter<Counter::kFactor, kFloats> writer(t);
#pragma GCC unroll kUnroll
  for (int j = 0; j < kVectors; ++j) {
    writer.enter(j * kLanes);
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) writer.write(i, counters[i][j].sum());
  }
}

// Of counts that are in the sums.
template <bool kFloats>
HWY_NOINLINE void write_sums(const TileBits& t, int64_t rows, int64_t vectors) {
  SumWriter<kEitherFactor, kFloats> writer(t);
  for (int64_t j = 0; j < vectors; ++j) {
    writer.enter(j * kLanes);
    for (int64_t i = 0; i < rows; ++i) {
      writer.write(i, hn::LoadU(DI(), t.sums + i * t.stride + j * kLanes));
    }
  }
}

template <class Counter, int kRows, int kPanels>
HWY_NOINLINE void tile_bits(const TileBits& t) {
  constexpr int kVectors = kPanels * kPanelVectors;
  constexpr bool kInRegisters = Counter::kSteps == kUnlimited;
  Counter counters[kRows][kVectors];
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      counters[i][j].reset();
      if (!kInRegisters) hn::StoreU(hn::Zero(DI()), DI(), t.sums + i * t.stride + j * kLanes);
    }
  }
  int64_t room = Counter::kSteps;
  for (const BitSweep& s : t.sweeps) {
    if constexpr (kInRegisters) {
      if (s.doubles) double_counters(counters);
    } else if (s.doubles) {
      take_sums(counters, t, true);
      room = Counter::kSteps;
    }
    sweep(counters, s, room, t);
  }
  if constexpr (kInRegisters) {
    return t.floats != nullptr ? write_counters<true>(counters, t)
                               : write_counters<false>(counters, t);
  } else {
    take_sums(counters, t, false);
    return t.floats != nullptr ? write_sums<true>(t, kRows, kVectors)
                               : write_sums<false>(t, kRows, kVectors);
  }
}

template <class Counter>
struct TileKernelBits {
  static constexpr TileLimits kLimits = limits_of_counter<Counter>();
  static constexpr int kFewRows = kFewRowsBits;
  using Function = void (*)(const TileBits&);
  template <int kRows, int kPanels>
  static constexpr Function function = &tile_bits<Counter, kRows, kPanels>;
};

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
