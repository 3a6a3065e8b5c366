#include "engine/kernels/blocking/blocking.h"
#include "engine/kernels/reference/reference.h"
#include "tests/engine_kernels/kernel_test.h"

namespace ounce::engine {
namespace {

struct Shape {
  int64_t m, n, k;
};

std::string name(const Shape& s) {
  return "M " + std::to_string(s.m) + " N " + std::to_string(s.n) + " K " + std::to_string(s.k);
}

// Every value of each dimension that is odd, prime, or beside a vector width meets some of the
// others.
std::vector<Shape> shapes() {
  const int64_t ms[] = {1, 2, 3, 13, 14, 15, 17, 197};
  const int64_t ns[] = {1, 7, 15, 16, 17, 31, 32, 33, 100};
  const int64_t ks[] = {1, 3, 31, 32, 63, 64, 65, 127, 129, 255, 256, 1000};
  std::vector<Shape> all;
  size_t turn = 0;
  for (const int64_t m : ms) {
    for (const int64_t n : ns) all.push_back({m, n, ks[turn++ % std::size(ks)]});
  }
  for (const int64_t k : ks) {
    all.push_back({15, 33, k});
    all.push_back({1, 65, k});
  }
  return all;
}

TEST(RowTiles, TakeEveryRowOnceInHeightsThatKernelsHave) {
  for (const int64_t most : {1, 2, 3, 4, 5, 6, 7, 8, 10, 14}) {
    for (int64_t rows = 1; rows <= 300; ++rows) {
      SCOPED_TRACE(std::to_string(rows) + " rows, at most " + std::to_string(most));
      const RowTiles tiles(rows, most);
      EXPECT_LE(tiles.count(), ceil_div(rows, most) + 3);
      int64_t next = 0;
      for (int64_t tile = 0; tile < tiles.count(); ++tile) {
        const auto [begin, end] = tiles.rows_of(tile);
        ASSERT_EQ(next, begin);
        ASSERT_TRUE(RowTiles::is_height(end - begin, most)) << end - begin;
        next = end;
      }
      ASSERT_EQ(rows, next);
    }
  }
}

constexpr Activation kActivations[] = {
    Activation::kNone, Activation::kRelu,      Activation::kClip,       Activation::kLeakyRelu,
    Activation::kSilu, Activation::kGeluErf,   Activation::kGeluTanh,   Activation::kSigmoid,
    Activation::kTanh, Activation::kHardSwish, Activation::kHardSigmoid};

TEST(GemmF32, EqualsReferenceOnOddShapesWithBiasResidualAndActivation) {
  Random random(1);
  size_t turn = 0;
  for (const Shape& s : shapes()) {
    SCOPED_TRACE(name(s) + ", seed 1");
    const auto layout = turn % 2 == 0 ? WeightLayout::kKxN : WeightLayout::kNxK;
    const int64_t lda = s.k + static_cast<int64_t>(turn % 3);
    const int64_t ldc = s.n + static_cast<int64_t>(turn % 4);
    const auto a = random.floats(s.m * lda);
    const auto b = random.floats(s.k * s.n);
    const auto bias = random.floats(s.n);
    const auto residual = random.floats(s.m * s.n);
    Epilogue e;
    if (turn % 3 != 0) e.bias = bias.data();
    if (turn % 2 != 0) e.residual = residual.data();
    e.residual_stride = s.n;
    e.activation = {kActivations[turn % std::size(kActivations)], 0.2F, 0.5F};
    e.activation_first = turn % 5 == 0;
    ++turn;
    std::vector<float> expected(static_cast<size_t>(s.m * ldc), 7.0F);
    std::vector<float> magnitude(expected.size(), 0.0F);
    reference::gemm_f32(a.data(), lda, b.data(), layout, expected.data(), ldc, s.m, s.n, s.k, e);
    reference::gemm_f32(absolute_values(a).data(), lda, absolute_values(b).data(), layout,
                        magnitude.data(), ldc, s.m, s.n, s.k, {});
    // Bias and residual are below 1 each; no activation here is steeper than 1.2.
    for (float& value : magnitude) value = 1.2F * (value + 2.0F);
    const auto tolerance = sum_tolerance(magnitude, s.k + 8);
    const PackedF32 packed = pack_f32(b.data(), s.k, s.n, layout);
    on_every_isa([&](ThreadPool& pool) {
      Scratch scratch(gemm_f32_scratch_bytes(s.m, s.n, s.k, pool.size()));
      std::vector<float> c(expected.size(), 7.0F);
      gemm_f32({pool, scratch.span()}, a.data(), lda, packed, c.data(), ldc, s.m, e);
      expect_close(expected, c, tolerance, 2e-6F, name(s));
    });
    if (HasFailure()) return;
  }
}

TEST(GemmF32, KeepsNaNAndInfinityThroughClamps) {
  const std::vector<float> a = {std::numeric_limits<float>::quiet_NaN(), 1.0F};
  const std::vector<float> b(32, 1.0F);
  const PackedF32 packed = pack_f32(b.data(), 1, 32, WeightLayout::kKxN);
  on_every_isa([&](ThreadPool& pool) {
    for (const Activation kind : {Activation::kNone, Activation::kRelu, Activation::kClip,
                                  Activation::kGeluErf, Activation::kSilu, Activation::kTanh}) {
      Scratch scratch(gemm_f32_scratch_bytes(2, 32, 1, pool.size()));
      std::vector<float> c(64);
      Epilogue e;
      e.activation = {kind, 0.0F, 6.0F};
      gemm_f32({pool, scratch.span()}, a.data(), 1, packed, c.data(), 32, 2, e);
      EXPECT_TRUE(std::isnan(c[0])) << static_cast<int>(kind);
      EXPECT_FALSE(std::isnan(c[32]));
    }
  });
}

TEST(MatmulF32, BatchEqualsReferenceInBothLayouts) {
  Random random(2);
  for (const auto layout : {WeightLayout::kKxN, WeightLayout::kNxK}) {
    for (const Shape& s : {Shape{197, 197, 64}, Shape{17, 33, 5}, Shape{1, 50, 64}}) {
      for (const int64_t items : {1, 3, 8}) {
        MatmulF32Shape shape = {
            s.m, s.n,    s.k,   s.k + 3, (layout == WeightLayout::kKxN ? s.n : s.k),
            s.n, layout, 0.125F};
        const auto a = random.floats(items * s.m * shape.lda);
        const auto b = random.floats(items * s.k * s.n);
        std::vector<float> scaled = b;
        for (float& value : scaled) value *= shape.alpha;
        std::vector<float> expected(static_cast<size_t>(items * s.m * s.n));
        for (int64_t i = 0; i < items; ++i) {
          reference::gemm_f32(a.data() + i * s.m * shape.lda, shape.lda,
                              scaled.data() + i * s.k * s.n, layout,
                              expected.data() + i * s.m * s.n, s.n, s.m, s.n, s.k, {});
        }
        const auto tolerance =
            sum_tolerance({0.125F * static_cast<float>(s.k)}, s.k);  // operands are below 1
        on_every_isa([&](ThreadPool& pool) {
          Scratch scratch(matmul_f32_scratch_bytes(shape, items, pool.size()));
          std::vector<float> c(expected.size());
          std::vector<MatmulF32Item> list;
          for (int64_t i = 0; i < items; ++i) {
            list.push_back({a.data() + i * s.m * shape.lda, b.data() + i * s.k * s.n,
                            c.data() + i * s.m * s.n});
          }
          matmul_f32({pool, scratch.span()}, list, shape, {});
          expect_close(expected, c, tolerance, 0.0F, name(s));
        });
      }
    }
  }
}

// Output of an integer product in all kinds, so that they can be compared together.
struct IntegerCase {
  Shape s;
  int64_t lda, ldc;
  WeightLayout layout;
  int32_t zero_point;
  std::vector<uint8_t> a, residual, table;
  std::vector<int8_t> b;
  std::vector<int32_t> bias;
  std::vector<float> scale, f32_bias, f32_residual;

