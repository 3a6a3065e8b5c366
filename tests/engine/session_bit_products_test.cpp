#include "tests/engine/graphs.h"
#include "tests/engine/session_checks.h"
#include "tests/engine_kernels/kernel_test.h"

// Products whose both operands are bits of activations.
namespace ounce::engine {
namespace {

using ounce::testing::close;
using ounce::testing::GraphBuilder;
using ounce::testing::random_tensor;

/// Binarize(a) Binarize(b), [.., m, k] by [.., k, n].
struct BitProductGraph {
  int64_t m = 5, n = 7, k = 64;
  bool is_map = false;      // a
  bool transposed = false;  // b comes as [.., n, k]
  Shape a_batch = {2, 3}, b_batch = {2, 3};
  int64_t scale_axis = -1;  // of the operands, along which they have scales; -1: one for all

  static constexpr float kScale = 0.4F;

  Shape a_shape() const { return joined(a_batch, m, k); }
  Shape b_shape() const { return transposed ? joined(b_batch, n, k) : joined(b_batch, k, n); }

  /// With elements that are zeros, and such as lie on the threshold of a map.
  std::vector<Tensor> inputs() const {
    std::vector<Tensor> tensors = {random_tensor(a_shape(), 31), random_tensor(b_shape(), 32)};
    for (Tensor& tensor : tensors) {
      const std::span<float> values = tensor.mutable_data<float>();
      const float special[] = {0.0F, -0.0F, kScale / 2, -kScale / 2};
      for (size_t i = 0; i < values.size(); i += 5) values[i] = special[i / 5 % 4];
    }
    return tensors;
  }

  Graph graph() const {
    GraphBuilder b;
    const ValueId left = binarize(b, b.input("a", a_shape()), is_map);
    ValueId right = binarize(b, b.input("b", b_shape()), false);
    if (transposed) {
      std::vector<int64_t> perm;
      for (size_t i = 0; i < b_batch.size() + 2; ++i) perm.push_back(static_cast<int64_t>(i));
      std::swap(perm[b_batch.size()], perm[b_batch.size() + 1]);
      right = b.transpose(right, perm);
    }
    b.output(b.node("MatMul", {left, right}));
    infer_shapes(b.graph);
    return b.graph;
  }

 private:
  static Shape joined(Shape batch, int64_t rows, int64_t columns) {
    batch.insert(batch.end(), {rows, columns});
    return batch;
  }

