// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_BITS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_BITS_INL_H
#undef OUNCE_ENGINE_KERNELS_BITS_INL_H
#else
#define OUNCE_ENGINE_KERNELS_BITS_INL_H
#endif

#include "engine/kernels/f32/epilogue_f32-inl.h"
#include "engine/kernels/vector/simd-inl.h"

// From lanes to bits.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Bit j is lane j. Exactly the bytes that are written are read again: the compiler then needs no
// memory for them.
template <class D>
HWY_INLINE uint32_t bits_of_mask(D d, hn::Mask<D> mask) {
  uint8_t bytes[8];
  hn::StoreMaskBits(d, mask, bytes);
  if constexpr (kLanes <= 8) return bytes[0];
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return bits;
}

// The signs of `count` <= 16 numbers x[j] + shift[j] (`shift` may be null): bit j is set where the
// sum is below zero, which neither -0 nor NaN is.
HWY_INLINE uint32_t sign_bits(const float* x, const float* shift, int64_t count) {
  uint32_t bits = 0;
  for_vectors(count, [&](int64_t j, int64_t lanes) HWY_ATTR {
    VF v = load_lanes(x + j, lanes);
    if (shift != nullptr) v = hn::Add(v, load_lanes(shift + j, lanes));
    bits |= bits_of_mask(DF(), hn::Lt(v, hn::Zero(DF()))) << j;
  });
  return bits & ((1U << count) - 1);
}

// Writes the 16 bits of the panel of columns from `column` of a row of `columns`, and behind the
// last panel the zeros that fill the row's last 64-bit word.
HWY_INLINE void store_panel_bits(uint32_t bits, int64_t column, int64_t columns, void* row) {
  auto* out = static_cast<std::byte*>(row) + column / 8;
  if (column + kPanelColumns >= columns && column % 64 == 0) {
    const uint64_t word = bits;  // the last panel, alone in its word
    std::memcpy(out, &word, sizeof(word));
    return;
  }
  const auto panel = static_cast<uint16_t>(bits);
  std::memcpy(out, &panel, sizeof(panel));
  if (column + kPanelColumns < columns) return;
  const int64_t rest = round_up(columns, 64) - round_up(columns, kPanelColumns);
  for (int64_t i = 0; i < rest; i += kPanelColumns) std::memset(out + sizeof(panel) + i / 8, 0, 2);
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
