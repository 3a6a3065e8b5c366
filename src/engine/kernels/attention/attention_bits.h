#pragma once

#include "engine/kernels/attention/attention.h"

// Attention between signs: y = P v with the map P = r * (softmax(q k' s) > r / 2), where q, k and v
// are the signs of floats times a scale each. Scores are integers in units of 2 s: of D signs that
// are compared, c differ, and the score is D - 2 c. So the softmax is needed only up to a
// comparison, and no exponential is computed.
namespace ounce::engine {

/// Most elements of a head: numbers of differing signs are bytes.
inline constexpr int64_t kMostBitHeadDim = 248;

/// The comparison P > r / 2, for one scale of scores and one r. With the smallest number of
/// differences m of a row, weights e(d) = exp(-2 s d) and S the sum over the row of e(c - m),
///   P > r / 2   is   e(c - m) > S * r / 2   is   S < e(c - m) * 2 / r.
/// Weights are kept as integers of 32 bits below the point, so that S is exact and the same in
/// every order of summation. Their rounding moves S by less than `keys` * 2^-33, and less than
/// f32 softmax is off; where P lies as close to r / 2 as that, the bit may differ from that of the
/// float formula.
struct BitSoftmax {
  /// Scores are score_scale * (number of equal signs - number of different ones); score_scale and
  /// map_scale (r) are positive and finite.
  BitSoftmax(int64_t head_dim, double score_scale, double map_scale);

  std::vector<uint32_t> weights;  // [head_dim + 1], falling, (2^32 - 1) * e(d)
  // The same as planes of bytes, lowest first: [4][128], zero behind; empty for head_dim > 127.
  AlignedVector<uint8_t> weight_planes;
  double half_map_scale = 0.0;  // r / 2
  // Falling: the bit of a key at distance d from the nearest is set where S < limits[d]. One less
  // than a power of two of them, for the search; those behind head_dim are zero.
  std::vector<uint64_t> limits;
};

/// Biases of the scores of one head, [tokens, keys], finite: distances of windows, masks. A key's
/// weight e(c - m) is then times exp(bias - the row's largest bias), kept as an integer of 32 bits
/// below the point, too; of the product the upper 48 bits count.
std::vector<uint32_t> bit_bias_weights(std::span<const float> biases, int64_t keys);

/// Most keys with biases: the sum of their weights is one of 64 bits.
inline constexpr int64_t kMostBiasedKeys = 32768;

/// One head of one picture.
struct BitAttentionItem {
  const float* q = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  float* y = nullptr;
  const BitSoftmax* softmax = nullptr;
  float y_scale = 1.0F;                    // r times the scale of v
  const uint32_t* bias_weights = nullptr;  // [tokens, keys] of bit_bias_weights, or null
  // In place of y: the signs of its rows, ldy / 64 words apart. value_dim is a multiple of 64.
  uint64_t* signs = nullptr;
};
/// A layer normalization of the rows of q or k before their signs are taken, as layer_norm_f32.
struct BitRowNorm {
  const float* gamma = nullptr;  // [head_dim], or null
  const float* beta = nullptr;   // [head_dim], or null
  float epsilon = 0.0F;
};
struct BitRowNorms {
  const BitRowNorm* q = nullptr;  // or null
  const BitRowNorm* k = nullptr;
};

/// y[i] = y_scale * sum over keys of map[i][key] * sign(v[key]). sign(0) = sign(NaN) = +1. The map
/// is the same on every instruction set, and so are the sums. head_dim <= kMostBitHeadDim.
void attention_bits(const Context& context, std::span<const BitAttentionItem> items,
                    const AttentionShape& shape, const BitRowNorms& norms = {});
size_t attention_bits_scratch_bytes(const AttentionShape& shape, int threads);

}  // namespace ounce::engine