  IntegerCase(const Shape& shape, size_t turn, Random& random)
      : s(shape),
        lda(shape.k + static_cast<int64_t>(turn % 3)),
        ldc(shape.n + static_cast<int64_t>(turn % 2)),
        layout(turn % 2 == 0 ? WeightLayout::kKxN : WeightLayout::kNxK),
        zero_point(static_cast<int32_t>(random.between(0, 255))),
        a(random.codes(s.m * lda)),
        residual(random.codes(s.m * s.n)),
        table(random.codes(256)),
        b(random.weights(s.k * s.n)),
        bias(random.integers(s.n, -100000, 100000)),
        f32_bias(random.floats(s.n, -30.0F, 30.0F)),
        f32_residual(random.floats(s.m * s.n)) {
    const float typical = 1.0F / (200.0F * std::sqrt(static_cast<float>(s.k)));
    scale = random.floats(s.n, 0.2F * typical, 2.0F * typical);
  }

  IntegerEpilogue epilogue(IntegerOutput output, size_t turn) const {
    IntegerEpilogue e;
    e.output = output;
    e.ldc = ldc;
    e.scale = scale.data();
    if (turn % 2 == 1) e.f32.bias = f32_bias.data();
    if (turn % 4 == 1) e.f32.residual = f32_residual.data();
    e.f32.residual_stride = s.n;
    if (turn % 5 == 1) e.f32.activation = {Activation::kRelu};
    e.zero_point = turn % 2 == 0 ? 128 : 3;
    e.lo = turn % 3 == 0 ? e.zero_point : 0;
    e.hi = turn % 4 == 0 ? 200 : 255;
    if (turn % 3 == 1) e.table = table.data();
    if (turn % 4 == 1 || turn % 4 == 2) e.residual = residual.data();
    e.residual_stride = s.n;
    e.residual_zero_point = 77;
    e.residual_scale = 0.37F;
    return e;
  }

