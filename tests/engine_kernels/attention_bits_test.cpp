#include "engine/kernels/attention/attention_bits.h"

#include <cmath>

#include "engine/kernels/bits/bit_planes.h"
#include "engine/kernels/reference/reference_bits.h"
#include "engine/kernels/tensor/normalize.h"
#include "tests/engine_kernels/kernel_test.h"

namespace ounce::engine {
namespace {

/// Heads side by side in rows of q, k, v and y, as after one product for all of them.
struct Heads {
  Heads(Random& random, int64_t count, const AttentionShape& sizes, double score, double map_scale_)
      : shape(sizes),
        score_scale(score),
        map_scale(map_scale_),
        softmax(sizes.head_dim, score, map_scale_) {
    shape.ldq = shape.ldk = count * shape.head_dim + 3;
    shape.ldv = shape.ldy = count * shape.value_dim + 5;
    q = random.floats(shape.tokens * shape.ldq);
    k = random.floats(shape.keys * shape.ldk);
    v = random.floats(shape.keys * shape.ldv);
    for (size_t i = 0; i < v.size(); i += 5) v[i] = i % 2 == 0 ? 0.0F : -0.0F;
    q[0] = -std::numeric_limits<float>::quiet_NaN();
    items.resize(static_cast<size_t>(count));
  }

  /// The heads with results in `y`, which holds what must stay between them.
  std::span<const BitAttentionItem> into(std::vector<float>& y) {
    y.assign(static_cast<size_t>(shape.tokens * shape.ldy), -99.0F);
    for (size_t h = 0; h < items.size(); ++h) {
      const auto head = static_cast<int64_t>(h);
      items[h] = {q.data() + head * shape.head_dim,
                  k.data() + head * shape.head_dim,
                  v.data() + head * shape.value_dim,
                  y.data() + head * shape.value_dim,
                  &softmax,
                  0.25F};
      if (!biases.empty()) items[h].bias_weights = bias_weights.data() + head * biases_of_head();
    }
    return items;
  }

  int64_t biases_of_head() const { return shape.tokens * shape.keys; }
  const float* biases_of(size_t head) const {
    return biases.empty() ? nullptr : biases.data() + static_cast<int64_t>(head) * biases_of_head();
  }
  void set_biases(std::vector<float> values) {
    biases = std::move(values);
    bias_weights = bit_bias_weights(biases, shape.keys);
  }

