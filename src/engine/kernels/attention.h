#pragma once

#include "engine/kernels/common.h"

namespace ounce::engine {

/// The sizes of one head of softmax attention: q [tokens, head_dim], k [keys, head_dim], v [keys,
/// value_dim], y [tokens, value_dim], all with contiguous rows `ld..` elements apart.
struct AttentionShape {
  int64_t tokens = 0, keys = 0, head_dim = 0, value_dim = 0;
  int64_t ldq = 0, ldk = 0, ldv = 0, ldy = 0;
};

/// One head of one picture.
struct AttentionF32Item {
  const float* q = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  float* y = nullptr;
};

/// y = softmax(scale * q k' + mask) v for every item. `mask`: [tokens, keys], or null; a row of it
/// that is -infinity everywhere makes a row of zeros. Scores exist a block of tokens at a time.
void attention_f32(const Context& context, std::span<const AttentionF32Item> items,
                   const AttentionShape& shape, float scale, const float* mask);
size_t attention_f32_scratch_bytes(const AttentionShape& shape, int threads);

}  // namespace ounce::engine
