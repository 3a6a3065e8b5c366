// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_PACK_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_PACK_INL_H
#undef OUNCE_ENGINE_KERNELS_PACK_INL_H
#else
#define OUNCE_ENGINE_KERNELS_PACK_INL_H
#endif

#include "engine/kernels/vector/dot4-inl.h"
#include "engine/kernels/vector/simd-inl.h"

// Panels of 16 columns of 32-bit words: a word is one f32, or four consecutive k of 8-bit codes.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// panel[k][16] = source[column][k] for `columns` <= 16 rows of source, `stride` bytes apart; the
// other columns become zero. Words need no alignment.
inline void pack_columns(const std::byte* source, int64_t stride, int64_t columns, int64_t words,
                         uint32_t* panel) {
  int64_t k = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::Full128<uint32_t> d;
  const hn::Full128<uint64_t> d2;
  const hn::Full128<uint8_t> d8;
  for (; columns == kPanelColumns && k + 4 <= words; k += 4) {
    for (int64_t c = 0; c < kPanelColumns; c += 4) {
      const auto row = [&](int64_t i) HWY_ATTR {
        const std::byte* p = source + (c + i) * stride + k * 4;
        return hn::BitCast(d, hn::LoadU(d8, reinterpret_cast<const uint8_t*>(p)));
      };
      const auto r0 = row(0), r1 = row(1), r2 = row(2), r3 = row(3);
      // 4 x 4 transpose: words of rows 0,1 and 2,3 side by side, then pairs of them.
      const auto a = hn::BitCast(d2, hn::InterleaveLower(d, r0, r1));
      const auto b = hn::BitCast(d2, hn::InterleaveLower(d, r2, r3));
      const auto e = hn::BitCast(d2, hn::InterleaveUpper(d, r0, r1));
      const auto f = hn::BitCast(d2, hn::InterleaveUpper(d, r2, r3));
      uint32_t* out = panel + k * kPanelColumns + c;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, a, b)), d, out);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, a, b)), d, out + kPanelColumns);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, e, f)), d, out + 2 * kPanelColumns);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, e, f)), d, out + 3 * kPanelColumns);
    }
  }
#endif
  for (; k < words; ++k) {
    for (int64_t c = 0; c < kPanelColumns; ++c) {
      panel[k * kPanelColumns + c] = c < columns ? load_word(source + c * stride + k * 4) : 0;
    }
  }
}

// Flips the top bit of every byte: unsigned code c becomes the signed byte c - 128.
inline void flip_signs(int8_t* bytes, int64_t count) {
  const hn::ScalableTag<uint8_t> d;
  constexpr int64_t kBytes = static_cast<int64_t>(HWY_LANES(uint8_t));
  uint8_t* p = reinterpret_cast<uint8_t*>(bytes);
  int64_t i = 0;
  for (; i + kBytes <= count; i += kBytes) {
    hn::StoreU(hn::Xor(hn::LoadU(d, p + i), hn::Set(d, uint8_t{0x80})), d, p + i);
  }
  for (; i < count; ++i) p[i] ^= 0x80;
}

// panel[k / 4][16][4] from rows k of a [K, N] matrix of bytes: 16 columns starting at `source`, of
// which `columns` exist.
inline void pack_byte_rows(const int8_t* source, int64_t stride, int64_t columns, int64_t k_count,
                           int8_t* panel) {
  int64_t k = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::Full128<uint8_t> d;
  const hn::Full128<uint16_t> d2;
  for (; columns == kPanelColumns && k + 4 <= k_count; k += 4) {
    const auto row = [&](int64_t i) HWY_ATTR {
      return hn::LoadU(d, reinterpret_cast<const uint8_t*>(source + (k + i) * stride));
    };
    const auto r0 = row(0), r1 = row(1), r2 = row(2), r3 = row(3);
    const auto a = hn::BitCast(d2, hn::InterleaveLower(d, r0, r1));
    const auto b = hn::BitCast(d2, hn::InterleaveLower(d, r2, r3));
    const auto e = hn::BitCast(d2, hn::InterleaveUpper(d, r0, r1));
    const auto f = hn::BitCast(d2, hn::InterleaveUpper(d, r2, r3));
    uint8_t* out = reinterpret_cast<uint8_t*>(panel + k * kPanelColumns);
    hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, a, b)), d, out);
    hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, a, b)), d, out + 16);
    hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, e, f)), d, out + 32);
    hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, e, f)), d, out + 48);
  }
#endif
  for (; k < k_count; ++k) {
    int8_t* out = panel + k / 4 * 4 * kPanelColumns + k % 4;
    for (int64_t c = 0; c < kPanelColumns; ++c) {
      out[c * 4] = c < columns ? source[k * stride + c] : int8_t{0};
    }
  }
}

// sums[16] = column sums of a panel of `words` groups of four bytes.
template <class Dot>
inline void panel_column_sums(const int8_t* panel, int64_t words, int32_t* sums) {
  const auto ones = broadcast_word<Dot>(0x01010101U * static_cast<uint32_t>(1 + Dot::kInputShift));
  for (int64_t c = 0; c < kPanelColumns; c += kLanes) {
    VI sum = hn::Zero(DI());
    for (int64_t k = 0; k < words; ++k) {
      sum = Dot::dot(sum, ones, Dot::prepare_b(load_words(panel + (k * kPanelColumns + c) * 4)));
    }
    hn::StoreU(sum, DI(), sums + c);
  }
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