  AttentionShape shape;
  double score_scale, map_scale;
  BitSoftmax softmax;
  std::vector<float> q, k, v;
  std::vector<float> biases;  // [heads, tokens, keys], or none
  std::vector<uint32_t> bias_weights;
  std::vector<BitAttentionItem> items;
};

/// Every level gives the reference's numbers, which are far enough from ties to be the only ones.
void expect_reference(Heads& heads, const std::string& what) {
  std::vector<float> expected;
  const auto items_of_expected = heads.into(expected);
  for (size_t h = 0; h < items_of_expected.size(); ++h) {
    const double gap = reference::attention_bits(
        items_of_expected[h], heads.shape, heads.score_scale, heads.map_scale, heads.biases_of(h));
    ASSERT_GT(gap, 1e-6) << what << ": a probability ties with the threshold";
  }
  on_every_isa([&](ThreadPool& pool) {
    std::vector<float> y;
    const auto items = heads.into(y);
    Scratch scratch(attention_bits_scratch_bytes(heads.shape, pool.size()));
    attention_bits({pool, scratch.span()}, items, heads.shape);
    expect_equal(expected, y, what);
  });
}

constexpr AttentionShape kShapes[] = {
    {197, 197, 64, 64}, {1, 1, 1, 1},      {5, 63, 64, 64}, {17, 65, 33, 40},   {9, 300, 127, 130},
    {8, 64, 128, 64},   {3, 700, 200, 17}, {13, 31, 8, 16}, {16, 256, 248, 65},
};

TEST(AttentionBits, EqualsTheFloatFormulaOnEveryLevel) {
  Random random(71);
  for (const AttentionShape& shape : kShapes) {
    for (const int64_t heads : {1, 3}) {
      const double score = 0.7 / std::sqrt(static_cast<double>(shape.head_dim));
      Heads h(random, heads, shape, score, 1.9 / static_cast<double>(shape.keys));
      expect_reference(h, std::to_string(shape.keys) + " keys of " +
                              std::to_string(shape.head_dim) + ", heads " + std::to_string(heads));
      if (HasFailure()) return;
    }
  }
}

TEST(AttentionBits, FlatAndSteepSoftmaxAndFullAndEmptyMaps) {
  Random random(72);
  for (const double score : {1e-4, 0.03, 0.9, 40.0}) {
    for (const double map_scale : {1e-6, 0.013, 1.7, 2.5}) {
      Heads h(random, 2, {11, 70, 64, 64}, score, map_scale);
      expect_reference(
          h, "score scale " + std::to_string(score) + ", map scale " + std::to_string(map_scale));
      if (HasFailure()) return;
    }
  }
}

TEST(AttentionBits, EqualAndOppositeRowsReachBothEndsOfTheScores) {
  Random random(73);
  Heads h(random, 1, {24, 80, 64, 64}, 0.11, 0.021);
  for (int64_t i = 0; i < h.shape.keys; ++i) {
    for (int64_t d = 0; d < h.shape.head_dim; ++d) {
      const float q = i % 3 == 0 ? 1.0F : -1.0F;
      if (i < h.shape.tokens) h.q[static_cast<size_t>(i * h.shape.ldq + d)] = q;
      h.k[static_cast<size_t>(i * h.shape.ldk + d)] = i % 2 == 0 ? 1.0F : -1.0F;
    }
  }
  expect_reference(h, "extremes");
}

TEST(AttentionBits, BiasesJoinTheScores) {
  Random random(76);
  for (const AttentionShape& shape : kShapes) {
    for (const double score : {0.02, 0.3}) {
      Heads h(random, 3, shape, score, 1.9 / static_cast<double>(shape.keys));
      h.set_biases(random.floats(3 * shape.tokens * shape.keys));
      expect_reference(h, std::to_string(shape.keys) + " keys of " +
                              std::to_string(shape.head_dim) + ", score scale " +
                              std::to_string(score));
      if (HasFailure()) return;
    }
  }
}

TEST(AttentionBits, MaskedKeysAreNotInTheMap) {
  Random random(77);
  Heads h(random, 2, {21, 49, 32, 32}, 0.17, 0.03);
  std::vector<float> biases = random.floats(2 * 21 * 49);
  for (size_t i = 0; i < biases.size(); ++i) {
    if (i % 49 < 30) biases[i] -= 100.0F;  // the nearest keys are among them
  }
  h.set_biases(biases);
  expect_reference(h, "masked");
}

TEST(AttentionBits, WritesSignsInPlaceOfNumbers) {
  Random random(75);
  for (const AttentionShape& shape : {AttentionShape{37, 90, 64, 64}, {9, 300, 32, 128}}) {
    Heads heads(random, 2, shape, 0.07, 0.024);
    heads.shape.ldy = 2 * shape.value_dim;
    on_every_isa([&](ThreadPool& pool) {
      Scratch scratch(attention_bits_scratch_bytes(heads.shape, pool.size()));
      std::vector<float> y;
      attention_bits({pool, scratch.span()}, heads.into(y), heads.shape);
      std::vector<uint64_t> expected(y.size() / 64);
      pack_signs({pool, {}}, y.data(), heads.shape.ldy, shape.tokens, heads.shape.ldy, nullptr,
                 heads.shape.ldy / 64, expected.data());
      std::vector<uint64_t> signs(expected.size());
      for (size_t h = 0; h < heads.items.size(); ++h) {
        heads.items[h].signs = signs.data() + static_cast<int64_t>(h) * (shape.value_dim / 64);
      }
      attention_bits({pool, scratch.span()}, heads.items, heads.shape);
      expect_equal(expected, signs, "signs");
      for (BitAttentionItem& item : heads.items) item.signs = nullptr;
    });
  }
}

TEST(AttentionBits, NormalizesRowsAsTheLayerNormalizationDoes) {
  Random random(74);
  for (const int64_t dim : {64, 37}) {
    Heads plain(random, 1, {19, 70, dim, 32}, 0.07, 0.027);
    Heads normalized = plain;
    const auto gamma = random.floats(dim);
    const auto beta = random.floats(dim);
    const BitRowNorm norm = {gamma.data(), beta.data(), 1e-5F};
    const BitRowNorm bare = {nullptr, nullptr, 1e-3F};
    on_every_isa([&](ThreadPool& pool) {
      const auto normalize = [&](std::vector<float>& to, const std::vector<float>& from,
                                 int64_t rows, const BitRowNorm& n) {
        for (int64_t i = 0; i < rows; ++i) {
          const int64_t at = i * plain.shape.ldq;
          layer_norm_f32({pool, {}}, from.data() + at, to.data() + at, 1, dim, n.gamma, n.beta,
                         n.epsilon);
        }
      };
      normalize(normalized.q, plain.q, plain.shape.tokens, norm);
      normalize(normalized.k, plain.k, plain.shape.keys, bare);
      std::vector<float> expected, y;
      Scratch scratch(attention_bits_scratch_bytes(plain.shape, pool.size()));
      attention_bits({pool, scratch.span()}, normalized.into(expected), normalized.shape);
      attention_bits({pool, scratch.span()}, plain.into(y), plain.shape, {&norm, &bare});
      expect_equal(expected, y, "head_dim " + std::to_string(dim));
    });
  }
}

}  // namespace
}  // namespace ounce::engine
