#include <functional>

#include "engine/kernels/reference/reference.h"
#include "tests/engine_kernels/kernel_test.h"

namespace ounce::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kLengths[] = {1, 3, 15, 16, 17, 63, 64, 65, 100, 1000, 20000};

std::vector<float> map(const std::vector<float>& x, const std::function<double(double)>& function) {
  std::vector<float> y;
  for (const float value : x) y.push_back(static_cast<float>(function(value)));
  return y;
}

TEST(Activations, EqualReferenceWithinTwoMillionthsOverTheWholeRange) {
  Random random(21);
  std::vector<float> x = random.floats(4000, -12.0F, 12.0F);
  for (const float value : random.floats(500, -100.0F, 100.0F)) x.push_back(value);
  for (const float value : random.floats(500, -1e-3F, 1e-3F)) x.push_back(value);
  for (const float value : {0.0F, -0.0F, 1e30F, kNaN}) x.push_back(value);
  for (int kind = 0; kind <= static_cast<int>(Activation::kHardSigmoid); ++kind) {
    const ActivationSpec spec = {static_cast<Activation>(kind), 0.2F, 0.5F};
    const auto expected = map(x, [&](double v) { return reference::activate(v, spec); });
    on_every_isa([&](ThreadPool& pool) {
      std::vector<float> y(x.size());
      activate_f32({pool, {}}, x.data(), y.data(), static_cast<int64_t>(x.size()), spec);
      // Absolute 1e-8: left tails that are zero for all purposes, and denormal results. The hard
      // activations are differences near their corner: an ulp of 1, times |x| <= 3 there.
      const bool hard =
          spec.kind == Activation::kHardSwish || spec.kind == Activation::kHardSigmoid;
      expect_close(expected, y, {hard ? 3.6e-7F : 1e-8F}, 2e-6F,
                   "activation " + std::to_string(kind));
    });
  }
}

TEST(Unary, EqualsReference) {
  Random random(22);
  for (int op = 0; op <= static_cast<int>(UnaryF32::kCos); ++op) {
    const auto kind = static_cast<UnaryF32>(op);
    const bool positive = kind == UnaryF32::kLog || kind == UnaryF32::kSqrt;
    std::vector<float> x = random.floats(3001, positive ? 1e-6F : -20.0F, 20.0F);
    x.push_back(kNaN);
    if (kind == UnaryF32::kExp) {
      for (const float v : {88.7F, 89.0F, -87.0F, -200.0F, kInfinity, -kInfinity}) x.push_back(v);
    }
    if (kind == UnaryF32::kLog) {
      for (const float v : {0.0F, 1.0F, 1e-30F, 3e38F, -1.0F, kInfinity}) x.push_back(v);
    }
    if (kind == UnaryF32::kRound) {
      for (const float v : {0.5F, 1.5F, 2.5F, -0.5F, -1.5F}) x.push_back(v);
    }
    const auto expected = map(x, [&](double v) { return reference::unary(kind, v); });
    on_every_isa([&](ThreadPool& pool) {
      std::vector<float> y(x.size());
      unary_f32({pool, {}}, kind, x.data(), y.data(), static_cast<int64_t>(x.size()));
      // log near 1 is a difference of nearly equal terms: absolute half an ulp of 1.
      expect_close(expected, y, {kind == UnaryF32::kLog ? 1.2e-7F : 1e-37F}, 5e-7F,
                   "operation " + std::to_string(op));
    });
  }
}

TEST(Binary, EveryBroadcastEqualsReference) {
  Random random(23);
  for (int op = 0; op <= static_cast<int>(BinaryF32::kPRelu); ++op) {
    const auto kind = static_cast<BinaryF32>(op);
    for (const auto broadcast :
         {Broadcast::kNone, Broadcast::kRow, Broadcast::kColumn, Broadcast::kScalar}) {
      for (const auto& [rows, columns] :
           std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 17}, {5, 64}, {2, 20001}}) {
        // Of a negative number no power is real.
        const float low = kind == BinaryF32::kPRelu ? -2.0F : 0.5F;
        const auto a = random.floats(rows * columns, low, 2.0F);
        const auto b = random.floats(rows * columns, 0.5F, 2.0F);
        std::vector<float> expected(a.size()), reversed(a.size());
        for (int64_t i = 0; i < rows * columns; ++i) {
          const int64_t at = broadcast == Broadcast::kNone     ? i
                             : broadcast == Broadcast::kRow    ? i % columns
                             : broadcast == Broadcast::kColumn ? i / columns
                                                               : 0;
          const auto n = static_cast<size_t>(i);
          const auto m = static_cast<size_t>(at);
          expected[n] = static_cast<float>(reference::binary(kind, a[n], b[m]));
          reversed[n] = static_cast<float>(reference::binary(kind, b[m], a[n]));
        }
        on_every_isa([&](ThreadPool& pool) {
          std::vector<float> y(a.size());
          binary_f32({pool, {}}, kind, a.data(), b.data(), y.data(), rows, columns, broadcast);
          expect_close(expected, y, {1e-37F}, 3e-7F, "operation " + std::to_string(op));
          binary_reversed_f32({pool, {}}, kind, a.data(), b.data(), y.data(), rows, columns,
                              broadcast);
          expect_close(reversed, y, {1e-37F}, 3e-7F, "reversed " + std::to_string(op));
        });
      }
    }
  }
}

