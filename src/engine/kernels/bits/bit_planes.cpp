#define OUNCE_AVX512VNNI_IS_AVX512  // see dispatch.h

#include "engine/kernels/bits/bit_planes.h"

#include <algorithm>
#include <cstring>

#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/bits/bit_planes.cpp"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "engine/kernels/vector/bits-inl.h"
#include "engine/kernels/vector/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ounce::engine::HWY_NAMESPACE {

inline constexpr int64_t kWord = 64;  // elements of a word
inline constexpr int64_t kRowsPerTask = 8;

// Calls row(i) for all rows, several a task.
template <class Row>
void for_rows(ThreadPool& pool, int64_t rows, const Row& row) {
  pool.parallel_for(ceil_div(rows, kRowsPerTask), [&](int64_t task, int) HWY_ATTR {
    const int64_t end = std::min(rows, (task + 1) * kRowsPerTask);
    for (int64_t i = task * kRowsPerTask; i < end; ++i) row(i);
  });
}

// Bit `bit` of 64 bytes.
HWY_INLINE uint64_t plane_of_bytes(const uint8_t* bytes, int bit) {
  uint64_t word = 0;
#if HWY_TARGET == HWY_SCALAR
  for (int64_t j = 0; j < kWord; ++j) word |= uint64_t{(bytes[j] >> bit) & 1U} << j;
#else
  const hn::ScalableTag<uint8_t> d;
  constexpr size_t kBytes = HWY_LANES(uint8_t);
  const auto tested = hn::Set(d, static_cast<uint8_t>(1U << bit));
  uint8_t bits[kWord / 8 + 8];
  for (size_t j = 0; j < kWord; j += kBytes) {
    hn::StoreMaskBits(d, hn::TestBit(hn::Load(d, bytes + j), tested), bits + j / 8);
  }
  std::memcpy(&word, bits, sizeof(word));
#endif
  return word;
}

// Calls pack(bytes, mask, word) for all words of rows of codes: 64 bytes, the bits of `mask` those
// of them that are channels, and where the word of plane 0 goes.
template <class Pack>
void for_words(const Context& context, const uint8_t* codes, int64_t ld, int64_t rows,
               int64_t channels, int planes, uint64_t* bits, const Pack& pack) {
  const int64_t words = BitFormat::plane_words(channels);
  for_rows(context.pool, rows, [&](int64_t i) HWY_ATTR {
    uint64_t* row = bits + i * planes * words;
    for (int64_t w = 0; w < words; ++w) {
      alignas(64) uint8_t bytes[kWord];
      const int64_t count = std::min(kWord, channels - w * kWord);
      std::memcpy(bytes, codes + i * ld + w * kWord, static_cast<size_t>(count));
      pack(bytes, ~uint64_t{0} >> (kWord - count), row + w);
    }
  });
}

void pack_codes(const Context& context, const uint8_t* codes, int64_t ld, int64_t rows,
                int64_t channels, int planes, uint64_t* bits) {
  const int64_t words = BitFormat::plane_words(channels);
  for_words(context, codes, ld, rows, channels, planes, bits,
            [&](const uint8_t* bytes, uint64_t mask, uint64_t* word) HWY_ATTR {
              for (int p = 0; p < planes; ++p) word[p * words] = plane_of_bytes(bytes, p) & mask;
            });
}

void pack_ternary_codes(const Context& context, const uint8_t* codes, int64_t ld, int64_t rows,
                        int64_t channels, uint64_t* bits) {
  const int64_t words = BitFormat::plane_words(channels);
  for_words(context, codes, ld, rows, channels, kTernaryBits.planes, bits,
            [&](const uint8_t* bytes, uint64_t mask, uint64_t* word) HWY_ATTR {
              const uint64_t zero = plane_of_bytes(bytes, 0);      // code 1
              const uint64_t positive = plane_of_bytes(bytes, 1);  // code 2
              word[0] = ~zero & mask;
              word[words] = ~(zero | positive) & mask;
            });
}

