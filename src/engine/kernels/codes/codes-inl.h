// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_CODES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_CODES_INL_H
#undef OUNCE_ENGINE_KERNELS_CODES_INL_H
#else
#define OUNCE_ENGINE_KERNELS_CODES_INL_H
#endif

#include <utility>

#include "engine/kernels/codes/packed_codes.h"
#include "engine/kernels/vector/dot4-inl.h"
#include "engine/kernels/vector/simd-inl.h"

// Blocks of packed codes in registers (see PackedCodes). A register holds kLanes of the 16 columns;
// word t of a block is what four consecutive activations meet.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

using DU = hn::Repartition<uint32_t, DI>;
using VU = hn::Vec<DU>;

// A lambda that becomes part of its caller, so that arrays in registers stay there.
#define OUNCE_INLINE_LAMBDA HWY_ATTR __attribute__((always_inline))

// Calls f(std::integral_constant<int, i>()) for i in [0, kCount), without a loop: the compiler
// keeps arrays in registers only where it sees constant indices early.
template <class F, int... kIndex>
HWY_INLINE void unroll_over(const F& f, std::integer_sequence<int, kIndex...>) {
  (f(std::integral_constant<int, kIndex>()), ...);
}
template <int kCount, class F>
HWY_INLINE void unroll(const F& f) {
  unroll_over(f, std::make_integer_sequence<int, kCount>());
}

// The same byte four times.
constexpr uint32_t four_bytes(int byte) {
  return 0x01010101U * static_cast<uint32_t>(byte);
}

template <int kBits>
struct Block {
  static constexpr int kVectors = kBits == 3 ? 3 : 1;
  static constexpr int kWords = kBits == 3 ? 8 : 8 / kBits;
  static constexpr int64_t kBytes = 64 * kVectors;
  static constexpr int64_t kElements = 4 * kWords;

  HWY_INLINE Block() {}  // an implicit one would not be compiled for the target
  // Columns from `lane` on.
  HWY_INLINE void load(const uint8_t* block, int64_t lane) {
    for (int j = 0; j < kVectors; ++j) {
      v[j] = hn::BitCast(DU(), load_words(block + 64 * j + 4 * lane));
    }
  }

  // Where placed<t>() leaves a code: it is the stored code times 2^shift. Words are classes by it.
  static constexpr int shift(int t) { return kBits == 3 ? (t < 6 ? 3 * (t % 2) : 5) : kBits * t; }
  static constexpr int class_of(int t) { return kBits == 3 ? (t < 6 ? t % 2 : 2) : t; }
  static constexpr int kClasses = kBits == 3 ? 3 : kWords;
  static constexpr int class_shift(int c) { return kBits == 3 ? (c == 2 ? 5 : 3 * c) : kBits * c; }

  // Stored codes of word t as unsigned bytes; for 8 bits the code + 128.
  template <int t>
  HWY_INLINE VU stored() const {
    const DU d;
    if constexpr (kBits == 8) {
      return hn::Xor(v[0], hn::Set(d, 0x80808080U));
    } else if constexpr (kBits == 3 && t >= 6) {
      const VU upper = hn::And(hn::ShiftRight<5>(v[t - 6]), hn::Set(d, four_bytes(6)));
      return hn::OrAnd(upper, hn::ShiftRight<t>(v[2]), hn::Set(d, four_bytes(1)));
    } else {
      constexpr int kShift = shift(t);
      const VU at = v[kBits == 3 ? t / 2 : 0];
      const VU mask = hn::Set(d, four_bytes((1 << kBits) - 1));
      if constexpr (kShift == 0) return hn::And(at, mask);
      return hn::And(hn::ShiftRight<kShift>(at), mask);
    }
  }

  // The same where the bits lie: a mask instead of a shift and a mask.
  template <int t>
  HWY_INLINE VU placed() const {
    const DU d;
    if constexpr (kBits == 8) {
      return stored<t>();
    } else if constexpr (kBits == 3 && t >= 6) {
      const VU upper = hn::And(v[t - 6], hn::Set(d, four_bytes(0xC0)));
      return hn::OrAnd(upper, hn::ShiftRight<t - 5>(v[2]), hn::Set(d, four_bytes(0x20)));
    } else {
      return hn::And(v[kBits == 3 ? t / 2 : 0],
                     hn::Set(d, four_bytes(((1 << kBits) - 1) << shift(t))));
    }
  }

  VU v[kVectors];
};

// Calls f(std::integral_constant<int, bits>) for the memory bits of a format.
template <class F>
void with_bits(CodeFormat format, const F& f) {
  switch (code_bits(format)) {
    case 1:
      return f(std::integral_constant<int, 1>());
    case 2:
      return f(std::integral_constant<int, 2>());
    case 3:
      return f(std::integral_constant<int, 3>());
    case 4:
      return f(std::integral_constant<int, 4>());
    default:
      return f(std::integral_constant<int, 8>());
  }
}

