#include "engine/kernels/bits/conv_bits.h"

#include "engine/kernels/reference/reference_bits.h"
#include "tests/engine_kernels/bit_values.h"
#include "tests/engine_kernels/kernel_test.h"

namespace ounce::engine {
namespace {

struct Case {
  int64_t size, in, out, kernel, stride, pad, dilation, groups;
};

ConvShape shape_of(const Case& c) {
  ConvShape s;
  s.batch = 2;
  s.in_h = c.size;
  s.in_w = c.size + 1;
  s.in_channels = c.in;
  s.out_channels = c.out;
  s.kernel_h = c.kernel;
  s.kernel_w = c.kernel;
  s.stride_h = s.stride_w = c.stride;
  s.dilation_h = s.dilation_w = c.dilation;
  s.pad_top = s.pad_left = c.pad;
  s.out_h = (s.in_h + 2 * c.pad - (c.kernel - 1) * c.dilation - 1) / c.stride + 1;
  s.out_w = (s.in_w + 2 * c.pad - (c.kernel - 1) * c.dilation - 1) / c.stride + 1;
  s.groups = c.groups;
  return s;
}

std::string name(const Case& c) {
  return "size " + std::to_string(c.size) + " in " + std::to_string(c.in) + " out " +
         std::to_string(c.out) + " kernel " + std::to_string(c.kernel) + " stride " +
         std::to_string(c.stride) + " pad " + std::to_string(c.pad) + " dilation " +
         std::to_string(c.dilation) + " groups " + std::to_string(c.groups);
}

constexpr Case kCases[] = {
    {7, 64, 16, 1, 1, 0, 1, 1},  {7, 65, 17, 1, 2, 0, 1, 1},  {6, 64, 33, 3, 1, 1, 1, 1},
    {7, 130, 21, 3, 2, 1, 1, 1}, {5, 3, 8, 5, 1, 2, 1, 1},    {6, 40, 5, 3, 1, 2, 2, 1},
    {16, 16, 16, 3, 1, 1, 1, 1}, {9, 16, 32, 3, 2, 1, 1, 1},  {8, 32, 70, 3, 1, 1, 1, 1},
    {5, 48, 17, 4, 3, 0, 1, 1},  {5, 128, 32, 3, 1, 1, 1, 2}, {5, 96, 30, 3, 1, 1, 1, 3},
    {5, 20, 20, 3, 1, 1, 1, 20}, {6, 70, 70, 3, 2, 1, 1, 70}, {4, 256, 128, 3, 1, 1, 1, 2}};

struct Formats {
  BitFormat a, b;
};
constexpr Formats kFormats[] = {
    {kSignBits, kSignBits},
    {kSignBits, kTernaryBits},
    {kSignBits, {BitCoding::kSigned, 2}},
    {{BitCoding::kUnsigned, 2}, {BitCoding::kSigned, 2}},
    {{BitCoding::kUnsigned, 3}, kSignBits},
    {{BitCoding::kSigned, 2}, {BitCoding::kUnsigned, 3}},
    {kTernaryBits, kTernaryBits},
    {kMapBits, kMapBits},
};

// One convolution with its operands.
struct Problem {
  Problem(Random& random, const Case& c, const Formats& formats, int32_t zero)
      : shape(shape_of(c)),
        activations{formats.a, zero},
        weight_format(formats.b),
        image(bit_values(random, formats.a,
                         shape.batch * shape.in_h * shape.in_w * shape.in_channels)),
        weights(
            bit_values(random, formats.b, shape.out_channels * shape.taps() * shape.group_in())),
        bias(random.integers(shape.out_channels, -20, 20)),
        bits(reference::pack_rows(image, shape.batch * shape.in_h * shape.in_w, shape.in_channels,
                                  formats.a)) {}

  void expect(const IntegerEpilogue& e) const {
    reference::conv_bits(image.data(), weights.data(), shape, activations.zero_point, bias.data(),
                         e);
  }
  // With weights packed at the current level.
  void run(ThreadPool& pool, const IntegerEpilogue& e) const {
    const PackedConvBits own =
        pack_conv_bits(weights.data(), shape, weight_format, activations, bias.data());
    Scratch scratch(conv_bits_scratch_bytes(own, shape, pool.size()));
    conv_bits({pool, scratch.span()}, bits.data(), own, shape, e);
  }

