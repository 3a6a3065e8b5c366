#include <algorithm>

#include "engine/kernels/codes/packed_codes.h"
#include "engine/kernels/reference/reference.h"
#include "engine/kernels/reference/reference_codes.h"
#include "graph/error.h"
#include "tests/engine_kernels/kernel_test.h"

namespace ounce::engine {
namespace {

constexpr CodeFormat kFormats[] = {CodeFormat::kSign, CodeFormat::kTernary, CodeFormat::kInt2,
                                   CodeFormat::kInt3, CodeFormat::kInt4,    CodeFormat::kInt8};
constexpr int64_t kLengths[] = {1, 31, 32, 63, 64, 127, 128, 129, 255, 256, 1000};
constexpr int64_t kRows[] = {1, 2, 3, 4, 5, 17};

enum class Filling { kRandom, kHighest, kLowest, kAlternating };
constexpr Filling kFillings[] = {Filling::kRandom, Filling::kHighest, Filling::kLowest,
                                 Filling::kAlternating};

std::string name(CodeFormat format) {
  const char* names[] = {"sign", "ternary", "2 bit", "3 bit", "4 bit", "8 bit"};
  return names[static_cast<int>(format)];
}

std::vector<int8_t> codes_of(Random& random, CodeFormat format, int64_t count) {
  const auto drawn = random.integers(count, lowest_code(format), highest_code(format));
  std::vector<int8_t> codes(drawn.begin(), drawn.end());
  for (int8_t& code : codes) {
    if (format == CodeFormat::kSign) code = code == 0 ? int8_t{1} : code;
  }
  return codes;
}

// Weights with everything that belongs to them.
struct Weights {
  CodeMatrix matrix;
  std::vector<int8_t> codes, zero_points;
  std::vector<float> scales;