TEST(Transpose, SwapsTheLastTwoDimensions) {
  Random random(24);
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {3, 1}, {3, 50}, {3, 9001}, {33, 31}, {64, 64}, {7, 100}}) {
    const int64_t size = rows * columns;
    const auto f = random.floats(2 * size);
    const auto u = random.codes(2 * size);
    std::vector<float> expected_f(f.size());
    std::vector<uint8_t> expected_u(u.size());
    for (int64_t i = 0; i < 2 * size; ++i) {
      const int64_t to = i / size * size + i % columns * rows + i % size / columns;
      expected_f[static_cast<size_t>(to)] = f[static_cast<size_t>(i)];
      expected_u[static_cast<size_t>(to)] = u[static_cast<size_t>(i)];
    }
    on_every_isa([&, rows = rows, columns = columns](ThreadPool& pool) {
      std::vector<float> out_f(f.size());
      std::vector<uint8_t> out_u(u.size());
      transpose_f32({pool, {}}, f.data(), out_f.data(), 2, rows, columns);
      transpose_u8({pool, {}}, u.data(), out_u.data(), 2, rows, columns);
      expect_equal(expected_f, out_f, "f32");
      expect_equal(expected_u, out_u, "u8");
    });
  }
}

TEST(Quantize, RoundsHalfToEvenSaturatesAndMapsNaNToTheZeroPoint) {
  const std::vector<float> x = {0.5F,   1.5F,   2.5F,      -0.5F,      1e30F, -1e30F,
                                kNaN,   0.0F,   kInfinity, -kInfinity, 3.7F,  -3.7F,
                                127.5F, 128.5F, -128.5F,   255.49F,    63.0F};
  on_every_isa([&](ThreadPool& pool) {
    std::vector<uint8_t> u(x.size());
    std::vector<int8_t> s(x.size());
    const auto count = static_cast<int64_t>(x.size());
    quantize_u8({pool, {}}, x.data(), u.data(), count, {1.0F, 10});
    std::vector<uint8_t> clamped(x.size());
    quantize_u8({pool, {}}, x.data(), clamped.data(), count, {1.0F, 10, 9, 12});
    quantize_s8({pool, {}}, x.data(), s.data(), count, 1.0F, -3);
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(reference::to_code(x[i], 10, 0, 255), u[i]) << x[i];
      EXPECT_EQ(reference::to_code(x[i], 10, 9, 12), clamped[i]) << x[i];
      EXPECT_EQ(reference::to_code(x[i], -3, -128, 127), s[i]) << x[i];
    }
  });
}

TEST(Quantize, EqualsReferenceAtEveryLength) {
  Random random(25);
  for (const int64_t count : kLengths) {
    const auto x = random.floats(count, -3.0F, 3.0F);
    std::vector<uint8_t> expected;
    std::vector<float> expected_back;
    for (const float value : x) {
      expected.push_back(static_cast<uint8_t>(reference::to_code(value / 0.0217F, 121, 0, 255)));
      expected_back.push_back(static_cast<float>(expected.back() - 121) * 0.0217F);
    }
    on_every_isa([&](ThreadPool& pool) {
      std::vector<uint8_t> q(x.size());
      std::vector<float> back(x.size());
      quantize_u8({pool, {}}, x.data(), q.data(), count, {0.0217F, 121});
      expect_equal(expected, q, "codes");
      dequantize_u8({pool, {}}, q.data(), back.data(), count, 0.0217F, 121);
      expect_equal(expected_back, back, "values");
      std::vector<int8_t> s(x.size());
      quantize_s8({pool, {}}, x.data(), s.data(), count, 0.0217F, 121 - 128);
      dequantize_s8({pool, {}}, s.data(), back.data(), count, 0.0217F, 121 - 128);
      expect_equal(expected_back, back, "values through signed codes");
    });
  }
}

