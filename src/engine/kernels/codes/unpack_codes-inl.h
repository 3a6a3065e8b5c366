// Per-target include guard.
#if defined(OUNCE_ENGINE_KERNELS_UNPACK_CODES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef OUNCE_ENGINE_KERNELS_UNPACK_CODES_INL_H
#undef OUNCE_ENGINE_KERNELS_UNPACK_CODES_INL_H
#else
#define OUNCE_ENGINE_KERNELS_UNPACK_CODES_INL_H
#endif

#include "engine/kernels/codes/codes-inl.h"

// Panels of packed codes become panels of the 8-bit and f32 products.
HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

// Words t, t + 1, ... below `words` of a block, into out[word][16][4].
template <int t, int kBits>
HWY_INLINE void store_words(const Block<kBits>& block, VU zeros, int64_t words, int8_t* out) {
  if constexpr (t < Block<kBits>::kWords) {
    if (t >= words) return;
    hn::StoreU(canonical<t>(block, zeros), DU(), reinterpret_cast<uint32_t*>(out));
    store_words<t + 1>(block, zeros, words, out + 4 * kPanelColumns);
  }
}

// Calls segment(tap, group, first element, end) for the parts of a run with one zero point a
// column.
template <class Segment>
HWY_INLINE void for_segments(const PackedCodes& b, const Segment& segment) {
  const int64_t length = b.group == 0 ? b.run : b.group;
  for (int64_t tap = 0; tap < b.taps; ++tap) {
    for (int64_t group = 0; group < b.groups(); ++group) {
      segment(tap, group, group * length, std::min((group + 1) * length, b.run));
    }
  }
}

// What fills the last word is not zero where zero points are taken off, and with signs it never is.
inline void clear_tail(int8_t* word, int64_t elements) {
  for (int64_t i = 0; i < 4 * kPanelColumns; i += 4) {
    std::memset(word + i + elements, 0, static_cast<size_t>(4 - elements));
  }
}

/// out[taps][run / 4 rounded up][16][4] = code - zero point of a panel; 8-bit codes as they are.
template <int kBits>
void unpack_panel_s8(const PackedCodes& b, int64_t panel, int8_t* out) {
  using B = Block<kBits>;
  const uint8_t* data = b.data.data() + panel * b.panel_bytes();
  const int64_t tap_words = ceil_div(b.run, 4);
  for_segments(b, [&](int64_t tap, int64_t group, int64_t first, int64_t end) HWY_ATTR {
    const int8_t* zeros = b.zero_points.empty()
                              ? nullptr
                              : b.zero_points.data() + (panel * b.groups() + group) * kPanelColumns;
    const uint8_t* from = data + tap * b.tap_bytes() + first / B::kElements * B::kBytes;
    int8_t* to = out + (tap * tap_words + first / 4) * 4 * kPanelColumns;
    const int64_t words = ceil_div(end - first, 4);
    for (int64_t lane = 0; lane < kPanelColumns; lane += kLanes) {
      const VU zero = zero_bytes(b.format, zeros, lane);
      for (int64_t word = 0; word < words; word += B::kWords) {
        B block;
        block.load(from + word / B::kWords * B::kBytes, lane);
        store_words<0>(block, zero, words - word, to + (word * kPanelColumns + lane) * 4);
      }
    }
    if ((kBits == 1 || zeros != nullptr) && end % 4 != 0) {
      clear_tail(to + (words - 1) * 4 * kPanelColumns, end % 4);
    }
  });
}

// Elements kElement, kElement + 1, ... below `elements` of a block, into out[element][16].
template <int kElement, int kBits>
HWY_INLINE void store_floats(const Block<kBits>& block, const FloatCodes<kBits>& codes, VF zero,
                             VF scale, int64_t elements, float* out) {
  if constexpr (kElement < Block<kBits>::kElements) {
    if (kElement >= elements) return;
    const VF code = codes.template get<kElement / 4, kElement % 4>(block);
    hn::StoreU(hn::Mul(hn::Sub(code, zero), scale), DF(), out);
    store_floats<kElement + 1>(block, codes, zero, scale, elements, out + kPanelColumns);
  }
}

// The zero points of a register of columns as floats; `zeros` may be null.
HWY_INLINE VF float_zeros(const int8_t* zeros) {
  if (zeros == nullptr) return hn::Zero(DF());
  return hn::ConvertTo(DF(), hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<int8_t, DI>(), zeros)));
}

/// out[taps * run][16] = (code - zero point) * scale of a panel.
template <int kBits>
void unpack_panel_f32(const PackedCodes& b, int64_t panel, float* out) {
  using B = Block<kBits>;
  const ScaleSource scales(b);
  const FloatCodes<kBits> codes(b.format);
  const uint8_t* data = b.data.data() + panel * b.panel_bytes();
  for_segments(b, [&](int64_t tap, int64_t group, int64_t first, int64_t end) HWY_ATTR {
    const int64_t entry = panel * b.groups() + group;
    const int8_t* zeros =
        b.zero_points.empty() ? nullptr : b.zero_points.data() + entry * kPanelColumns;
    const uint8_t* from = data + tap * b.tap_bytes() + first / B::kElements * B::kBytes;
    float* to = out + (tap * b.run + first) * kPanelColumns;
    for (int64_t lane = 0; lane < kPanelColumns; lane += kLanes) {
      const VF zero = float_zeros(zeros == nullptr ? nullptr : zeros + lane);
      const VF scale = scales.load(entry, lane);
      for (int64_t k = 0; k < end - first; k += B::kElements) {
        B block;
        block.load(from + k / B::kElements * B::kBytes, lane);
        store_floats<0>(block, codes, zero, scale, end - first - k, to + k * kPanelColumns + lane);
      }
    }
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