  Weights(CodeFormat format, int64_t k, int64_t n, WeightLayout layout, Filling filling,
          Random& random) {
    matrix.format = format;
    matrix.run = k;
    matrix.n = n;
    matrix.layout = layout;
    codes = codes_of(random, format, k * n);
    const auto lowest = static_cast<int8_t>(lowest_code(format));
    const auto highest = static_cast<int8_t>(highest_code(format));
    for (size_t i = 0; i < codes.size() && filling != Filling::kRandom; ++i) {
      const bool high =
          filling == Filling::kHighest || (filling == Filling::kAlternating && i % 2 == 0);
      codes[i] = high ? highest : lowest;
    }
    matrix.codes = codes.data();
  }
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  void set_group(int64_t group) { matrix.group = group; }
  void add_scales(Random& random) {
    scales = random.floats(matrix.groups() * matrix.n, 0.01F, 0.1F);
    // Exact in binary16, so that both storages have the same.
    for (float& scale : scales) scale = std::round(scale * 4096.0F) / 4096.0F;
    matrix.scales = scales.data();
  }
  void add_zero_points(Random& random) {
    zero_points = codes_of(random, matrix.format, matrix.groups() * matrix.n);
    matrix.zero_points = zero_points.data();
  }
  std::string text() const {
    return name(matrix.format) + ", K " + std::to_string(matrix.run) + ", N " +
           std::to_string(matrix.n) + ", group " + std::to_string(matrix.group) +
           (zero_points.empty() ? "" : ", zero points");
  }
};

std::vector<uint8_t> activations(int64_t count, Filling filling, Random& random) {
  auto a = random.codes(count);
  for (size_t i = 0; i < a.size() && filling != Filling::kRandom; ++i) {
    const bool high =
        filling == Filling::kHighest || (filling == Filling::kAlternating && i % 2 == 0);
    a[i] = high ? 255 : 0;
  }
  return a;
}

TEST(PackedCodes, UnpackToWhatWasPackedInEveryFormatLayoutAndShape) {
  Random random(21);
  for (const CodeFormat format : kFormats) {
    for (const auto layout : {WeightLayout::kKxN, WeightLayout::kNxK}) {
      for (const int64_t k : kLengths) {
        for (const int64_t n : {1, 15, 16, 17, 33}) {
          Weights w(format, k, n, layout, Filling::kRandom, random);
          if (k % 2 == 1) w.set_group(32);
          w.add_scales(random);
          w.add_zero_points(random);
          for (const auto storage : {ScaleStorage::kF32, ScaleStorage::kF16}) {
            const PackedCodes packed = pack_codes(w.matrix, 0, nullptr, storage);
            const UnpackedCodes u = unpack_codes(packed);
            const int64_t groups = w.matrix.groups();
            for (int64_t j = 0; j < n; ++j) {
              const bool by_rows = layout == WeightLayout::kKxN;
              for (int64_t i = 0; i < k; ++i) {
                ASSERT_EQ(+w.codes[static_cast<size_t>(by_rows ? i * n + j : j * k + i)],
                          +u.codes[static_cast<size_t>(j * k + i)])
                    << w.text() << ", element " << i << ", column " << j;
              }
              for (int64_t g = 0; g < groups; ++g) {
                const auto from = static_cast<size_t>(by_rows ? g * n + j : j * groups + g);
                const auto to = static_cast<size_t>(j * groups + g);
                ASSERT_EQ(w.scales[from], u.scales[to]) << w.text();
                ASSERT_EQ(+w.zero_points[from], +u.zero_points[to]) << w.text();
              }
            }
          }
        }
      }
    }
  }
}

TEST(PackedCodes, TakeTheBytesThatTheirBitsPromise) {
  Random random(22);
  for (const CodeFormat format : kFormats) {
    Weights w(format, 256, 48, WeightLayout::kNxK, Filling::kRandom, random);
    EXPECT_EQ(256 * 48 * code_bits(format) / 8, pack_codes(w.matrix).packed_bytes());
    w.set_group(64);
    w.add_scales(random);
    w.add_zero_points(random);
    EXPECT_EQ(256 * 48 * code_bits(format) / 8 + 4 * 48 * (2 + 1),
              pack_codes(w.matrix, 0, nullptr, ScaleStorage::kF16).packed_bytes());
  }
}

TEST(PackedCodes, RefuseWhatDoesNotFit) {
  Random random(23);
  Weights w(CodeFormat::kInt4, 64, 16, WeightLayout::kNxK, Filling::kRandom, random);
  w.codes[5] = 8;
  EXPECT_THROW(pack_codes(w.matrix), Error);
  w.codes[5] = 7;
  EXPECT_NO_THROW(pack_codes(w.matrix));
  w.matrix.group = 24;
  EXPECT_THROW(pack_codes(w.matrix), Error);
  w.matrix.group = 32;
  w.matrix.taps = 2;
  w.matrix.run = 32;
  EXPECT_THROW(pack_codes(w.matrix), Error);
  w.matrix.group = 0;
  w.add_scales(random);
  w.scales[0] = 1e6F;
  EXPECT_NO_THROW(pack_codes(w.matrix));
  EXPECT_THROW(pack_codes(w.matrix, 0, nullptr, ScaleStorage::kF16), Error);
  w.matrix.run = 0;
  EXPECT_THROW(pack_codes(w.matrix), Error);
  Weights sign(CodeFormat::kSign, 64, 16, WeightLayout::kNxK, Filling::kRandom, random);
  sign.codes[0] = 0;
  EXPECT_THROW(pack_codes(sign.matrix), Error);
}

// Products with an integer epilogue that keeps the sums.
std::vector<int32_t> integer_sums(ThreadPool& pool, const std::vector<uint8_t>& a, int64_t lda,
                                  const PackedCodes& packed, int64_t m) {
  Scratch scratch(gemm_codes_scratch_bytes(packed, m, pool.size()));
  std::vector<int32_t> c(static_cast<size_t>(m * packed.n));
  IntegerEpilogue e;
  e.c = c.data();
  e.ldc = packed.n;
  gemm_u8_codes({pool, scratch.span()}, a.data(), lda, packed, m, e);
  return c;
}

std::vector<int32_t> reference_sums(const std::vector<uint8_t>& a, int64_t lda,
                                    const CodeMatrix& matrix, int64_t m, int32_t a_zero_point,
                                    const std::vector<int32_t>& bias) {
  std::vector<int32_t> c(static_cast<size_t>(m * matrix.n));
  IntegerEpilogue e;
  e.c = c.data();
  e.ldc = matrix.n;
  reference::gemm_u8_codes(a.data(), lda, matrix, m, a_zero_point, bias.data(), e);
  return c;
}

TEST(GemmU8Codes, EqualsReferenceToTheBitForEveryFormatLengthAndFilling) {
  Random random(24);
  size_t turn = 0;
  for (const CodeFormat format : kFormats) {
    for (const int64_t k : kLengths) {
      for (const int64_t m : kRows) {
        const int64_t ns[] = {1, 17, 33, 100, 16};
        const int64_t n = ns[turn % std::size(ns)];
        const Filling filling = kFillings[turn % std::size(kFillings)];
        const auto layout = turn % 3 == 0 ? WeightLayout::kKxN : WeightLayout::kNxK;
        Weights w(format, k, n, layout, filling, random);
        if (turn % 2 == 1) w.add_zero_points(random);
        const int64_t lda = k + static_cast<int64_t>(turn % 3);
        const auto a = activations(m * lda, kFillings[turn / 4 % std::size(kFillings)], random);
        const auto bias = random.integers(n, -100000, 100000);
        const auto zero_point = static_cast<int32_t>(random.between(0, 255));
        ++turn;
        SCOPED_TRACE(w.text() + ", M " + std::to_string(m) + ", seed 24");
        const auto expected = reference_sums(a, lda, w.matrix, m, zero_point, bias);
        const PackedCodes packed = pack_codes(w.matrix, zero_point, bias.data());
        on_every_isa([&](ThreadPool& pool) {
          expect_equal(expected, integer_sums(pool, a, lda, packed, m), w.text());
        });
        if (HasFailure()) return;
      }
    }
  }
}

// How a product is computed depends on rows and length: both sides of every border between ways.
TEST(GemmU8Codes, EqualsReferenceOnBothSidesOfEveryChoiceOfKernel) {
  Random random(34);
  for (const CodeFormat format : {CodeFormat::kSign, CodeFormat::kInt3, CodeFormat::kInt4}) {
    for (const int64_t k : {383, 384, 4095, 4096}) {
      for (const int64_t m : {3, 4, 24, 25, 27}) {
        if (k > 1000 && m < 24) continue;
        Weights w(format, k, 35, WeightLayout::kNxK, Filling::kRandom, random);
        w.add_zero_points(random);
        const auto a = random.codes(m * k);
        const std::vector<int32_t> bias(35, 11);
        const auto expected = reference_sums(a, k, w.matrix, m, 90, bias);
        const PackedCodes packed = pack_codes(w.matrix, 90, bias.data());
        SCOPED_TRACE("M " + std::to_string(m) + ", seed 34");
        on_every_isa([&](ThreadPool& pool) {
          expect_equal(expected, integer_sums(pool, a, k, packed, m), w.text());
        });
        if (HasFailure()) return;
      }
    }
  }
}

TEST(GemmU8Codes, IsExactWhereEverySumIsGreatest) {
  Random random(25);
  for (const CodeFormat format : kFormats) {
    for (const Filling filling : {Filling::kHighest, Filling::kLowest}) {
      for (const Filling activation : {Filling::kHighest, Filling::kLowest}) {
        for (const int64_t m : {1, 3, 5}) {
          // Longer than what sums in 16 bits hold, and for one row longer than a chunk of sums.
          const int64_t k = m == 1 ? 70001 : 4096;
          Weights w(format, k, 17, WeightLayout::kNxK, filling, random);
          const auto a = activations(m * k, activation, random);
          const std::vector<int32_t> bias(17, 0);
          const auto expected = reference_sums(a, k, w.matrix, m, 128, bias);
          const PackedCodes packed = pack_codes(w.matrix, 128);
          on_every_isa([&](ThreadPool& pool) {
            expect_equal(expected, integer_sums(pool, a, k, packed, m), w.text());
          });
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(GemmU8Codes, AddingANumberToCodesAndZeroPointsChangesNothing) {
  Random random(26);
  const int64_t k = 129, n = 33;
  for (const CodeFormat format : {CodeFormat::kInt3, CodeFormat::kInt4, CodeFormat::kInt8}) {
    for (const int64_t m : {1, 2, 17}) {
      Weights w(format, k, n, WeightLayout::kNxK, Filling::kRandom, random);
      // Codes of one bit less leave room to move.
      for (int8_t& code : w.codes) code = static_cast<int8_t>(code >> 1);
      const auto a = random.codes(m * k);
      const std::vector<int32_t> bias(static_cast<size_t>(n), 5);
      std::vector<int32_t> first;
      const int32_t room = highest_code(format) / 2;
      for (const int32_t moved : {0, 1, room, -room}) {
        auto codes = w.codes;
        for (int8_t& code : codes) code = static_cast<int8_t>(code + moved);
        w.zero_points.assign(static_cast<size_t>(n), static_cast<int8_t>(moved));
        CodeMatrix matrix = w.matrix;
        matrix.codes = codes.data();
        matrix.zero_points = w.zero_points.data();
        const PackedCodes packed = pack_codes(matrix, 77, bias.data());
        on_every_isa([&](ThreadPool& pool) {
          const auto sums = integer_sums(pool, a, k, packed, m);
          if (first.empty()) first = sums;
          expect_equal(first, sums, w.text() + ", moved by " + std::to_string(moved));
        });
        if (HasFailure()) return;
      }
    }
  }
}

TEST(GemmU8Codes, CodesOutAreThoseOfTheEightBitProduct) {
  Random random(27);
  const int64_t k = 130, n = 70;
  for (const CodeFormat format : kFormats) {
    for (const int64_t m : kRows) {
      Weights w(format, k, n, WeightLayout::kNxK, Filling::kRandom, random);
      const auto a = random.codes(m * k);
      const auto bias = random.integers(n, -1000, 1000);
      const auto residual = random.codes(m * n);
      const auto table = random.codes(256);
      const auto scale = random.floats(n, 0.001F, 0.01F);
      for (const bool with_residual : {false, true}) {
        IntegerEpilogue e;
        e.output = IntegerOutput::kU8;
        e.ldc = n;
        e.scale = scale.data();
        e.zero_point = 100;
        e.lo = 20;
        if (with_residual) e.residual = residual.data();
        e.residual_stride = n;
        e.residual_scale = 0.3F;
        if (!with_residual) e.table = table.data();
        std::vector<uint8_t> expected(static_cast<size_t>(m * n));
        e.c = expected.data();
        reference::gemm_u8s8(a.data(), k, w.codes.data(), WeightLayout::kNxK, m, n, k, 7,
                             bias.data(), e);
        const PackedCodes packed = pack_codes(w.matrix, 7, bias.data());
        on_every_isa([&](ThreadPool& pool) {
          Scratch scratch(gemm_codes_scratch_bytes(packed, m, pool.size()));
          std::vector<uint8_t> c(expected.size());
          IntegerEpilogue own = e;
          own.c = c.data();
          gemm_u8_codes({pool, scratch.span()}, a.data(), k, packed, m, own);
          expect_equal(expected, c, w.text());
        });
        if (HasFailure()) return;
      }
    }
  }
}

// Weights of group products over formats, group sizes, storages and tails.
struct GroupCase {
  CodeFormat format;
  int64_t k, n, m, group;
  bool zero_points;
  ScaleStorage storage;
};

std::vector<GroupCase> group_cases() {
  std::vector<GroupCase> cases;
  size_t turn = 0;
  for (const CodeFormat format : kFormats) {
    for (const int64_t group : {0, 32, 64, 128, 96}) {
      for (const int64_t m : kRows) {
        const int64_t k = kLengths[turn % std::size(kLengths)];
        const int64_t ns[] = {33, 16, 7, 70};
        cases.push_back({format, k, ns[turn % std::size(ns)], m, group, turn % 2 == 0,
                         turn % 3 == 0 ? ScaleStorage::kF16 : ScaleStorage::kF32});
        ++turn;
      }
    }
  }
  return cases;
}

Weights& prepare(Weights& w, const GroupCase& c, Random& random) {
  w.set_group(c.group);
  w.add_scales(random);
  if (c.zero_points) w.add_zero_points(random);
  return w;
}

// The same product with all signs made positive bounds what its terms can be.
std::vector<float> magnitude_of(const Weights& w, const std::vector<float>& a, int64_t m) {
  CodeMatrix matrix = w.matrix;
  std::vector<int8_t> codes(w.codes.size()), zeros(w.zero_points.size());
  std::vector<float> c(static_cast<size_t>(m * matrix.n));
  for (size_t i = 0; i < codes.size(); ++i) {
    codes[i] = static_cast<int8_t>(std::min(127, std::abs(+w.codes[i])));
  }
  for (size_t i = 0; i < zeros.size(); ++i) {
    zeros[i] = static_cast<int8_t>(-std::min(127, std::abs(+w.zero_points[i])));
  }
  matrix.codes = codes.data();
  if (!zeros.empty()) matrix.zero_points = zeros.data();
  reference::gemm_f32_codes(absolute_values(a).data(), matrix.run, matrix, m, c.data(), matrix.n,
                            {});
  for (float& value : c) value *= 128.0F / 127.0F;
  return c;
}

TEST(GemmQuantizedCodes, EqualsReferenceAndIsTheSameOnEveryLevel) {
  Random random(28);
  size_t turn = 0;
  for (const GroupCase& g : group_cases()) {
    Weights w(g.format, g.k, g.n, turn % 2 == 0 ? WeightLayout::kNxK : WeightLayout::kKxN,
              Filling::kRandom, random);
    prepare(w, g, random);
    QuantizedRows a;
    const auto codes = random.codes(g.m * g.k);
    const auto scales = random.floats(g.m, 0.01F, 0.02F);
    const auto zero_points = random.integers(g.m, 0, 255);
    const auto bias = random.floats(g.n);
    const auto residual = random.floats(g.m * g.n);
    a.codes = codes.data();
    a.stride = g.k;
    a.scales = scales.data();
    a.shared = turn % 4 == 3;
    if (turn % 3 != 0) a.zero_points = zero_points.data();
    Epilogue e;
    if (turn % 2 == 0) e.bias = bias.data();
    if (turn % 5 == 0) e.residual = residual.data();
    e.residual_stride = g.n;
    if (turn % 3 == 1) e.activation = {Activation::kRelu};
    ++turn;
    std::vector<float> expected(static_cast<size_t>(g.m * g.n));
    reference::gemm_quantized_codes(a, w.matrix, g.m, expected.data(), g.n, e);
    // Products of both parts, (code - 128) and (128 - zero point), each below 128 times a scale.
    const std::vector<float> activation(static_cast<size_t>(g.m * g.k), 2.0F * 128.0F * 0.02F);
    auto magnitude = magnitude_of(w, activation, g.m);
    for (float& value : magnitude) value += 2.0F;
    const PackedCodes packed = pack_codes(w.matrix, 0, nullptr, g.storage);
    const auto bounds = sum_tolerance(magnitude, w.matrix.groups() + 4);
    std::vector<float> first;
    SCOPED_TRACE(w.text() + ", M " + std::to_string(g.m) + ", seed 28");
    on_every_isa([&](ThreadPool& pool) {
      Scratch scratch(gemm_codes_scratch_bytes(packed, g.m, pool.size()));
      std::vector<float> c(expected.size());
      gemm_quantized_codes({pool, scratch.span()}, a, packed, g.m, c.data(), g.n, e);
      expect_close(expected, c, bounds, 2e-7F, w.text());
      if (first.empty()) first = c;
      expect_equal(first, c, w.text() + " against the first level");
    });
    if (HasFailure()) return;
  }
}

TEST(GemmF32Codes, EqualsReferenceForEveryFormatGroupAndTail) {
  Random random(29);
  size_t turn = 0;
  for (const GroupCase& g : group_cases()) {
    Weights w(g.format, g.k, g.n, turn % 2 == 0 ? WeightLayout::kNxK : WeightLayout::kKxN,
              Filling::kRandom, random);
    prepare(w, g, random);
    const auto a = random.floats(g.m * g.k);
    const auto bias = random.floats(g.n);
    Epilogue e;
    if (turn % 2 == 0) e.bias = bias.data();
    if (turn % 3 == 1) e.activation = {Activation::kRelu};
    ++turn;
    std::vector<float> expected(static_cast<size_t>(g.m * g.n));
    reference::gemm_f32_codes(a.data(), g.k, w.matrix, g.m, expected.data(), g.n, e);
    auto magnitude = magnitude_of(w, a, g.m);
    for (float& value : magnitude) value += 1.0F;
    const auto bounds = sum_tolerance(magnitude, g.k + w.matrix.groups() + 4);
    const PackedCodes packed = pack_codes(w.matrix, 0, nullptr, g.storage);
    SCOPED_TRACE(w.text() + ", M " + std::to_string(g.m) + ", seed 29");
    on_every_isa([&](ThreadPool& pool) {
      Scratch scratch(gemm_codes_scratch_bytes(packed, g.m, pool.size()));
      std::vector<float> c(expected.size());
      gemm_f32_codes({pool, scratch.span()}, a.data(), g.k, packed, g.m, c.data(), g.n, e);
      expect_close(expected, c, bounds, 2e-7F, w.text());
    });
    if (HasFailure()) return;
  }
}

// A convolution small enough to be checked in every format.
struct ConvCase {
  const char* what;
  int64_t size, in, out, kernel, stride, groups;
};

ConvShape shape_of(const ConvCase& c) {
  ConvShape s;
  s.batch = 2;
  s.in_h = c.size;
  s.in_w = c.size + 1;
  s.in_channels = c.in;
  s.out_channels = c.out;
  s.kernel_h = s.kernel_w = c.kernel;
  s.stride_h = s.stride_w = c.stride;
  s.pad_top = s.pad_left = c.kernel / 2;
  s.out_h = (s.in_h + 2 * s.pad_top - c.kernel) / c.stride + 1;
  s.out_w = (s.in_w + 2 * s.pad_left - c.kernel) / c.stride + 1;
  s.groups = c.groups;
  return s;
}

TEST(ConvU8Codes, EqualsReferenceToTheBit) {
  const ConvCase cases[] = {{"1x1", 5, 33, 20, 1, 1, 1},
                            {"1x1, stride 2", 6, 16, 40, 1, 2, 1},
                            {"3x3", 7, 20, 17, 3, 1, 1},
                            {"3x3, stride 2", 8, 32, 35, 3, 2, 1},
                            {"5x5, few channels", 9, 3, 18, 5, 2, 1},
                            {"3x3, groups", 6, 24, 40, 3, 1, 2}};
  Random random(30);
  for (const CodeFormat format : kFormats) {
    for (const ConvCase& c : cases) {
      const ConvShape s = shape_of(c);
      const int64_t k = s.taps() * s.group_in();
      const auto weights = codes_of(random, format, s.out_channels * k);
      const auto zeros = codes_of(random, format, s.out_channels);
      const bool with_zeros = format == CodeFormat::kInt4 || format == CodeFormat::kInt2;
      const auto input = random.codes(s.batch * s.in_h * s.in_w * s.in_channels);
      const auto bias = random.integers(s.out_channels, -1000, 1000);
      std::vector<int8_t> centred = weights;
      for (size_t i = 0; i < centred.size() && with_zeros; ++i) {
        centred[i] = static_cast<int8_t>(centred[i] - zeros[i / static_cast<size_t>(k)]);
      }
      IntegerEpilogue e;
      e.ldc = s.out_channels;
      std::vector<int32_t> expected(static_cast<size_t>(s.out_pixels() * s.out_channels));
      e.c = expected.data();
      reference::conv_u8s8(input.data(), centred.data(), s, 99, bias.data(), e);
      const PackedConvCodes packed = pack_conv_codes(
          weights.data(), format, s, 99, with_zeros ? zeros.data() : nullptr, bias.data());
      SCOPED_TRACE(name(format) + ", " + c.what + ", seed 30");
      on_every_isa([&](ThreadPool& pool) {
        Scratch scratch(conv_u8_codes_scratch_bytes(packed, s, pool.size()));
        std::vector<int32_t> actual(expected.size());
        IntegerEpilogue own = e;
        own.c = actual.data();
        conv_u8_codes({pool, scratch.span()}, input.data(), packed, s, own);
        expect_equal(expected, actual, c.what);
      });
      if (HasFailure()) return;
    }
  }
}

TEST(ConvU8Codes, RefusesZeroPointsOfEightBits) {
  const std::vector<int8_t> codes(16 * 16);
  const std::vector<int8_t> zeros(16);
  const ConvShape shape = shape_of({"1x1", 4, 16, 16, 1, 1, 1});
  EXPECT_THROW(pack_conv_codes(codes.data(), CodeFormat::kInt8, shape, 0, zeros.data(), nullptr),
               Error);
}

}  // namespace
}  // namespace ounce::engine
