// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_GEMV_CODES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_GEMV_CODES_INL_H
#undef OUNCE_ENGINE_KERNELS_GEMV_CODES_INL_H
#else
#define OUNCE_ENGINE_KERNELS_GEMV_CODES_INL_H
#endif

#include "engine/kernels/blocking/sum_tile-inl.h"
#include "engine/kernels/codes/codes-inl.h"
#include "engine/kernels/codes/gemv_codes.h"
#include "hwy/cache_control.h"

// Products of few rows: a packed byte is read once, decoded in a register and met by all rows.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Activations of one word in every lane.
HWY_INLINE VI word_of(const int8_t* x) {
  return hn::Set(DI(), static_cast<int32_t>(load_word(x)));
}

// PartialSums adds blocks until some register might overflow, after kMostBlocks; `total` is what
// they sum to.
#if HWY_TARGET == HWY_AVX3_DL

// As assembly: of the intrinsic's result the compiler makes copies, which cost a third of the loop.
HWY_INLINE VI add_products(VI sum, VI codes, VI a) {
  __m512i value = sum.raw;
  asm("vpdpbusd %2, %1, %0" : "+v"(value) : "v"(codes.raw), "v"(a.raw));
  return VI{value};
}

// Codes stay where they lie in their byte, so that each place has a sum of its own, which is a
// multiple of its shift.
template <class Dot, int kBits, int kRows, int kVectors>
struct PartialSums {
  using B = Block<kBits>;
  // 255 * 128 * 65536 < 2^31.
  static constexpr int64_t kMostBlocks = 65536 / B::kElements;
  HWY_INLINE PartialSums() {
    unroll<B::kClasses * kRows * kVectors>([&](auto at)
                                               OUNCE_INLINE_LAMBDA { sums[at] = hn::Zero(DI()); });
  }
  static constexpr int index(int c, int i, int j) { return (c * kRows + i) * kVectors + j; }
  template <int t>
  HWY_INLINE void add_word(const B (&block)[kVectors], const int8_t* const (&x)[kRows]) {
    VI a[kRows];
    unroll<kRows>([&](auto i) OUNCE_INLINE_LAMBDA { a[i] = word_of(x[i] + 4 * t); });
    unroll<kVectors>([&](auto j) OUNCE_INLINE_LAMBDA {
      const VI codes = hn::BitCast(DI(), block[j].template placed<t>());
      unroll<kRows>([&](auto i) OUNCE_INLINE_LAMBDA {
        constexpr int kAt = index(B::class_of(t), decltype(i)::value, decltype(j)::value);
        sums[kAt] = add_products(sums[kAt], codes, a[i]);
      });
    });
  }
  template <int c = 0>
  HWY_INLINE VI total(int i, int j) const {
    const VI sum = hn::ShiftRight<B::class_shift(c)>(sums[index(c, i, j)]);
    if constexpr (c + 1 == B::kClasses) {
      return sum;
    } else {
      return hn::Add(sum, total<c + 1>(i, j));
    }
  }
  VI sums[B::kClasses * kRows * kVectors];
};

#elif HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2

HWY_INLINE hn::Vec256<int32_t> byte_pair_sums(hn::Vec256<int32_t> a, hn::Vec256<int32_t> b) {
  return hn::Vec256<int32_t>{_mm256_maddubs_epi16(a.raw, b.raw)};
}
#if HWY_TARGET == HWY_AVX3
HWY_INLINE hn::Vec512<int32_t> byte_pair_sums(hn::Vec512<int32_t> a, hn::Vec512<int32_t> b) {
  return hn::Vec512<int32_t>{_mm512_maddubs_epi16(a.raw, b.raw)};
}
#endif

// Sums of two products fit in 16 bits for codes up to 15, and so do a few of those sums; 8-bit
// codes are widened first.
template <class Dot, int kBits, int kRows, int kVectors>
struct PartialSums {
  using B = Block<kBits>;
  static constexpr int64_t kPairMost = 2 * 128 * ((1 << kBits) - 1);
  static constexpr int64_t kMostBlocks =
      kBits == 8 ? 65536 / B::kElements : 32767 / kPairMost / B::kWords;
  static_assert(kMostBlocks > 0);
  HWY_INLINE PartialSums() {
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
      for (int j = 0; j < kVectors; ++j) sums[i][j] = hn::Zero(DI());
    }
  }
  template <int t>
  HWY_INLINE void add_word(const B (&block)[kVectors], const int8_t* const (&x)[kRows]) {
    const hn::Repartition<int16_t, DI> d16;
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      const VI codes = hn::BitCast(DI(), block[j].template stored<t>());
#pragma GCC unroll kUnroll
      for (int i = 0; i < kRows; ++i) {
        const VI a = word_of(x[i] + 4 * t);
        if constexpr (kBits == 8) {
          sums[i][j] = Dot::dot(sums[i][j], Dot::prepare_a(codes), Dot::prepare_b(a));
        } else {
          const auto pairs = hn::BitCast(d16, byte_pair_sums(codes, a));
          sums[i][j] = hn::BitCast(DI(), hn::Add(hn::BitCast(d16, sums[i][j]), pairs));
        }
      }
    }
  }
  HWY_INLINE VI total(int i, int j) const {
    if constexpr (kBits == 8) return sums[i][j];
    const hn::Repartition<int16_t, DI> d16;
    return pair_sums(sums[i][j], hn::BitCast(DI(), hn::Set(d16, 1)));
  }
  VI sums[kRows][kVectors];  // of pairs of 16 bits, where codes have fewer than 8
};