  ConvShape shape;
  BitActivations activations;
  BitFormat weight_format;
  std::vector<int8_t> image, weights;
  std::vector<int32_t> bias;
  std::vector<uint64_t> bits;
};

TEST(ConvBits, EveryGeometryAndFormatGivesTheIntegersOfItsValuesWithZeroPadding) {
  Random random(21);
  for (const Case& c : kCases) {
    for (const Formats& formats : kFormats) {
      const bool shifted = formats.a.coding == BitCoding::kUnsigned;
      const Problem p(random, c, formats, shifted ? 1 : 0);
      std::vector<int32_t> expected(
          static_cast<size_t>(p.shape.out_pixels() * p.shape.out_channels));
      IntegerEpilogue e;
      e.c = expected.data();
      e.ldc = c.out;
      p.expect(e);
      on_every_isa([&](ThreadPool& pool) {
        std::vector<int32_t> actual(expected.size());
        IntegerEpilogue own = e;
        own.c = actual.data();
        p.run(pool, own);
        expect_equal(expected, actual,
                     name(c) + ", " + bit_name(formats.a) + " x " + bit_name(formats.b));
      });
      if (HasFailure()) return;
    }
  }
}

TEST(ConvBits, BitsAreTheSignsOfBatchNormalizedSums) {
  Random random(22);
  for (const Case& c : kCases) {
    const Problem p(random, c, {kSignBits, kSignBits}, 0);
    const auto scale = random.floats(c.out, -0.1F, 0.1F);
    const auto shift = random.floats(c.out);
    const SignThresholds folded = fold_sign_thresholds(scale, shift);
    const int64_t words = BitFormat::plane_words(c.out);
    std::vector<float> floats(static_cast<size_t>(p.shape.out_pixels() * c.out));
    IntegerEpilogue e;
    e.output = IntegerOutput::kF32;
    e.c = floats.data();
    e.ldc = c.out;
    e.scale = scale.data();
    e.f32.bias = shift.data();
    p.expect(e);
    std::vector<int8_t> signs(floats.size());
    for (size_t i = 0; i < signs.size(); ++i) signs[i] = floats[i] < 0.0F ? int8_t{-1} : int8_t{1};
    const auto expected = reference::pack_rows(signs, p.shape.out_pixels(), c.out, kSignBits);
    e.output = IntegerOutput::kBits;
    e.ldc = words;
    e.thresholds = folded.thresholds.data();
    e.flips = folded.flips.data();
    std::vector<uint64_t> said(expected.size());
    e.c = said.data();
    p.expect(e);
    expect_equal(expected, said, "reference, " + name(c));
    on_every_isa([&](ThreadPool& pool) {
      std::vector<uint64_t> actual(expected.size(), ~uint64_t{0});
      IntegerEpilogue own = e;
      own.c = actual.data();
      p.run(pool, own);
      expect_equal(expected, actual, name(c));
    });
    if (HasFailure()) return;
  }
}

TEST(ConvBits, FloatsWithResidualAndPReluComeWithTheSignsOfTheNextLayer) {
  Random random(23);
  for (const Case& c : kCases) {
    for (const bool shifted : {false, true}) {
      const Problem p(random, c, {kSignBits, kSignBits}, 0);
      const auto count = static_cast<size_t>(p.shape.out_pixels() * c.out);
      const auto scale = random.floats(c.out, -0.1F, 0.1F), bias = random.floats(c.out);
      const auto slope = random.floats(c.out), before = random.floats(c.out);
      const auto after = random.floats(c.out), shift = random.floats(c.out);
      const auto gain = random.floats(c.out);
      const auto residual = random.floats(p.shape.out_pixels() * c.out);
      const int64_t words = BitFormat::plane_words(c.out);
      std::vector<float> expected(count);
      std::vector<uint64_t> expected_bits(static_cast<size_t>(p.shape.out_pixels() * words));
      IntegerEpilogue e;
      e.output = IntegerOutput::kF32;
      e.ldc = c.out;
      e.scale = scale.data();
      e.f32.bias = bias.data();
      e.f32.residual = residual.data();
      e.f32.residual_stride = c.out;
      e.prelu_slope = slope.data();
      if (shifted) {
        e.prelu_gain = gain.data();
        e.prelu_before = before.data();
        e.prelu_after = after.data();
        e.sign_shift = shift.data();
      }
      e.sign_stride = words;
      e.c = expected.data();
      e.sign_bits = expected_bits.data();
      p.expect(e);
      on_every_isa([&](ThreadPool& pool) {
        std::vector<float> actual(count);
        std::vector<uint64_t> bits(expected_bits.size(), ~uint64_t{0});
        IntegerEpilogue own = e;
        own.c = actual.data();
        own.sign_bits = bits.data();
        p.run(pool, own);
        expect_equal(expected, actual, name(c));
        expect_equal(expected_bits, bits, "signs, " + name(c));
      });
      if (HasFailure()) return;
    }
  }
}

TEST(ConvBits, TwoValuesThatAreNotOppositeGiveTheirSumsWithZeroPadding) {
  Random random(25);
  for (const Case& c : kCases) {
    const Problem p(random, c, {kSignBits, kSignBits}, 0);
    const ConvShape& s = p.shape;
    if (!can_read_windows(s)) continue;
    const auto scale = random.floats(c.out, -0.1F, 0.1F), offset = random.floats(c.out);
    const auto bias = random.floats(c.out), slope = random.floats(c.out);
    const ValueShift shift = {0.37F, scale, offset, bias};
    std::vector<double> expected;
    for (int64_t row = 0; row < s.out_pixels(); ++row) {
      const int64_t n = row / (s.out_h * s.out_w), y = row / s.out_w % s.out_h, x = row % s.out_w;
      for (int64_t o = 0; o < s.out_channels; ++o) {
        const auto column = static_cast<size_t>(o);
        double sum = bias[column];
        for (int64_t tap = 0; tap < s.taps(); ++tap) {
          const int64_t from_y = y * s.stride_h - s.pad_top + tap / s.kernel_w * s.dilation_h;
          const int64_t from_x = x * s.stride_w - s.pad_left + tap % s.kernel_w;
          if (from_y < 0 || from_y >= s.in_h || from_x < 0 || from_x >= s.in_w) continue;
          const int64_t pixel = (n * s.in_h + from_y) * s.in_w + from_x;
          for (int64_t i = 0; i < s.in_channels; ++i) {
            const auto a = p.image[static_cast<size_t>(pixel * s.in_channels + i)];
            const auto w = p.weights[static_cast<size_t>((o * s.taps() + tap) * s.in_channels + i)];
            sum += (a + double{shift.center}) * (double{scale[column]} * w + offset[column]);
          }
        }
        expected.push_back(sum);
      }
    }
    for (const bool prelu : {false, true}) {
      on_every_isa([&](ThreadPool& pool) {
        const PackedConvBits own =
            pack_conv_bits(p.weights.data(), s, kSignBits, p.activations, nullptr, &shift);
        Scratch scratch(conv_bits_scratch_bytes(own, s, pool.size()));
        std::vector<float> actual(expected.size());
        IntegerEpilogue e;
        e.output = IntegerOutput::kF32;
        e.c = actual.data();
        e.ldc = c.out;
        e.scale = scale.data();
        if (prelu) e.prelu_slope = slope.data();
        conv_bits({pool, scratch.span()}, p.bits.data(), own, s, e);
        for (size_t i = 0; i < actual.size(); ++i) {
          const double factor = prelu && expected[i] < 0 ? slope[i % slope.size()] : 1.0;
          // Three terms of up to k * (scale + offset) are rounded before they are added.
          const double k = static_cast<double>(s.taps() * s.in_channels);
          ASSERT_NEAR(actual[i], expected[i] * factor, k * 2e-6) << name(c) << " at " << i;
        }
      });
      if (HasFailure()) return;
    }
  }
}

TEST(ConvBits, CodesComeOutAsOfEveryIntegerProduct) {
  Random random(24);
  const Problem p(random, {6, 64, 33, 3, 1, 1, 1, 1}, {kSignBits, kSignBits}, 0);
  const auto scale = random.floats(33, 0.01F, 0.3F);
  std::vector<uint8_t> expected(static_cast<size_t>(p.shape.out_pixels() * 33));
  IntegerEpilogue e;
  e.output = IntegerOutput::kU8;
  e.c = expected.data();
  e.ldc = 33;
  e.scale = scale.data();
  e.zero_point = 117;
  p.expect(e);
  on_every_isa([&](ThreadPool& pool) {
    std::vector<uint8_t> actual(expected.size());
    IntegerEpilogue own = e;
    own.c = actual.data();
    p.run(pool, own);
    expect_equal(expected, actual, "codes");
  });
}

}  // namespace
}  // namespace ounce::engine