  ValueId binarize(GraphBuilder& b, ValueId x, bool map) const {
    if (scale_axis < 0) return b.binarize(x, kScale, map);
    std::vector<float> scales;
    for (int64_t i = 0; i < a_shape()[static_cast<size_t>(scale_axis)]; ++i) {
      scales.push_back(kScale + 0.03F * static_cast<float>(i));
    }
    const auto count = static_cast<int64_t>(scales.size());
    AttributeMap attributes;
    attributes.set("unsigned", int64_t{map});
    attributes.set("axis", scale_axis);
    return b.node("Binarize", {x, b.constant(Tensor::of(scales, {count}))}, attributes);
  }
};

// At every level and with several threads.
void expect_reference(const BitProductGraph& made, const std::string& what,
                      double tolerance = 1e-6) {
  const Graph graph = made.graph();
  const std::vector<Tensor> inputs = made.inputs();
  const Tensor expected = reference::run(graph, inputs)[0];
  on_every_isa([&](ThreadPool& pool) {
    SessionOptions options;
    options.threads = pool.size();
    EXPECT_TRUE(close(Session(graph, options).run(inputs)[0], expected, tolerance)) << what;
  });
}

void expect_one_product(const std::vector<std::string>& kernels) {
  EXPECT_EQ(count_kernels(kernels, "matmul_bits"), 1);
  EXPECT_EQ(kernels.size(), 1U);
}

TEST(SessionBitProducts, SignsAndMapsBySignsOfOddShapes) {
  const int64_t sizes[][3] = {{1, 1, 1}, {5, 7, 64}, {3, 17, 31}, {37, 40, 65}, {9, 66, 260}};
  for (const auto& size : sizes) {
    for (int way = 0; way < 8; ++way) {
      BitProductGraph made;
      made.m = size[0];
      made.n = size[1];
      made.k = size[2];
      made.is_map = way % 2 != 0;
      made.transposed = way / 2 % 2 != 0;
      made.scale_axis = way / 4 != 0 ? 1 : -1;
      expect_reference(made, std::to_string(made.k) + " way " + std::to_string(way));
      if (HasFailure()) return;
      expect_one_product(kernels_of(made.graph(), made.inputs()));
    }
  }
}

TEST(SessionBitProducts, BatchesBroadcast) {
  const std::pair<Shape, Shape> batches[] = {{{}, {}},           {{3}, {}},     {{}, {3}},
                                             {{2, 3}, {3}},      {{3}, {2, 3}}, {{2, 1}, {1, 3}},
                                             {{4, 1, 3}, {2, 3}}};
  for (const auto& [a, b] : batches) {
    for (const bool transposed : {false, true}) {
      BitProductGraph made;
      made.a_batch = a;
      made.b_batch = b;
      made.transposed = transposed;
      made.is_map = true;
      expect_reference(made, to_string(a) + " by " + to_string(b));
      expect_one_product(kernels_of(made.graph(), made.inputs()));
    }
  }
}

TEST(SessionBitProducts, ReadThroughTheTransposesOfOneProjection) {
  const int64_t tokens = 21, heads = 3, dim = 40;
  GraphBuilder b;
  ValueId qk = b.input("x", {2, tokens, 2 * heads * dim});
  qk = b.transpose(b.reshape(qk, {-1, tokens, 2, heads, dim}), {2, 0, 3, 1, 4});
  AttributeMap first;
  first.set("axis", int64_t{0});
  const auto part = [&](int64_t index) {
    return b.node("Gather", {qk, b.constant(Tensor::scalar(index))}, first);
  };
  const ValueId k = b.transpose(b.binarize(part(1), 0.7F), {0, 1, 3, 2});
  const ValueId scores = b.node("MatMul", {b.binarize(part(0), 0.8F), k});
  b.output(b.transpose(scores, {0, 2, 1, 3}));
  expect_one_product(expect_close(b.graph, {2, tokens, 2 * heads * dim}, 1e-6));
}

TEST(SessionBitProducts, NumbersAroundSignsJoinTheScale) {
  GraphBuilder b;
  const auto number = [&](float value) { return b.constant(Tensor::scalar(value)); };
  const ValueId x = b.input("x", {2, 9, 70});
  const ValueId before = b.node("Mul", {x, number(0.3F)});
  const ValueId after = b.node("Div", {b.binarize(before, 0.5F), number(1.7F)});
  b.output(b.node("MatMul", {after, b.transpose(b.binarize(x, 0.6F), {0, 2, 1})}));
  expect_one_product(expect_close(b.graph, {2, 9, 70}, 1e-6));
}

TEST(SessionBitProducts, OtherOperandsAreMultipliedAsFloats) {
  BitProductGraph made;
  made.m = made.n = made.k = 9;
  made.scale_axis = 2;  // along the rows of both
  EXPECT_EQ(count_kernels(kernels_of(made.graph(), made.inputs()), "matmul_bits"), 0);
  expect_reference(made, "scales of rows", 1e-4);

  GraphBuilder b;
  const ValueId x = b.input("x", {2, 9, 9});
  const ValueId signs = b.binarize(x, 0.5F);
  b.output(b.node("MatMul", {signs, b.binarize(x, 0.5F, true)}));
  b.output(b.node("MatMul", {signs, x}));
  const auto kernels = expect_close(b.graph, {2, 9, 9}, 1e-5);
  EXPECT_EQ(count_kernels(kernels, "matmul_f32"), 2);
}

}  // namespace
}  // namespace ounce::engine
