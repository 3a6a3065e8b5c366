#include <cmath>

#include "engine/kernels/bits/lookup_bits.h"

namespace ounce::engine {
namespace {

// Where the bits of weight (tap, k, column) lie: a word of plane 0, planes `plane_stride` words on.
struct BitPlace {
  BitPlace(const PackedBits& b, int64_t tap, int64_t k, int64_t column)
      : plane_stride(b.plane_words() * 2 * kPanelColumns),
        word(column / kPanelColumns * b.panel_stride() + tap * b.format.planes * plane_stride +
             k / 32 * kPanelColumns + column % kPanelColumns),
        bit(static_cast<int>(k % 32)) {}
  int64_t plane_stride, word;
  int bit;
};

}  // namespace

int64_t bit_product_constant(const BitActivations& a, BitFormat b, int64_t k, int64_t sum,
                             int64_t squares) {
  if (a.format.coding == BitCoding::kTernary) return 0;
  if (b.coding == BitCoding::kTernary) return squares;
  if (a.format.coding == BitCoding::kSign) return b.coding == BitCoding::kSign ? k : sum;
  return (a.format.lowest() - a.zero_point) * sum;
}

PackedBits pack_bits(const int8_t* values, int64_t taps, int64_t run, int64_t n,
                     WeightLayout layout, BitFormat format, const BitActivations& activations,
                     const int32_t* bias) {
  PackedBits packed;
  packed.format = format;
  packed.activations = activations;
  packed.taps = taps;
  packed.run = run;
  packed.n = n;
  const int64_t columns = round_up(n, kPanelColumns);
  packed.data.resize(static_cast<size_t>(columns / kPanelColumns * packed.panel_stride()));
  packed.tap_sums.resize(static_cast<size_t>(taps * columns));
  packed.offsets.resize(static_cast<size_t>(columns));
  for (int64_t column = 0; column < n; ++column) {
    int64_t squares = 0;
    int64_t sum = 0;
    for (int64_t tap = 0; tap < taps; ++tap) {
      int32_t tap_sum = 0;
      for (int64_t k = 0; k < run; ++k) {
        const int64_t row = tap * run + k;
        const int value =
            values[layout == WeightLayout::kKxN ? row * n + column : column * taps * run + row];
        tap_sum += value;
        squares += value * value;
        const BitPlace at(packed, tap, k, column);
        const auto code = static_cast<uint32_t>(code_of_value(format, value));
        for (int p = 0; p < format.planes; ++p) {
          packed.data[static_cast<size_t>(at.word + p * at.plane_stride)] |= (code >> p & 1U)
                                                                             << at.bit;
        }
      }
      packed.tap_sums[static_cast<size_t>(tap * columns + column)] = tap_sum;
      sum += tap_sum;
    }
    packed.offsets[static_cast<size_t>(column)] =
        static_cast<int32_t>(bit_product_constant(activations, format, packed.k(), sum, squares) +
                             (bias == nullptr ? 0 : bias[column]));
  }
  pack_lookup(packed);
  return packed;
}

std::vector<int8_t> unpack_bits(const PackedBits& packed) {
  std::vector<int8_t> values;
  values.reserve(static_cast<size_t>(packed.n * packed.k()));
  for (int64_t column = 0; column < packed.n; ++column) {
    for (int64_t tap = 0; tap < packed.taps; ++tap) {
      for (int64_t k = 0; k < packed.run; ++k) {
        const BitPlace at(packed, tap, k, column);
        int code = 0;
        for (int p = 0; p < packed.format.planes; ++p) {
          const uint32_t word = packed.data[static_cast<size_t>(at.word + p * at.plane_stride)];
          code |= static_cast<int>(word >> at.bit & 1U) << p;
        }
        values.push_back(value_of_code(packed.format, code));
      }
    }
  }
  return values;
}

namespace {

// The first accumulator in (lowest, highest] for which `holds`, which turns from false to true
// once; `highest` where that lies beyond.
template <class Predicate>
int32_t first_where(const Predicate& holds) {
  int64_t low = std::numeric_limits<int32_t>::min();
  int64_t high = std::numeric_limits<int32_t>::max();
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (holds(static_cast<int32_t>(middle))) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return static_cast<int32_t>(low);
}

}  // namespace

SignThresholds fold_sign_thresholds(std::span<const float> scale, std::span<const float> bias) {
  const size_t columns =
      static_cast<size_t>(round_up(static_cast<int64_t>(scale.size()), kPanelColumns));
  SignThresholds folded;
  folded.thresholds.resize(columns, std::numeric_limits<int32_t>::min());
  folded.flips.resize(columns / kPanelColumns);
  for (size_t c = 0; c < scale.size(); ++c) {
    // The float formula, which is monotone: falling for a negative gain.
    const auto negative = [&](int32_t acc) {
      const float scaled = static_cast<float>(acc) * scale[c];
      return scaled + bias[c] < 0.0F;
    };
    const auto flag = static_cast<uint16_t>(1U << (c % kPanelColumns));
    if (negative(std::numeric_limits<int32_t>::max())) {
      // Set from some accumulator on (or always): not set below it.
      folded.thresholds[c] = first_where(negative);
      folded.flips[c / kPanelColumns] |= flag;
    } else if (negative(std::numeric_limits<int32_t>::min())) {
      folded.thresholds[c] = first_where([&](int32_t acc) { return !negative(acc); });
    }
  }
  return folded;
}

}  // namespace ounce::engine