#else

template <class Dot, int kBits, int kRows, int kVectors>
struct PartialSums {
  using B = Block<kBits>;
  static constexpr int64_t kMostBlocks = 65536 / B::kElements;
  HWY_INLINE PartialSums() {
#pragma GCC unroll kUnroll
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
      for (int j = 0; j < kVectors; ++j) sums[i][j] = hn::Zero(DI());
    }
  }
  template <int t>
  HWY_INLINE void add_word(const B (&block)[kVectors], const int8_t* const (&x)[kRows]) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      const VI codes = hn::BitCast(DI(), block[j].template stored<t>());
#pragma GCC unroll kUnroll
      for (int i = 0; i < kRows; ++i) {
        const VI a = word_of(x[i] + 4 * t);
#if HWY_TARGET == HWY_NEON
        // Signed by signed: codes below 128 are what they are, and of 8 bits prepare_a makes the
        // canonical ones.
        const auto signed_codes =
            kBits == 8 ? Dot::prepare_a(codes) : vreinterpretq_s8_s32(codes.raw);
        sums[i][j] = Dot::dot(sums[i][j], signed_codes, vreinterpretq_s8_s32(a.raw));
#else
        sums[i][j] = Dot::dot(sums[i][j], codes, a);
#endif
      }
    }
  }
  HWY_INLINE VI total(int i, int j) const {
    return sums[i][j];
  }
  VI sums[kRows][kVectors];
};

#endif

// What a stored code stands for in the sums: code = factor * stored + offset.
template <class Dot, int kBits>
constexpr int32_t sum_offset(CodeFormat format) {
  return stored_offset(format) + (kBits == 8 ? Dot::kInputShift : 0);
}

template <int t, class Sums, int kBits, int kRows, int kVectors>
HWY_INLINE void add_words(Sums& sums, const Block<kBits> (&block)[kVectors],
                          const int8_t* const (&x)[kRows]) {
  if constexpr (t < Block<kBits>::kWords) {
    sums.template add_word<t>(block, x);
    add_words<t + 1>(sums, block, x);
  }
}

// The columns that a kernel has at a time: panels, but where a vector is one lane, one column.
inline constexpr int64_t kPassColumns = HWY_TARGET == HWY_SCALAR ? 1 : kPanelColumns;
inline constexpr int kPassVectors = static_cast<int>(kPassColumns) / kLanes;

// One tile: all rows, and up to kMostTilePanels panels side by side. In place of panels that do not
// exist, the last one is taken again.
struct GemvTile {
  const PackedCodes* b;
  ScaleSource scales;
  int64_t groups, blocks, group_blocks;
  int64_t lane;  // of the panels, multiple of kPassColumns
  const uint8_t* data[kMostTilePanels];
  int64_t entries[kMostTilePanels];  // [panels][groups] of group 0
  int64_t x_stride;                  // elements between rows of activations
  const int8_t* x;                   // signed, zero behind their end; or
  const float* xf;
  const int32_t* x_sums;  // [rows][groups], or
  const float* xf_sums;
  int32_t* sums;  // [rows][kSumStride] at the lane, or
  float* values;
};

// Register j of a tile.
constexpr int panel_of(int j) {
  return j / kPassVectors;
}
constexpr int64_t lane_of(int j) {
  return static_cast<int64_t>(j % kPassVectors) * kLanes;
}

HWY_INLINE const int8_t* zeros_of(const GemvTile& t, int j, int64_t group) {
  const int64_t at = (t.entries[panel_of(j)] + group) * kPanelColumns + t.lane + lane_of(j);
  return t.b->zero_points.data() + at;
}
HWY_INLINE VF scale_of(const GemvTile& t, int j, int64_t group) {
  return t.scales.load(t.entries[panel_of(j)] + group, t.lane + lane_of(j));
}

// The compiler would load a register once for every mask.
HWY_INLINE void keep_loaded([[maybe_unused]] VU& value) {
#if HWY_TARGET == HWY_AVX3_DL
  asm("" : "+v"(value.raw));
#endif
}

