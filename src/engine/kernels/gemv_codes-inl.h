// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_GEMV_CODES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_GEMV_CODES_INL_H
#undef OUNCE_ENGINE_KERNELS_GEMV_CODES_INL_H
#else
#define OUNCE_ENGINE_KERNELS_GEMV_CODES_INL_H
#endif

#include "engine/kernels/codes-inl.h"
#include "hwy/cache_control.h"

// Sums of stored codes times signed activations for few rows: a packed byte is read once, decoded
// in a register and met by all rows.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Activations of one word in every lane.
HWY_INLINE VI word_of(const int8_t* x) {
  return hn::Set(DI(), static_cast<int32_t>(load_word(x)));
}

// PartialSums adds blocks until some register might overflow, after kMostBlocks; `total` is what
// they sum to.
#if HWY_TARGET == HWY_AVX3_DL

// Codes stay where they lie in their byte, so that each place has a sum of its own, which is a
// multiple of its shift.
template <class Dot, int kBits, int kRows, int kVectors>
struct PartialSums {
  using B = Block<kBits>;
  // 255 * 128 * 65536 < 2^31.
  static constexpr int64_t kMostBlocks = 65536 / B::kElements;
  HWY_INLINE PartialSums() {
#pragma GCC unroll 16
    for (int c = 0; c < B::kClasses; ++c) {
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
        for (int j = 0; j < kVectors; ++j) sums[c][i][j] = hn::Zero(DI());
      }
    }
  }
  template <int t>
  HWY_INLINE void add_word(const B (&block)[kVectors], const int8_t* const (&x)[kRows]) {
    VI a[kRows];
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) a[i] = word_of(x[i] + 4 * t);
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      const VI codes = hn::BitCast(DI(), block[j].template placed<t>());
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        VI& sum = sums[B::class_of(t)][i][j];
        sum = Dot::dot(sum, codes, a[i]);
      }
    }
  }
  template <int c = 0>
  HWY_INLINE VI total(int i, int j) const {
    const VI sum = hn::ShiftRight<B::class_shift(c)>(sums[c][i][j]);
    if constexpr (c + 1 == B::kClasses) {
      return sum;
    } else {
      return hn::Add(sum, total<c + 1>(i, j));
    }
  }
  VI sums[B::kClasses][kRows][kVectors];
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
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) sums[i][j] = hn::Zero(DI());
    }
  }
  template <int t>
  HWY_INLINE void add_word(const B (&block)[kVectors], const int8_t* const (&x)[kRows]) {
    const hn::Repartition<int16_t, DI> d16;
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      const VI codes = hn::BitCast(DI(), block[j].template stored<t>());
#pragma GCC unroll 16
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
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) sums[i][j] = hn::Zero(DI());
    }
  }
  template <int t>
  HWY_INLINE void add_word(const B (&block)[kVectors], const int8_t* const (&x)[kRows]) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      const VI codes = hn::BitCast(DI(), block[j].template stored<t>());
#pragma GCC unroll 16
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

// Blocks ahead of the one in work are fetched this many bytes before.
inline constexpr int64_t kFetchAhead = 1024;

// sums += stored codes times activations over `blocks` blocks; panels `panel_stride` bytes and rows
// of x `x_stride` bytes apart.
template <class Dot, int kBits, int kRows, int kVectors>
HWY_INLINE void add_blocks(VI (&sums)[kRows][kVectors], const uint8_t* data, int64_t panel_stride,
                           const int8_t* x, int64_t x_stride, int64_t blocks) {
  using B = Block<kBits>;
  using Sums = PartialSums<Dot, kBits, kRows, kVectors>;
  const int8_t* rows[kRows];
  for (int i = 0; i < kRows; ++i) rows[i] = x + i * x_stride;
  while (blocks > 0) {
    Sums part;
    const int64_t count = std::min(blocks, Sums::kMostBlocks);
    for (int64_t b = 0; b < count; ++b) {
      B block[kVectors];
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) {
        const uint8_t* at = data + (j / kPanelVectors) * panel_stride;
        block[j].load(at, (j % kPanelVectors) * kLanes);
        if (j % kPanelVectors == 0) {
#pragma GCC unroll 4
          for (int v = 0; v < B::kVectors; ++v) hwy::Prefetch(at + kFetchAhead + 64 * v);
        }
      }
      add_words<0>(part, block, rows);
      data += B::kBytes;
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) rows[i] += B::kElements;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) sums[i][j] = hn::Add(sums[i][j], part.total(i, j));
    }
    blocks -= count;
  }
}

// sum of (code - zero point) * x from the sum of stored * x and `x_sum`, the sum of x. `zeros`: the
// zero points of the columns, or null.
template <int kBits>
HWY_INLINE VI centred_sum(VI stored_sum, int32_t offset, int32_t x_sum, const int8_t* zeros) {
  if constexpr (kBits == 1) {
    stored_sum = hn::Neg(hn::Add(stored_sum, stored_sum));  // the factor of signs
  }
  if (zeros == nullptr) return hn::Add(stored_sum, hn::Set(DI(), offset * x_sum));
  const VI zero = hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<int8_t, DI>(), zeros));
  const VI weight = hn::Sub(hn::Set(DI(), offset), zero);
  return hn::Add(stored_sum, hn::Mul(weight, hn::Set(DI(), x_sum)));
}

// Panels side by side for one tile: as many as keep the accumulators of the widest level (four
// places of 2-bit codes, eight of signs) in registers.
constexpr int gemv_panels(int bits, int rows) {
#if HWY_TARGET == HWY_AVX3_DL
  const int places = bits == 3 ? 3 : 8 / bits;
  return std::clamp(16 / (rows * places), 1, 4);
#elif HWY_TARGET == HWY_SCALAR
  return bits > 0 && rows > 0 ? 1 : 0;
#else
  return bits == 3 || rows > 1 ? 1 : 2;
#endif
}

// The same for float sums, which need one register each, and their decoded codes.
constexpr int gemv_float_panels(int rows) {
  constexpr int kRegisters = HWY_TARGET == HWY_AVX2 ? 6 : 12;
  return HWY_TARGET == HWY_SCALAR ? 1 : std::clamp(kRegisters / (rows * kPanelVectors), 1, 4);
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