  template <class T>
  std::vector<T> expected(IntegerEpilogue e) const {
    std::vector<T> c(static_cast<size_t>(s.m * ldc), T{9});
    e.c = c.data();
    reference::gemm_u8s8(a.data(), lda, b.data(), layout, s.m, s.n, s.k, zero_point, bias.data(),
                         e);
    return c;
  }

  template <class T>
  std::vector<T> actual(IntegerEpilogue e, ThreadPool& pool) const {
    const PackedS8 packed = pack_s8(b.data(), s.k, s.n, layout, zero_point, bias.data());
    Scratch scratch(gemm_u8s8_scratch_bytes(s.m, s.n, s.k, pool.size()));
    std::vector<T> c(static_cast<size_t>(s.m * ldc), T{9});
    e.c = c.data();
    gemm_u8s8({pool, scratch.span()}, a.data(), lda, packed, s.m, e);
    return c;
  }
};

TEST(GemmU8S8, EveryOutputKindEqualsReferenceToTheBitOnOddShapes) {
  Random random(3);
  size_t turn = 0;
  for (const Shape& s : shapes()) {
    SCOPED_TRACE(name(s) + ", seed 3");
    const IntegerCase c(s, turn, random);
    const IntegerEpilogue i32 = c.epilogue(IntegerOutput::kI32, turn);
    const IntegerEpilogue u8 = c.epilogue(IntegerOutput::kU8, turn);
    const auto expected_i32 = c.expected<int32_t>(i32);
    const auto expected_u8 = c.expected<uint8_t>(u8);
    on_every_isa([&](ThreadPool& pool) {
      expect_equal(expected_i32, c.actual<int32_t>(i32, pool), "i32");
      expect_equal(expected_u8, c.actual<uint8_t>(u8, pool), "u8");
    });
    ++turn;
    if (HasFailure()) return;
  }
}

TEST(GemmU8S8, ScaledFloatOutputEqualsReference) {
  Random random(4);
  size_t turn = 0;
  for (const Shape& s : shapes()) {
    SCOPED_TRACE(name(s) + ", seed 4");
    const IntegerCase c(s, turn, random);
    const IntegerEpilogue f32 = c.epilogue(IntegerOutput::kF32, turn++);
    const auto expected = c.expected<float>(f32);
    // Three roundings of values below about 200.
    on_every_isa([&](ThreadPool& pool) {
      expect_close(expected, c.actual<float>(f32, pool), {2e-6F}, 5e-7F, "f32");
    });
    if (HasFailure()) return;
  }
}

TEST(GemmU8S8, ExtremeCodesDoNotSaturate) {
  const int64_t k = 4096;
  for (const int weight : {-128, 127}) {
    for (const int code : {0, 255}) {
      const std::vector<uint8_t> a(static_cast<size_t>(15 * k), static_cast<uint8_t>(code));
      const std::vector<int8_t> b(static_cast<size_t>(33 * k), static_cast<int8_t>(weight));
      for (const int32_t zero_point : {0, 128, 255}) {
        const PackedS8 packed = pack_s8(b.data(), k, 33, WeightLayout::kNxK, zero_point, nullptr);
        const auto expected = static_cast<int32_t>((code - zero_point) * weight * k);
        on_every_isa([&](ThreadPool& pool) {
          Scratch scratch(gemm_u8s8_scratch_bytes(15, 33, k, pool.size()));
          std::vector<int32_t> c(15 * 33);
          IntegerEpilogue e;
          e.c = c.data();
          e.ldc = 33;
          gemm_u8s8({pool, scratch.span()}, a.data(), k, packed, 15, e);
          expect_equal(std::vector<int32_t>(c.size(), expected), c, "code " + std::to_string(code));
        });
      }
    }
  }
}

TEST(GemmU8S8, RequantizationSaturatesFarOutsideOfTheCodes) {
  const std::vector<uint8_t> a(4096, 255);
  std::vector<int8_t> b(4096 * 2, 127);
  std::fill(b.begin(), b.begin() + 4096, int8_t{-128});
  const PackedS8 packed = pack_s8(b.data(), 4096, 2, WeightLayout::kNxK, 0, nullptr);
  const std::vector<float> scale = {1e9F, 1e9F};
  on_every_isa([&](ThreadPool& pool) {
    Scratch scratch(gemm_u8s8_scratch_bytes(1, 2, 4096, pool.size()));
    std::vector<uint8_t> c(2);
    IntegerEpilogue e;
    e.output = IntegerOutput::kU8;
    e.c = c.data();
    e.ldc = 2;
    e.scale = scale.data();
    e.zero_point = 10;
    gemm_u8s8({pool, scratch.span()}, a.data(), 4096, packed, 1, e);
    expect_equal({0, 255}, c, "saturated");
  });
}

TEST(MatmulU8, BothZeroPointsAreCorrectedExactly) {
  Random random(6);
  for (const auto layout : {WeightLayout::kKxN, WeightLayout::kNxK}) {
    for (const Shape& s :
         {Shape{197, 197, 64}, Shape{197, 64, 197}, Shape{3, 33, 5}, Shape{1, 7, 129}}) {
      for (const int64_t items : {1, 7}) {
        MatmulU8Shape shape = {s.m,
                               s.n,
                               s.k,
                               s.k + 2,
                               layout == WeightLayout::kKxN ? s.n : s.k,
                               layout,
                               static_cast<int32_t>(random.between(0, 255)),
                               static_cast<int32_t>(random.between(0, 255))};
        const auto a = random.codes(items * s.m * shape.lda);
        const auto b = random.codes(items * s.n * s.k);
        const auto scale = random.floats(s.n, 1e-4F, 1e-3F);
        IntegerEpilogue e;
        e.output = items == 1 ? IntegerOutput::kI32 : IntegerOutput::kU8;
        e.ldc = s.n;
        e.scale = scale.data();
        e.zero_point = 128;
        const auto run = [&](const auto& multiply) {
          std::vector<int32_t> c(static_cast<size_t>(items * s.m * s.n));
          std::vector<MatmulU8Item> list;
          const int64_t bytes = items == 1 ? 4 : 1;
          for (int64_t i = 0; i < items; ++i) {
            list.push_back({a.data() + i * s.m * shape.lda, b.data() + i * s.n * s.k,
                            reinterpret_cast<uint8_t*>(c.data()) + i * s.m * s.n * bytes});
          }
          multiply(list);
          return c;
        };
        const auto expected = run([&](const std::vector<MatmulU8Item>& list) {
          for (const auto& item : list) reference::matmul_u8(item, shape, e);
        });
        on_every_isa([&](ThreadPool& pool) {
          Scratch scratch(matmul_u8_scratch_bytes(shape, items, pool.size()));
          expect_equal(expected, run([&](const std::vector<MatmulU8Item>& list) {
                         matmul_u8({pool, scratch.span()}, list, shape, e);
                       }),
                       name(s));
        });
      }
    }
  }
}

}  // namespace
}  // namespace ounce::engine