TEST(CodeArithmetic, LookupAddAndMultiplyEqualReferenceToTheBit) {
  Random random(27);
  const auto table = random.codes(256);
  for (const int64_t count : kLengths) {
    const auto a = random.codes(count);
    const auto b = random.codes(count);
    AddU8 add = add_parameters(0.613F, 12, 0.287F, 200, 0.93F, 90);
    add.lo = 90;
    const MulU8 mul = {0.0113F, 12, 200, 128, 0, 250};
    std::vector<uint8_t> looked, added, multiplied;
    for (size_t i = 0; i < a.size(); ++i) {
      looked.push_back(table[a[i]]);
      const float y = std::fma(static_cast<float>(b[i]), add.b_scale, add.offset);
      const float sum = std::fma(static_cast<float>(a[i]), add.a_scale, y);
      added.push_back(static_cast<uint8_t>(reference::to_code(sum, 0, 90, 255)));
      const auto product = static_cast<float>((a[i] - 12) * (b[i] - 200));
      multiplied.push_back(
          static_cast<uint8_t>(reference::to_code(product * 0.0113F + 128.0F, 0, 0, 250)));
    }
    on_every_isa([&](ThreadPool& pool) {
      std::vector<uint8_t> out(a.size());
      lookup_u8({pool, {}}, a.data(), out.data(), count, table.data());
      expect_equal(looked, out, "lookup");
      add_u8({pool, {}}, a.data(), b.data(), out.data(), count, add);
      expect_equal(added, out, "add");
      mul_u8({pool, {}}, a.data(), b.data(), out.data(), count, mul);
      expect_equal(multiplied, out, "multiply");
      mul_rows_u8({pool, {}}, a.data(), b.data(), out.data(), 1, count, 1, mul);
      expect_equal(multiplied, out, "multiply rows");
    });
  }
}

TEST(Softmax, EqualsReferenceWithMaskAndInfinities) {
  Random random(28);
  for (const int64_t columns : {1, 15, 16, 17, 64, 197, 1000}) {
    SoftmaxShape s = {6, columns, columns + 1, columns, nullptr, 2};
    auto x = random.floats(s.rows * s.ldx, -20.0F, 20.0F);
    auto mask = random.floats(2 * columns, -1.0F, 0.0F);
    mask[0] = -kInfinity;
    std::fill(x.begin(), x.begin() + columns, -kInfinity);
    for (const float* m :
         {static_cast<const float*>(nullptr), static_cast<const float*>(mask.data())}) {
      s.mask = m;
      std::vector<float> expected(static_cast<size_t>(s.rows * s.ldy));
      reference::softmax_f32(x.data(), expected.data(), s);
      on_every_isa([&](ThreadPool& pool) {
        std::vector<float> y(expected.size());
        softmax_f32({pool, {}}, x.data(), y.data(), s);
        // The exponent's argument is rounded at 20 * 2^-24, twice.
        expect_close(expected, y, {1e-12F}, 6e-6F, "columns " + std::to_string(columns));
      });
    }
  }
}

TEST(Norms, EqualReferenceEvenFarFromZero) {
  Random random(29);
  for (const int64_t columns : {1, 17, 64, 100, 384, 1000}) {
    for (const float center : {0.0F, 50.0F}) {
      const int64_t rows = 3;
      const auto x = random.floats(rows * columns, center - 1.0F, center + 1.0F);
      const auto gamma = random.floats(columns, 0.5F, 1.5F);
      const auto beta = random.floats(columns);
      std::vector<float> expected(x.size()), expected_rms(x.size());
      reference::layer_norm_f32(x.data(), expected.data(), rows, columns, gamma.data(), beta.data(),
                                1e-5F);
      reference::rms_norm_f32(x.data(), expected_rms.data(), rows, columns, gamma.data(), 1e-5F);
      on_every_isa([&](ThreadPool& pool) {
        std::vector<float> y(x.size());
        layer_norm_f32({pool, {}}, x.data(), y.data(), rows, columns, gamma.data(), beta.data(),
                       1e-5F);
        // A mean of 50 carries an error of a few of its ulps (4e-6), times 1 / sigma (1.7, or 316
        // where the variance is zero), times gamma.
        const float sigma = columns == 1 ? 320.0F : 2.0F;
        const float tolerance = (center == 0.0F ? 1e-6F : 2e-5F) * sigma;
        expect_close(expected, y, {tolerance}, 1e-5F, "layer norm");
        rms_norm_f32({pool, {}}, x.data(), y.data(), rows, columns, gamma.data(), 1e-5F);
        expect_close(expected_rms, y, {1e-6F}, 4e-6F, "rms norm");
      });
    }
  }
}