// Differences of bytes, modulo 256.
HWY_INLINE VU byte_difference(VU a, VU b) {
#if HWY_TARGET == HWY_SCALAR
  // No borrow leaves a byte whose top bit is set where the other's is not.
  const uint32_t top = 0x80808080U;
  return VU(((a.raw | top) - (b.raw & ~top)) ^ ((a.raw ^ ~b.raw) & top));
#else
  const hn::Repartition<uint8_t, DU> d8;
  return hn::BitCast(DU(), hn::Sub(hn::BitCast(d8, a), hn::BitCast(d8, b)));
#endif
}

// Word t of a block as canonical codes minus zero points. `zeros`: bytes of zero point - offset,
// for signs of offset - zero point; 8-bit codes stay as they are.
template <int t, int kBits>
HWY_INLINE VU canonical(const Block<kBits>& block, VU zeros) {
  if constexpr (kBits == 8) return block.v[0];
  const VU stored = block.template stored<t>();
  if constexpr (kBits == 1) return byte_difference(zeros, hn::Add(stored, stored));
  return byte_difference(stored, zeros);
}

// The register of `zeros` for columns [lane, lane + kLanes) of a panel; `zero_points`: [16] or
// null.
HWY_INLINE VU zero_bytes(CodeFormat format, const int8_t* zero_points, int64_t lane) {
  VI zero = hn::Set(DI(), -stored_offset(format));
  if (zero_points != nullptr) {
    const hn::Rebind<int8_t, DI> d8;
    zero = hn::Add(zero, hn::PromoteTo(DI(), hn::LoadU(d8, zero_points + lane)));
  }
  if (format == CodeFormat::kSign) zero = hn::Sub(hn::Zero(DI()), zero);
  const VU byte = hn::And(hn::BitCast(DU(), zero), hn::Set(DU(), 0xFFU));
  const VU two = hn::Or(byte, hn::ShiftLeft<8>(byte));
  return hn::Or(two, hn::ShiftLeft<16>(two));
}

// Scales of columns [lane, lane + kLanes) of entry `at` of [panels][groups].
struct ScaleSource {
  explicit ScaleSource(const PackedCodes& b)
      : scales(b.scales.empty() ? nullptr : b.scales.data()),
        halves(b.half_scales.empty() ? nullptr : b.half_scales.data()) {}
  HWY_INLINE VF load(int64_t at, int64_t lane) const {
    if (scales != nullptr) return hn::LoadU(DF(), scales + at * kPanelColumns + lane);
    if (halves == nullptr) return hn::Set(DF(), 1.0F);
    const hn::Rebind<hwy::float16_t, DF> d16;
    const auto* p = reinterpret_cast<const hwy::float16_t*>(halves + at * kPanelColumns + lane);
    return hn::PromoteTo(DF(), hn::LoadU(d16, p));
  }
  const float* scales;
  const uint16_t* halves;
};

// Words as floats, four elements of the reduction one after the other.
template <int kBits>
class FloatCodes {
 public:
  explicit FloatCodes(CodeFormat format)
      : zeros_(zero_bytes(format, nullptr, 0))
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_NEON
        ,
        table_(table_of(format))
#endif
  {
  }

  // Element 4 * t + i of the block.
  template <int t, int i>
  HWY_INLINE VF get(const Block<kBits>& block) const {
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_NEON
    if constexpr (kTable) {
      // The permutation ignores the bits above its index.
      constexpr bool kSplit = kBits == 3 && t >= 6;
      constexpr int kShift = 8 * i + (kSplit ? 0 : Block<kBits>::shift(t));
      VU at = block.v[kBits == 3 ? t / 2 % 3 : 0];
      if constexpr (kSplit) at = block.template stored<t>();
      return permute(table_, hn::ShiftRight<kShift>(at));
    }
#endif
    const VI word = hn::BitCast(DI(), canonical<t>(block, zeros_));
    return hn::ConvertTo(DF(), hn::ShiftRight<24>(hn::ShiftLeft<24 - 8 * i>(word)));
  }

 private:
  VU zeros_;
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_NEON
  // A permutation of one register is a table of kLanes entries.
  static constexpr bool kTable = kBits < 8 && (1 << kBits) <= kLanes;
  static VF table_of(CodeFormat format) {
    float values[16];
    const int mask = (1 << code_bits(format)) - 1;
    for (int i = 0; i < 16; ++i) {
      values[i] = static_cast<float>(stored_factor(format) * (i & mask) + stored_offset(format));
    }
    return hn::LoadU(DF(), values);
  }
#if HWY_CAP_GE512
  static HWY_INLINE VF permute(VF table, VU index) {
    return VF{_mm512_permutexvar_ps(index.raw, table.raw)};
  }
#else
  static HWY_INLINE VF permute(VF table, VU index) {
    return VF{_mm256_permutevar8x32_ps(table.raw, index.raw)};
  }
#endif
  VF table_;
#endif
};

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
