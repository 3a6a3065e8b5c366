#include <algorithm>
#include <bit>

#include "engine/kernels/bits/gemm_bits.h"
#include "engine/kernels/reference/reference_bits.h"
#include "tests/engine_kernels/bit_values.h"
#include "tests/engine_kernels/kernel_test.h"

namespace ounce::engine {
namespace {

constexpr BitFormat kFormats[] = {kSignBits,
                                  kMapBits,
                                  {BitCoding::kUnsigned, 2},
                                  {BitCoding::kUnsigned, 3},
                                  {BitCoding::kSigned, 2},
                                  {BitCoding::kSigned, 3},
                                  kTernaryBits};
constexpr int64_t kLengths[] = {1, 31, 32, 63, 64, 127, 128, 129, 255, 256, 1000};
constexpr int64_t kRows[] = {1, 2, 3, 4, 5, 17};

constexpr Fill kFills[] = {Fill::kRandom, Fill::kHighest, Fill::kLowest, Fill::kAlternating};

TEST(BitPlanes, UnsignedCodesArePackedAsTheyAre) {
  Random random(2);
  for (const int planes : {1, 2, 3}) {
    for (const int64_t channels : kLengths) {
      const int64_t rows = 5;
      const BitFormat format = {BitCoding::kUnsigned, planes};
      const auto values = bit_values(random, format, rows * channels);
      const std::vector<uint8_t> codes(values.begin(), values.end());
      const auto expected = reference::pack_rows(values, rows, channels, format);
      on_every_isa([&](ThreadPool& pool) {
        std::vector<uint64_t> bits(expected.size());
        pack_codes({pool, {}}, codes.data(), channels, rows, channels, planes, bits.data());
        expect_equal(expected, bits, bit_name(format));
      });
    }
  }
}

TEST(BitPlanes, TernaryCodesArePackedAsTheirValues) {
  Random random(4);
  for (const int64_t channels : kLengths) {
    for (const Fill fill : kFills) {
      const int64_t rows = 11, ld = channels + 3;
      const auto values = bit_values(random, kTernaryBits, rows * channels, fill);
      std::vector<uint8_t> codes = random.codes(rows * ld);  // anything between the rows
      for (int64_t i = 0; i < rows * channels; ++i) {
        codes[static_cast<size_t>(i / channels * ld + i % channels)] =
            static_cast<uint8_t>(values[static_cast<size_t>(i)] + 1);
      }
      const auto expected = reference::pack_rows(values, rows, channels, kTernaryBits);
      on_every_isa([&](ThreadPool& pool) {
        std::vector<uint64_t> bits(expected.size(), ~uint64_t{0});
        pack_ternary_codes({pool, {}}, codes.data(), ld, rows, channels, bits.data());
        expect_equal(expected, bits, "channels " + std::to_string(channels));
      });
      if (HasFailure()) return;
    }
  }
}

TEST(BitPlanes, SignsAreTakenAfterTheShiftAndZeroIsPositive) {
  Random random(3);
  for (const int64_t channels : kLengths) {
    const int64_t rows = 9, ld = channels + 3;
    auto x = random.floats(rows * ld);
    for (size_t i = 0; i < x.size(); i += 7) x[i] = i % 2 == 0 ? 0.0F : -0.0F;
    x[0] = -std::numeric_limits<float>::quiet_NaN();
    const auto shift = random.floats(channels, -0.3F, 0.3F);
    for (const bool shifted : {false, true}) {
      std::vector<int8_t> values(static_cast<size_t>(rows * channels));
      for (int64_t i = 0; i < rows * channels; ++i) {
        const int64_t c = i % channels;
        const float v = x[static_cast<size_t>(i / channels * ld + c)] +
                        (shifted ? shift[static_cast<size_t>(c)] : 0.0F);
        values[static_cast<size_t>(i)] = v < 0.0F ? int8_t{-1} : int8_t{1};
      }
      const auto expected = reference::pack_rows(values, rows, channels, kSignBits);
      on_every_isa([&](ThreadPool& pool) {
        std::vector<uint64_t> bits(expected.size(), ~uint64_t{0});
        pack_signs({pool, {}}, x.data(), ld, rows, channels, shifted ? shift.data() : nullptr,
                   BitFormat::plane_words(channels), bits.data());
        expect_equal(expected, bits, "channels " + std::to_string(channels));
      });
    }
  }
}

TEST(BitPlanes, SignsAreToldFromCodes) {
  Random random(5);
  for (const int64_t channels : kLengths) {
    const int64_t rows = 9, words = BitFormat::plane_words(channels);
    const std::vector<uint8_t> codes = random.codes(rows * channels);
    std::vector<uint8_t> limits = random.codes(channels);
    limits.resize(static_cast<size_t>(words * 64));
    std::vector<uint64_t> flips(static_cast<size_t>(words));
    for (int64_t c = 0; c < channels; ++c) {
      if (c % 5 == 0) limits[static_cast<size_t>(c)] = c % 2 == 0 ? 0 : 255;
      if (c % 3 == 0) flips[static_cast<size_t>(c / 64)] |= uint64_t{1} << (c % 64);
    }
    std::vector<int8_t> values(codes.size());
    for (size_t i = 0; i < codes.size(); ++i) {
      const size_t c = i % static_cast<size_t>(channels);
      values[i] = (codes[i] < limits[c]) != (c % 3 == 0) ? int8_t{-1} : int8_t{1};
    }
    const auto expected = reference::pack_rows(values, rows, channels, kSignBits);
    on_every_isa([&](ThreadPool& pool) {
      std::vector<uint64_t> bits(expected.size(), ~uint64_t{0});
      pack_code_signs({pool, {}}, codes.data(), rows, channels, limits.data(), flips.data(),
                      bits.data());
      expect_equal(expected, bits, "channels " + std::to_string(channels));
    });
  }
}

TEST(PackedBits, UnpackGivesTheWeightsAgainAndPanelsHoldTrueBits) {
  Random random(5);
  for (const BitFormat format : kFormats) {
    for (const int64_t run : kLengths) {
      for (const int64_t taps : {1, 3}) {
        const int64_t n = 21;
        const auto values = bit_values(random, format, n * taps * run);
        const BitActivations a = {format == kTernaryBits ? kSignBits : kMapBits, 0};
        const PackedBits packed =
            pack_bits(values.data(), taps, run, n, WeightLayout::kNxK, format, a, nullptr);
        EXPECT_EQ(packed.data.size() * 32,
                  static_cast<size_t>(32 * taps * format.planes * round_up(run, 64)));
        expect_equal(values, unpack_bits(packed), bit_name(format));
      }
    }
  }
}

struct Product {
  int64_t m, n, k;
};

// The integers of a product of two formats, on every instruction set.
void expect_exact_product(Random& random, const BitFormat a_format, const BitFormat b_format,
                          const Product& s, Fill fill_a, Fill fill_b, int32_t zero_point) {
  const auto a = bit_values(random, a_format, s.m * s.k, fill_a);
  const auto b = bit_values(random, b_format, s.n * s.k, fill_b);
  const auto bias = random.integers(s.n, -1000, 1000);
  const auto bits = reference::pack_rows(a, s.m, s.k, a_format);
  IntegerEpilogue e;
  e.ldc = s.n;
  std::vector<int32_t> expected(static_cast<size_t>(s.m * s.n));
  e.c = expected.data();
  const auto layout = s.k % 2 == 0 ? WeightLayout::kNxK : WeightLayout::kKxN;
  reference::gemm_bits(a.data(), b.data(), layout, s.m, s.n, s.k, zero_point, bias.data(), e);
  const PackedBits packed =
      pack_bits(b.data(), 1, s.k, s.n, layout, b_format, {a_format, zero_point}, bias.data());
  on_every_isa([&](ThreadPool& pool) {
    // Weights of another level, and those of this one, which may be looked up.
    const PackedBits own =
        pack_bits(b.data(), 1, s.k, s.n, layout, b_format, {a_format, zero_point}, bias.data());
    for (const PackedBits* weights : {&packed, &own}) {
      Scratch scratch(gemm_bits_scratch_bytes(s.m, s.n, s.k, pool.size()));
      std::vector<int32_t> c(expected.size());
      IntegerEpilogue actual = e;
      actual.c = c.data();
      gemm_bits({pool, scratch.span()}, bits.data(), a_format.words(s.k), *weights, s.m, actual);
      expect_equal(expected, c,
                   bit_name(a_format) + " x " + bit_name(b_format) + ", M " + std::to_string(s.m) +
                       " N " + std::to_string(s.n) + " K " + std::to_string(s.k));
    }
  });
}

TEST(GemmBits, EveryPairOfFormatsGivesTheIntegersOfItsValues) {
  Random random(6);
  size_t turn = 0;
  for (const BitFormat a : kFormats) {
    for (const BitFormat b : kFormats) {
      if (!can_multiply(a, b)) continue;
      for (const int64_t k : kLengths) {
        const Product s = {kRows[turn % std::size(kRows)], 1 + static_cast<int64_t>(turn % 7) * 23,
                           k};
        const bool zeroed =
            turn % 3 == 0 && (a.coding == BitCoding::kUnsigned || a.coding == BitCoding::kSigned);
        expect_exact_product(random, a, b, s, kFills[turn % 4], kFills[turn / 4 % 4],
                             zeroed ? 1 : 0);
        ++turn;
        if (HasFailure()) return;
      }
    }
  }
}

TEST(GemmBits, SignProductsAreExactForAllRowsLengthsAndExtremes) {
  Random random(7);
  for (const int64_t m : kRows) {
    for (const int64_t k : kLengths) {
      for (const Fill a : kFills) {
        for (const Fill b : kFills) {
          if ((a == Fill::kRandom) != (b == Fill::kRandom)) continue;
          expect_exact_product(random, kSignBits, kSignBits, {m, 35, k}, a, b, 0);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(GemmBits, LongRowsDoNotOverflowTheirCounters) {
  Random random(8);
  for (const auto& [a, b] : {std::pair{kSignBits, kSignBits},
                             {BitFormat{BitCoding::kUnsigned, 3}, BitFormat{BitCoding::kSigned, 3}},
                             {kSignBits, kTernaryBits},
                             {kTernaryBits, kTernaryBits}}) {
    for (const Fill fill : {Fill::kHighest, Fill::kLowest}) {
      expect_exact_product(random, a, b, {3, 17, 20000}, fill, Fill::kLowest, 0);
    }
  }
}

TEST(GemmBits, EqualRowsGivePlusKAndOppositeRowsMinusK) {
  for (const int64_t k : kLengths) {
    const std::vector<int8_t> plus(static_cast<size_t>(k), 1), minus(static_cast<size_t>(k), -1);
    const auto bits = reference::pack_rows(plus, 1, k, kSignBits);
    for (const bool equal : {true, false}) {
      const PackedBits packed = pack_bits((equal ? plus : minus).data(), 1, k, 1,
                                          WeightLayout::kNxK, kSignBits, {}, nullptr);
      on_every_isa([&](ThreadPool& pool) {
        Scratch scratch(gemm_bits_scratch_bytes(1, 1, k, pool.size()));
        int32_t acc = 0;
        IntegerEpilogue e;
        e.c = &acc;
        e.ldc = 1;
        gemm_bits({pool, scratch.span()}, bits.data(), BitFormat::plane_words(k), packed, 1, e);
        EXPECT_EQ(acc, equal ? k : -k);
      });
    }
  }
}

TEST(MatmulBits, BatchesOfActivationsGiveTheIntegersInBothLayouts) {
  Random random(10);
  for (const BitFormat format : {kSignBits, kMapBits, BitFormat{BitCoding::kUnsigned, 2}}) {
    for (const auto layout : {WeightLayout::kNxK, WeightLayout::kKxN}) {
      for (const Product& p :
           {Product{197, 64, 197}, Product{3, 50, 64}, Product{1, 17, 31}, Product{5, 1, 1}}) {
        for (const int64_t items : {1, 7}) {
          MatmulBitsShape s = {p.m, p.n, p.k, format.words(p.k) + 1, 0, layout, format};
          const bool transposed = layout == WeightLayout::kKxN;
          const int64_t b_rows = transposed ? p.k : p.n, b_columns = transposed ? p.n : p.k;
          s.ldb = kSignBits.words(b_columns);
          std::vector<float> expected(static_cast<size_t>(items * p.m * p.n));
          std::vector<uint64_t> a_bits, b_bits;
          std::vector<AlignedVector<float>> scales;
          IntegerEpilogue e;
          e.output = IntegerOutput::kF32;
          e.ldc = p.n;
          for (int64_t i = 0; i < items; ++i) {
            const auto a = bit_values(random, format, p.m * p.k);
            const auto b = bit_values(random, kSignBits, p.n * p.k);
            scales.emplace_back(static_cast<size_t>(round_up(p.n, kPanelColumns)),
                                0.3F + 0.01F * static_cast<float>(i));
            e.c = expected.data() + i * p.m * p.n;
            e.scale = scales.back().data();
            reference::gemm_bits(a.data(), b.data(), layout, p.m, p.n, p.k, 0, nullptr, e);
            const auto packed = reference::pack_rows(a, p.m, p.k, format);
            for (int64_t row = 0; row < p.m; ++row) {
              const auto begin = packed.begin() + row * (s.lda - 1);
              a_bits.insert(a_bits.end(), begin, begin + s.lda - 1);
              a_bits.push_back(~uint64_t{0});  // not of the row
            }
            const auto right = reference::pack_rows(b, b_rows, b_columns, kSignBits);
            b_bits.insert(b_bits.end(), right.begin(), right.end());
          }
          on_every_isa([&](ThreadPool& pool) {
            Scratch scratch(matmul_bits_scratch_bytes(s, items, pool.size()));
            std::vector<float> c(expected.size());
            std::vector<MatmulBitsItem> list;
            for (int64_t i = 0; i < items; ++i) {
              list.push_back({a_bits.data() + i * p.m * s.lda, b_bits.data() + i * b_rows * s.ldb,
                              c.data() + i * p.m * p.n, scales[static_cast<size_t>(i)].data()});
            }
            matmul_bits({pool, scratch.span()}, list, s, e);
            expect_equal(expected, c, bit_name(format) + " K " + std::to_string(p.k));
          });
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(SignThresholds, EqualFloatBatchNormAndSignForEveryAccumulator) {
  Random random(9);
  const int32_t k = 2304;
  auto scale = random.floats(400, -0.01F, 0.01F);
  auto bias = random.floats(400, -8.0F, 8.0F);
  for (size_t c = 0; c < 40; ++c) scale[c] = c % 2 == 0 ? 0.0F : -0.0F;
  for (size_t c = 30; c < 60; ++c) bias[c] = c % 2 == 0 ? 0.0F : -0.0F;
  for (size_t c = 60; c < 80; ++c) bias[c] = scale[c] * -static_cast<float>(c);  // ties at zero
  scale[80] = 1e30F;
  scale[81] = 1e-42F;
  scale[82] = -1e-42F;
  const SignThresholds folded = fold_sign_thresholds(scale, bias);
  for (size_t c = 0; c < scale.size(); ++c) {
    for (int32_t acc = -k; acc <= k; ++acc) {
      const volatile float scaled = static_cast<float>(acc) * scale[c];  // rounded: not fused
      const bool expected = scaled + bias[c] < 0.0F;
      const bool flip = (folded.flips[c / 16] >> (c % 16) & 1) != 0;
      ASSERT_EQ(expected, (acc < folded.thresholds[c]) != flip)
          << "acc " << acc << " scale " << scale[c] << " bias " << bias[c];
    }
  }
}

}  // namespace
}  // namespace ounce::engine