ConvShape window(int64_t size, int64_t channels, int64_t kernel, int64_t stride, int64_t pad) {
  ConvShape s;
  s.batch = 2;
  s.in_h = size;
  s.in_w = size + 1;
  s.in_channels = s.out_channels = channels;
  s.kernel_h = s.kernel_w = kernel;
  s.stride_h = s.stride_w = stride;
  s.pad_top = s.pad_left = pad;
  s.out_h = (s.in_h + 2 * pad - kernel) / stride + 1;
  s.out_w = (s.in_w + 2 * pad - kernel) / stride + 1;
  return s;
}

TEST(Pool, EqualsReference) {
  Random random(30);
  for (const ConvShape& s : {window(8, 64, 3, 2, 1), window(7, 17, 2, 2, 0),
                             window(5, 100, 3, 1, 1), window(6, 3, 5, 1, 2)}) {
    const int64_t count = s.batch * s.in_h * s.in_w * s.in_channels;
    const auto x = random.floats(count);
    const auto codes = random.codes(count);
    const auto out = static_cast<size_t>(s.out_pixels() * s.in_channels);
    const RequantizeU8 requantize = {1.3F, 100, 20};
    std::vector<float> max(out), all(out), inside(out);
    std::vector<uint8_t> max_codes(out), mean_codes(out);
    reference::max_pool_f32(x.data(), max.data(), s);
    reference::max_pool_u8(codes.data(), max_codes.data(), s);
    reference::average_pool_f32(x.data(), all.data(), s, AverageCount::kAllTaps);
    reference::average_pool_f32(x.data(), inside.data(), s, AverageCount::kInside);
    reference::average_pool_u8(codes.data(), mean_codes.data(), s, AverageCount::kInside,
                               requantize);
    on_every_isa([&](ThreadPool& pool) {
      std::vector<float> y(out);
      std::vector<uint8_t> q(out);
      max_pool_f32({pool, {}}, x.data(), y.data(), s);
      expect_equal(max, y, "max");
      max_pool_u8({pool, {}}, codes.data(), q.data(), s);
      expect_equal(max_codes, q, "max of codes");
      average_pool_f32({pool, {}}, x.data(), y.data(), s, AverageCount::kAllTaps);
      expect_close(all, y, {3e-6F}, 0.0F, "average over all taps");
      average_pool_f32({pool, {}}, x.data(), y.data(), s, AverageCount::kInside);
      expect_close(inside, y, {3e-6F}, 0.0F, "average over the image");
      average_pool_u8({pool, {}}, codes.data(), q.data(), s, AverageCount::kInside, requantize);
      expect_equal(mean_codes, q, "average of codes");
    });
  }
}

TEST(GlobalAveragePool, IsTheAverageOverOneWindow) {
  Random random(31);
  for (const int64_t channels : {1, 16, 17, 100}) {
    ConvShape s;
    s.batch = 3;
    s.in_h = s.kernel_h = 7;
    s.in_w = s.kernel_w = 7;
    s.in_channels = s.out_channels = channels;
    const auto x = random.floats(3 * 49 * channels);
    const auto codes = random.codes(3 * 49 * channels);
    const auto out = static_cast<size_t>(3 * channels);
    const RequantizeU8 requantize = {0.9F, 13, 60};
    std::vector<float> mean(out);
    std::vector<uint8_t> mean_codes(out);
    reference::average_pool_f32(x.data(), mean.data(), s, AverageCount::kAllTaps);
    reference::average_pool_u8(codes.data(), mean_codes.data(), s, AverageCount::kAllTaps,
                               requantize);
    on_every_isa([&](ThreadPool& pool) {
      std::vector<float> y(out);
      std::vector<uint8_t> q(out);
      global_average_pool_f32({pool, {}}, x.data(), y.data(), 3, 49, channels);
      expect_close(mean, y, {3e-6F}, 0.0F, "mean");
      global_average_pool_u8({pool, {}}, codes.data(), q.data(), 3, 49, channels, requantize);
      expect_equal(mean_codes, q, "mean of codes");
    });
  }
}

}  // namespace
}  // namespace ounce::engine
