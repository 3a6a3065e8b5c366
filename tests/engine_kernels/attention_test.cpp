#include "engine/kernels/attention/attention.h"

#include <algorithm>

#include "engine/kernels/attention/log_map.h"
#include "engine/kernels/int8/quantized.h"
#include "engine/kernels/reference/reference.h"
#include "engine/kernels/reference/reference_codes.h"
#include "engine/kernels/tensor/normalize.h"
#include "tests/engine_kernels/kernel_test.h"

namespace ounce::engine {
namespace {

constexpr AttentionShape kShapes[] = {
    {197, 197, 64, 64}, {1, 1, 1, 1}, {33, 18, 7, 40}, {5, 300, 20, 16}, {130, 31, 32, 17},
};

/// Heads side by side in rows of q, k, v and y.
struct Heads {
  Heads(Random& random, int64_t count, const AttentionShape& sizes) : shape(sizes) {
    shape.ldq = shape.ldk = count * shape.head_dim + 3;
    shape.ldv = shape.ldy = count * shape.value_dim + 5;
    q = random.floats(shape.tokens * shape.ldq);
    k = random.floats(shape.keys * shape.ldk);
    v = random.floats(shape.keys * shape.ldv);
    items.resize(static_cast<size_t>(count));
  }
  std::span<const AttentionF32Item> into(std::vector<float>& y) {
    y.assign(static_cast<size_t>(shape.tokens * shape.ldy), -99.0F);
    for (size_t h = 0; h < items.size(); ++h) {
      const auto head = static_cast<int64_t>(h);
      items[h] = {q.data() + head * shape.head_dim, k.data() + head * shape.head_dim,
                  v.data() + head * shape.value_dim, y.data() + head * shape.value_dim};
    }
    return items;
  }
  AttentionShape shape;
  std::vector<float> q, k, v;
  std::vector<AttentionF32Item> items;
};

/// By the formula, in double.
void reference_attention(const AttentionF32Item& item, const AttentionShape& s, float scale,
                         const float* mask) {
  std::vector<double> map(static_cast<size_t>(s.keys));
  for (int64_t i = 0; i < s.tokens; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < s.keys; ++j) {
      double score = 0;
      for (int64_t d = 0; d < s.head_dim; ++d) {
        score += double{item.q[i * s.ldq + d]} * double{item.k[j * s.ldk + d]};
      }
      score = score * scale + (mask == nullptr ? 0 : mask[i * s.keys + j]);
      sum += map[static_cast<size_t>(j)] = std::exp(score);
    }
    for (int64_t d = 0; d < s.value_dim; ++d) {
      double mixed = 0;
      for (int64_t j = 0; j < s.keys; ++j) {
        mixed += map[static_cast<size_t>(j)] * double{item.v[j * s.ldv + d]};
      }
      item.y[i * s.ldy + d] = sum == 0 ? 0.0F : static_cast<float>(mixed / sum);
    }
  }
}

TEST(AttentionF32, EqualsTheFormulaWithAndWithoutMask) {
  Random random(81);
  for (const AttentionShape& shape : kShapes) {
    for (const bool masked : {false, true}) {
      Heads heads(random, 3, shape);
      std::vector<float> mask = random.floats(shape.tokens * shape.keys);
      for (size_t i = 0; i < mask.size(); i += 3) mask[i] = -INFINITY;
      std::fill(mask.end() - shape.keys, mask.end(), -INFINITY);
      const float* added = masked ? mask.data() : nullptr;
      std::vector<float> expected;
      for (const auto& item : heads.into(expected)) {
        reference_attention(item, heads.shape, 0.3F, added);
      }
      // Scores of up to head_dim * 0.3 are off by a few roundings of them, and so are the weights'
      // exponents; the weighted mean of values below 1 is off by as much, and by its own sum.
      const float epsilon = std::numeric_limits<float>::epsilon();
      const auto terms = static_cast<float>(shape.head_dim * shape.head_dim / 4 + shape.keys + 16);
      on_every_isa([&](ThreadPool& pool) {
        std::vector<float> y;
        const auto heads_of_y = heads.into(y);
        std::vector<AttentionF32Item> items(heads_of_y.begin(), heads_of_y.end());
        for (AttentionF32Item& item : items) item.mask = added;
        Scratch scratch(attention_f32_scratch_bytes(heads.shape, pool.size()));
        attention_f32({pool, scratch.span()}, items, heads.shape, 0.3F);
        expect_close(expected, y, {epsilon * terms}, epsilon,
                     std::to_string(shape.keys) + " keys" + (masked ? ", masked" : ""));
      });
      if (HasFailure()) return;
    }
  }
}

/// attention_u8 as the kernels that it stands for, one after the other.
void attention_in_parts(ThreadPool& pool, const AttentionU8Item& item, const AttentionShape& s,
                        const AttentionU8Parameters& p) {
  std::vector<float> scores(static_cast<size_t>(s.tokens * s.keys));
  std::vector<uint8_t> map(scores.size());
  MatmulU8Shape first = {s.tokens,           s.keys,         s.head_dim,    s.ldq, s.ldk,
                         WeightLayout::kNxK, p.q_zero_point, p.k_zero_point};
  IntegerEpilogue epilogue;
  epilogue.output = IntegerOutput::kF32;
  epilogue.ldc = s.keys;
  epilogue.scale = p.score_scale;
  const MatmulU8Item score_item = {item.q, item.k, scores.data()};
  Scratch first_scratch(matmul_u8_scratch_bytes(first, 1, pool.size()));
  matmul_u8({pool, first_scratch.span()}, {&score_item, 1}, first, epilogue);
  softmax_f32({pool, {}}, scores.data(), scores.data(), {s.tokens, s.keys, s.keys, s.keys});
  if (p.log_codes) {
    reference::quantize_log(scores.data(), map.data(), s.tokens * s.keys, p.log_codes->base,
                            p.log_codes->bits);
  } else {
    quantize_u8({pool, {}}, scores.data(), map.data(), s.tokens * s.keys,
                {p.map_scale, p.map_zero_point});
  }
  if (!p.planes.empty()) return reference::mix_planes_u8(map.data(), item, s, p);
  MatmulU8Shape second = {s.tokens, s.value_dim,        s.keys,           s.keys,
                          s.ldv,    WeightLayout::kKxN, p.map_zero_point, p.v_zero_point};
  const MatmulU8Item mix_item = {map.data(), item.v, item.y};
  Scratch second_scratch(matmul_u8_scratch_bytes(second, 1, pool.size()));
  matmul_u8({pool, second_scratch.span()}, {&mix_item, 1}, second, p.epilogue);
}

/// attention_u8 against its parts, to the bit on every level. T: of y.
template <class T>
void expect_parts(Random& random, AttentionShape s, AttentionU8Parameters p,
                  const std::string& what) {
  constexpr int64_t kHeads = 3;
  s.ldq = s.ldk = kHeads * s.head_dim + 3;
  s.ldv = s.ldy = kHeads * s.value_dim + 5;
  p.epilogue.ldc = s.ldy;
  const auto q = random.codes(s.tokens * s.ldq);
  const auto k = random.codes(s.keys * s.ldk);
  const auto v = random.codes(s.keys * s.ldv);
  on_every_isa([&](ThreadPool& pool) {
    std::vector<T> expected(static_cast<size_t>(s.tokens * s.ldy), 99);
    std::vector<T> actual = expected;
    std::vector<AttentionU8Item> items;
    for (int64_t h = 0; h < kHeads; ++h) {
      items.push_back({q.data() + h * s.head_dim, k.data() + h * s.head_dim,
                       v.data() + h * s.value_dim, expected.data() + h * s.value_dim});
      attention_in_parts(pool, items.back(), s, p);
      items.back().y = actual.data() + h * s.value_dim;
    }
    Scratch scratch(attention_u8_scratch_bytes(s, pool.size()));
    attention_u8({pool, scratch.span()}, items, s, p);
    expect_equal(expected, actual, what + ", " + std::to_string(s.keys) + " keys");
  });
}

TEST(AttentionU8, GivesTheIntegersOfItsPartsOnEveryLevel) {
  Random random(82);
  const AlignedVector<float> score_scale(304, 2e-4F);
  const AlignedVector<float> y_scale(64, 0.01F);
  AttentionU8Parameters p = {120, 131, 7, score_scale.data(), 0.4F / 255, 3};
  p.epilogue.output = IntegerOutput::kU8;
  p.epilogue.scale = y_scale.data();
  p.epilogue.zero_point = 100;
  for (const AttentionShape& s : kShapes) {
    expect_parts<uint8_t>(random, s, p, "grid");
    if (HasFailure()) return;
  }
}

TEST(AttentionU8, MapsOfLogarithmicCodesGiveTheIntegersOfTheirPlanes) {
  Random random(83);
  const AlignedVector<float> score_scale(304, 1e-3F);
  for (const LogBase base : {LogBase::k2, LogBase::kSqrt2}) {
    for (const int bits : {3, 4}) {
      const MapTables map = log_map_tables(base, bits);
      std::vector<AlignedVector<float>> scales;
      for (const float factor : map.factors) scales.emplace_back(64, 0.7F * factor);
      const MapPlane both[] = {{map.tables[0].data(), scales[0].data()},
                               {map.tables[1].data(), scales[1].data()}};
      AttentionU8Parameters p = {120, 131, 7, score_scale.data()};
      p.log_codes = LogMapCodes{base, bits};
      p.planes = std::span(both).first(static_cast<size_t>(map.planes));
      const std::string what =
          (base == LogBase::k2 ? "base 2, " : "base sqrt 2, ") + std::to_string(bits) + " bits";
      for (const AttentionShape& s : kShapes) {
        p.epilogue = {};
        p.epilogue.output = IntegerOutput::kF32;
        expect_parts<float>(random, s, p, what + ", floats");
        p.epilogue.output = IntegerOutput::kU8;
        p.epilogue.zero_point = 100;
        p.epilogue.lo = 13;  // of fewer bits, and at both ends
        p.epilogue.hi = 181;
        expect_parts<uint8_t>(random, s, p, what + ", codes");
        if (HasFailure()) return;
      }
    }
  }
}

TEST(LogMap, PlanesAddUpToThePowersThatCodesStandFor) {
  for (const LogBase base : {LogBase::k2, LogBase::kSqrt2}) {
    for (int bits = 1; bits <= kMostLogMapBits; ++bits) {
      const MapTables map = log_map_tables(base, bits);
      EXPECT_EQ(map.planes, base == LogBase::k2 && bits < 4 ? 1 : 2);
      for (int code = 0; code < 256; ++code) {
        float sum = 0.0F;
        for (size_t plane = 0; plane < static_cast<size_t>(map.planes); ++plane) {
          sum += map.factors[plane] * map.tables[plane][static_cast<size_t>(code)];
        }
        const double power = std::exp2(-code / static_cast<double>(base));
        EXPECT_EQ(sum, code < 1 << bits ? static_cast<float>(power) : 0.0F) << code;
      }
    }
  }
}

}  // namespace
}  // namespace ounce::engine
