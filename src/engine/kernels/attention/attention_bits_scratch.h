#pragma once

#include "engine/kernels/attention/attention.h"
#include "engine/kernels/blocking/blocking.h"

namespace ounce::engine {

/// Tokens that go through attention together.
inline constexpr int64_t kBitAttentionRows = 8;

/// What a thread of attention_bits keeps of one head. The bits of a right operand lie as panels of
/// 64 columns, [panel][byte of 8 elements of the reduction][64]: counts of bits then grow in bytes,
/// a column each. A byte of a left operand is kept four times in a 32-bit word, from which loads
/// broadcast.
struct BitAttentionScratch {
  static constexpr int64_t kColumns = 64;  // of a panel

  explicit BitAttentionScratch(const AttentionShape& s)
      : head_bytes(ceil_div(s.head_dim, 8)),
        key_bytes(ceil_div(s.keys, 8)),
        key_panels(ceil_div(s.keys, kColumns)),
        value_panels(ceil_div(s.value_dim, kColumns)),
        head_words(round_up(head_bytes, 8)),
        key_words(key_panels * (kColumns / 8)),
        row_counts(key_panels * kColumns) {}

  int64_t head_bytes, key_bytes;  // of a row of q, of a row of the map
  int64_t key_panels, value_panels;
  int64_t head_words, key_words;  // between rows of expanded bytes
  int64_t row_counts;             // bytes between rows of counts

  int64_t key_size() const { return key_panels * head_bytes * kColumns; }
  int64_t value_size() const { return value_panels * key_bytes * kColumns; }
  size_t bytes() const {
    return ScratchCursor::need<uint8_t>(key_size()) + ScratchCursor::need<uint8_t>(value_size()) +
           ScratchCursor::need<uint32_t>(kBitAttentionRows * head_words) +
           ScratchCursor::need<uint32_t>(kBitAttentionRows * key_words) +
           ScratchCursor::need<uint8_t>(kBitAttentionRows * row_counts) +
           ScratchCursor::need<uint64_t>(row_counts);
  }
};

}  // namespace ounce::engine
