// Products of ternary weights by ternary activations. All scales are powers of two, so that the
// floats of the reference are exact and the engine's results must equal them.
#include <cmath>

#include "engine/isa.h"
#include "tests/engine/graphs.h"
#include "tests/engine/session_checks.h"
#include "tests/engine_kernels/kernel_test.h"

namespace ounce::engine {
namespace {

using ounce::testing::GraphBuilder;
using ounce::testing::random_tensor;

constexpr float kScale = 0.5F;

/// The grid of -kScale, 0, kScale as the quantizer writes it: a Clip, codes with zero point 1.
ValueId ternary(GraphBuilder& b, ValueId x) {
  const ValueId low = b.constant(Tensor::scalar(-kScale));
  const ValueId high = b.constant(Tensor::scalar(kScale));
  return b.fake_quantize(b.node("Clip", {x, low, high}), kScale, 1);
}

/// Codes -1, 0, 1 in two bits, with scales 1/4 and 1/8 along `axis`.
ValueId ternary_weights(GraphBuilder& b, const Shape& shape, int64_t axis, uint32_t seed) {
  std::vector<float> scales(static_cast<size_t>(shape[static_cast<size_t>(axis)]));
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = i % 2 == 0 ? 0.25F : 0.125F;
  const auto channels = static_cast<int64_t>(scales.size());
  Tensor codes = random_tensor(shape, seed);
  for (float& code : codes.mutable_data<float>()) code = std::nearbyint(code);
  AttributeMap attributes;
  attributes.set("axis", axis);
  return b.node("DequantizeLinear",
                {b.constant(cast(codes, DType::i2)), b.constant(Tensor::of(scales, {channels}))},
                attributes);
}

/// Eighths: multiples of what the integer products count in.
ValueId bias(GraphBuilder& b, int64_t channels) {
  Tensor values = random_tensor({channels}, 77, 4.0F);
  for (float& value : values.mutable_data<float>()) value = std::nearbyint(value) / 8.0F;
  return b.constant(std::move(values));
}

/// The engine with `kernel` wherever it may choose gives what the reference gives, on every
/// instruction set; the profile of the last session.
std::vector<StepProfile> expect_equal_to_reference(Graph graph, const Shape& input,
                                                   const std::string& kernel) {
  infer_shapes(graph);
  const std::vector<Tensor> inputs = {random_tensor(input, 31)};
  const Tensor expected = reference::run(graph, inputs)[0];
  std::vector<StepProfile> steps;
  const IsaGuard guard;
  for (const Isa isa : available_isas()) {
    select_isa(isa);
    SessionOptions options;
    options.profile = true;
    Session measured(graph, options);
    measured.run(inputs);
    EXPECT_FALSE(measured.kernel_hints().empty()) << kernel << " is no choice";
    for (const auto& [layer, fastest] : measured.kernel_hints()) {
      options.kernel_hints[layer] = kernel;
    }
    Session session(graph, options);
    EXPECT_EQ(session.run(inputs)[0].to_f32(), expected.to_f32()) << kernel << ' ' << isa_name(isa);
    steps = session.profile();
  }
  return steps;
}

/// The one step that multiplies in planes of bits did so in two counts.
void expect_ternary(const std::vector<StepProfile>& steps, std::string_view kernel) {
  int found = 0;
  for (const StepProfile& step : steps) {
    if (!step.kernel.starts_with(kernel)) continue;
    ++found;
    EXPECT_TRUE(step.multiplication.ternary) << step.name;
    EXPECT_EQ(step.multiplication.bit_products, 2) << step.name;
    EXPECT_EQ(step.multiplication.weight_bits, 2) << step.name;
    EXPECT_EQ(step.multiplication.activation_bits, 2) << step.name;
  }
  EXPECT_EQ(found, 1) << kernel;
}

struct Geometry {
  int64_t in, out, kernel, stride, pad, group;
};

TEST(SessionTernary, ConvolutionsOfTernaryCodesEqualTheReference) {
  constexpr Geometry kGeometries[] = {
      {64, 16, 1, 1, 0, 1},    // pixels are rows of whole words
      {70, 33, 3, 1, 1, 1},    // words that are not full, and padding
      {70, 33, 3, 2, 1, 1},    // strides
      {20, 12, 5, 3, 2, 1},    // more padding than image at the corners
      {96, 48, 3, 1, 1, 3},    // groups of half words: neighbours' channels share them
      {128, 32, 3, 1, 1, 2}};  // groups of whole words
  for (const Geometry& g : kGeometries) {
    const Shape input = {2, g.in, 7, 6};
    GraphBuilder b;
    const ValueId w = ternary_weights(b, {g.out, g.in / g.group, g.kernel, g.kernel}, 0, 5);
    const ValueId x = ternary(b, b.input("x", input));
    b.output(b.conv_with(x, w, g.stride, g.pad, g.group, bias(b, g.out)));
    SCOPED_TRACE("kernel " + std::to_string(g.kernel) + ", groups " + std::to_string(g.group) +
                 ", stride " + std::to_string(g.stride));
    expect_ternary(expect_equal_to_reference(b.graph, input, "conv_bits"), "conv_bits");
    expect_equal_to_reference(b.graph, input, "conv_u8_codes");
  }
}

TEST(SessionTernary, MatrixProductsOfTernaryCodesEqualTheReference) {
  for (const int64_t k : {1, 64, 70, 1000}) {
    for (const bool is_gemm : {false, true}) {
      const Shape input = {13, k};
      GraphBuilder b;
      const ValueId x = ternary(b, b.input("x", input));
      if (is_gemm) {
        AttributeMap transposed;
        transposed.set("transB", int64_t{1});
        b.output(b.node("Gemm", {x, ternary_weights(b, {35, k}, 0, 6), bias(b, 35)}, transposed));
      } else {
        b.output(b.node("MatMul", {x, ternary_weights(b, {k, 35}, 1, 6)}));
      }
      SCOPED_TRACE("K " + std::to_string(k));
      expect_ternary(expect_equal_to_reference(b.graph, input, "gemm_bits"), "gemm_bits");
    }
  }
}

TEST(SessionTernary, CodesThatWereMovedAreTernaryStill) {
  const Shape input = {1, 40, 8, 6};
  AttributeMap pool;
  pool.set("kernel_shape", std::vector<int64_t>{2, 2});
  pool.set("strides", std::vector<int64_t>{2, 2});
  AttributeMap channels;
  channels.set("axis", int64_t{1});
  GraphBuilder b;
  const ValueId x = ternary(b, b.input("x", input));
  const ValueId both = b.node(
      "Concat",
      {b.node("MaxPool", {x}, pool), b.node("MaxPool", {ternary(b, b.node("Neg", {x}))}, pool)},
      channels);
  b.output(
      b.conv_with(b.reshape(both, {1, 80, 3, 4}), ternary_weights(b, {9, 80, 3, 3}, 0, 7), 1, 1));
  expect_ternary(expect_equal_to_reference(b.graph, input, "conv_bits"), "conv_bits");
}

TEST(SessionTernary, CodesOfAProductAreTernaryForTheNext) {
  const Shape input = {2, 70, 5, 5};
  GraphBuilder b;
  ValueId x = b.fake_quantize(b.input("x", input), 0.0078125F, 128);
  x = b.conv_with(x, ternary_weights(b, {66, 70, 1, 1}, 0, 8), 1, 0, 1, bias(b, 66));
  x = ternary(b, x);
  b.output(b.conv_with(x, ternary_weights(b, {20, 66, 3, 3}, 0, 9), 1, 1));
  expect_ternary(expect_equal_to_reference(b.graph, input, "conv_bits"), "conv_bits");
}

TEST(SessionTernary, OtherCodesAndOtherWeightsAreMultipliedAsCodes) {
  const Shape input = {9, 70};
  const auto multiplication = [&](DType weights, float high, uint8_t zero_point) {
    GraphBuilder b;
    const ValueId low = b.constant(Tensor::scalar(-kScale));
    ValueId x = b.node("Clip", {b.input("x", input), low, b.constant(Tensor::scalar(high))});
    x = b.fake_quantize(x, kScale, zero_point);
    const Tensor codes = cast(random_tensor({70, 9}, 3, 4.0F), weights);
    const ValueId w =
        b.node("DequantizeLinear", {b.constant(codes), b.constant(Tensor::scalar(0.25F))});
    b.output(b.node("MatMul", {x, w}));
    for (const StepProfile& step : expect_equal_to_reference(b.graph, input, "gemm_bits")) {
      if (step.kernel.starts_with("gemm_bits")) return step.multiplication;
    }
    ADD_FAILURE() << "no gemm_bits";
    return Multiplication();
  };
  // Weights with a code -2, codes up to 3, codes 0 .. 2 that are not -1, 0, 1.
  EXPECT_EQ(multiplication(DType::i2, kScale, 1).bit_products, 4);
  EXPECT_EQ(multiplication(DType::i2, 2 * kScale, 1).bit_products, 4);
  EXPECT_EQ(multiplication(DType::i2, 2 * kScale, 0).bit_products, 4);
  EXPECT_EQ(multiplication(DType::u1, kScale, 1).bit_products, 2);
  EXPECT_FALSE(multiplication(DType::u1, kScale, 1).ternary);
  EXPECT_FALSE(multiplication(DType::i2, kScale, 1).ternary);
}

}  // namespace
}  // namespace ounce::engine