void pack_signs(const Context& context, const float* x, int64_t ld, int64_t rows, int64_t channels,
                const float* shift, int64_t bit_stride, uint64_t* bits) {
  for_rows(context.pool, rows, [&](int64_t i) HWY_ATTR {
    for (int64_t c = 0; c < channels; c += kPanelColumns) {
      const int64_t count = std::min(kPanelColumns, channels - c);
      store_panel_bits(sign_bits(x + i * ld + c, shift == nullptr ? nullptr : shift + c, count), c,
                       channels, bits + i * bit_stride);
    }
  });
}

// Bit j: bytes[j] < limits[j].
HWY_INLINE uint64_t bytes_below(const uint8_t* bytes, const uint8_t* limits) {
  uint64_t word = 0;
#if HWY_TARGET == HWY_SCALAR
  for (int64_t j = 0; j < kWord; ++j) word |= uint64_t{bytes[j] < limits[j]} << j;
#else
  const hn::ScalableTag<uint8_t> d;
  constexpr size_t kBytes = HWY_LANES(uint8_t);
  uint8_t bits[kWord / 8 + 8];
  for (size_t j = 0; j < kWord; j += kBytes) {
    const auto below = hn::Lt(hn::LoadU(d, bytes + j), hn::LoadU(d, limits + j));
    hn::StoreMaskBits(d, below, bits + j / 8);
  }
  std::memcpy(&word, bits, sizeof(word));
#endif
  return word;
}

void pack_code_signs(const Context& context, const uint8_t* codes, int64_t rows, int64_t channels,
                     const uint8_t* limits, const uint64_t* flips, uint64_t* bits) {
  const int64_t words = BitFormat::plane_words(channels);
  for_rows(context.pool, rows, [&](int64_t i) HWY_ATTR {
    const uint8_t* row = codes + i * channels;
    for (int64_t w = 0; w < words; ++w) {
      const int64_t count = std::min(kWord, channels - w * kWord);
      uint8_t rest[kWord] = {};
      const uint8_t* bytes = row + w * kWord;
      if (count < kWord) {
        std::memcpy(rest, bytes, static_cast<size_t>(count));
        bytes = rest;
      }
      bits[i * words + w] = bytes_below(bytes, limits + w * kWord) ^ flips[w];
    }
  });
}

}  // namespace ounce::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ounce::engine {
OUNCE_EXPORT(pack_codes);
OUNCE_EXPORT(pack_ternary_codes);
OUNCE_EXPORT(pack_signs);
OUNCE_EXPORT(pack_code_signs);

void pack_codes(const Context& context, const uint8_t* codes, int64_t ld, int64_t rows,
                int64_t channels, int planes, uint64_t* bits) {
  OUNCE_DISPATCH(pack_codes)(context, codes, ld, rows, channels, planes, bits);
}
void pack_ternary_codes(const Context& context, const uint8_t* codes, int64_t ld, int64_t rows,
                        int64_t channels, uint64_t* bits) {
  OUNCE_DISPATCH(pack_ternary_codes)(context, codes, ld, rows, channels, bits);
}
void pack_signs(const Context& context, const float* x, int64_t ld, int64_t rows, int64_t channels,
                const float* shift, int64_t bit_stride, uint64_t* bits) {
  OUNCE_DISPATCH(pack_signs)(context, x, ld, rows, channels, shift, bit_stride, bits);
}
void pack_code_signs(const Context& context, const uint8_t* codes, int64_t rows, int64_t channels,
                     const uint8_t* limits, const uint64_t* flips, uint64_t* bits) {
  OUNCE_DISPATCH(pack_code_signs)(context, codes, rows, channels, limits, flips, bits);
}

bool is_valid(BitFormat format) {
  switch (format.coding) {
    case BitCoding::kSign:
      return format.planes == 1;
    case BitCoding::kUnsigned:
      return format.planes >= 1 && format.planes <= 3;
    case BitCoding::kSigned:
      return format.planes >= 2 && format.planes <= 3;
    case BitCoding::kTernary:
      return format.planes == 2;
  }
  return false;
}

bool can_multiply(BitFormat a, BitFormat b) {
  if (!is_valid(a) || !is_valid(b)) return false;
  if (b.coding == BitCoding::kTernary) {
    return a.coding == BitCoding::kSign || a.coding == BitCoding::kTernary;
  }
  return a.coding != BitCoding::kTernary;
}

}  // namespace ounce::engine
#endif  // HWY_ONCE