// Blocks ahead of the one in work are fetched this many bytes before.
inline constexpr int64_t kFetchAhead = 1024;

template <int kBits, int kVectors>
HWY_INLINE void load_blocks(Block<kBits> (&block)[kVectors], const GemvTile& t, int64_t offset) {
  unroll<kVectors>([&](auto j) OUNCE_INLINE_LAMBDA {
    const uint8_t* at = t.data[panel_of(j)] + offset;
    block[j].load(at, t.lane + lane_of(j));
    unroll<Block<kBits>::kVectors>([&](auto v) OUNCE_INLINE_LAMBDA { keep_loaded(block[j].v[v]); });
    // Panels side by side are too many streams for the processor's own prefetching.
    if constexpr (kVectors > kPassVectors && j % kPassVectors == 0) {
      unroll<Block<kBits>::kVectors>(
          [&](auto v) OUNCE_INLINE_LAMBDA { hwy::Prefetch(at + kFetchAhead + 64 * v); });
    }
  });
}

template <int kRows, int kVectors>
HWY_INLINE void store_tile(const VI (&sums)[kRows][kVectors], int32_t* out) {
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      hn::StoreU(sums[i][j], DI(), out + i * kSumStride + panel_of(j) * kPanelColumns + lane_of(j));
    }
  }
}
template <int kRows, int kVectors>
HWY_INLINE void store_tile(const VF (&values)[kRows][kVectors], float* out) {
#pragma GCC unroll kUnroll
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll kUnroll
    for (int j = 0; j < kVectors; ++j) {
      hn::StoreU(values[i][j], DF(),
                 out + i * kSumStride + panel_of(j) * kPanelColumns + lane_of(j));
    }
  }
}

// A kernel for one row or for kGemvRows, with so many panels side by side.
struct GemvFunction {
  void (*run)(const GemvTile&);
  int64_t rows, panels;

  // Of a tile: fewer side by side come one after the other, before the epilogue.
  int64_t tile_panels() const { return kMostTilePanels / panels * panels; }
};

// Calls run(tile, first row, rows, first column, columns) for tiles of all panels and `m` rows, on
// all threads. All rows meet a panel while it is in the cache.
template <class Run>
void for_panel_tiles(const Context& context, const PackedCodes& b, int64_t m,
                     const GemvFunction& function, const Run& run) {
  const int64_t panels = b.panels();
  const int64_t panel_bytes = b.panel_bytes();
  const int64_t block_elements = PackedCodes::block_elements(b.format);
  const int64_t groups = b.groups();
  const int64_t blocks = ceil_div(b.run, block_elements);
  const int64_t group_blocks = b.group == 0 ? blocks : b.group / block_elements;
  const int64_t width = function.tile_panels();
  context.pool.parallel_for(ceil_div(panels, width), [&](int64_t tile, int) HWY_ATTR {
    GemvTile t{&b, ScaleSource(b), groups,  blocks,  group_blocks, 0,       {},     {},
               0,  nullptr,        nullptr, nullptr, nullptr,      nullptr, nullptr};
    const int64_t first = tile * width;
    for (int64_t p = 0; p < width; ++p) {
      const int64_t panel = std::min(first + p, panels - 1);
      t.data[p] = b.data.data() + panel * panel_bytes;
      t.entries[p] = panel * groups;
    }
    const int64_t column = first * kPanelColumns;
    const int64_t columns = std::min(width * kPanelColumns, b.n - column);
    for (int64_t row = 0; row < m; row += function.rows) {
      run(t, row, std::min(function.rows, m - row), column, columns);
    }
  });
}

// All columns of a tile.
HWY_INLINE void run_passes(const GemvFunction& function, const GemvTile& tile, int64_t columns) {
  for (int64_t first = 0; first * kPanelColumns < columns; first += function.panels) {
    GemvTile t = tile;
    for (int64_t p = 0; p < function.panels; ++p) {
      t.data[p] = tile.data[first + p];
      t.entries[p] = tile.entries[first + p];
    }
    for (t.lane = 0; t.lane < kPanelColumns; t.lane += kPassColumns) {
      const int64_t at = first * kPanelColumns + t.lane;
      t.sums = tile.sums == nullptr ? nullptr : tile.sums + at;
      t.values = tile.values == nullptr ? nullptr : tile.values + at;
      function.run(t);
    }
  }
}

// The portable level would gain nothing from more rows.
template <class Kernels>
GemvFunction function_for([[maybe_unused]] int64_t rows) {
#if HWY_TARGET != HWY_SCALAR
  if (rows > 1) return Kernels::template make<static_cast<int>(kGemvRows)>();
#endif
  return Kernels::template make<1>();
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
