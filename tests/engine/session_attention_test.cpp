#include <cmath>
#include <map>

#include "tests/engine/graphs.h"
#include "tests/engine/session_checks.h"
#include "tests/engine_kernels/kernel_test.h"

// Attention as one step: between signs, on codes, in f32.
namespace ounce::engine {
namespace {

using ounce::testing::close;
using ounce::testing::GraphBuilder;
using ounce::testing::random_tensor;

/// What varies between the graphs of binary attention that are written.
struct BitAttentionGraph {
  int64_t batch = 1, tokens = 37, heads = 3, dim = 40;
  bool key_signs_transposed = false;  // Binarize(k') for Binarize(k)'
  bool divided = false;               // scores over a number, not times one
  bool scales_of_heads = false;
  Shape biases;  // of the scores, or none
  // Values that are looked at from outside.
  ValueId scores = kNoValue, map = kNoValue;

  Shape input_shape() const { return {batch, tokens, 3 * heads * dim}; }

  ValueId binarize(GraphBuilder& b, ValueId x, float scale, bool is_map = false) const {
    if (!scales_of_heads) return b.binarize(x, scale, is_map);
    std::vector<float> scales;
    for (int64_t h = 0; h < heads; ++h) scales.push_back(scale + 0.02F * static_cast<float>(h));
    AttributeMap attributes;
    attributes.set("unsigned", int64_t{is_map});
    attributes.set("axis", int64_t{1});
    return b.node("Binarize", {x, b.constant(Tensor::of(scales, {heads}))}, attributes);
  }

  /// Heads of one tensor of q, k and v to tokens of all heads.
  ValueId build(GraphBuilder& b, ValueId qkv) {
    qkv = b.transpose(b.reshape(qkv, {-1, tokens, 3, heads, dim}), {2, 0, 3, 1, 4});
    AttributeMap first;
    first.set("axis", int64_t{0});
    const auto part = [&](int64_t index) {
      return b.node("Gather", {qkv, b.constant(Tensor::scalar(index))}, first);
    };
    const ValueId q = binarize(b, part(0), 0.8F);
    const std::vector<int64_t> swap = {0, 1, 3, 2};
    const ValueId k = key_signs_transposed ? binarize(b, b.transpose(part(1), swap), 0.7F)
                                           : b.transpose(binarize(b, part(1), 0.7F), swap);
    scores = b.node("MatMul", {q, k});
    scores = divided ? b.node("Div", {scores, b.constant(Tensor::scalar(6.3F))})
                     : b.node("Mul", {b.constant(Tensor::scalar(0.158F)), scores});
    if (!biases.empty()) {
      scores = b.node("Add", {b.constant(random_tensor(biases, 35)), scores});
      scores = b.node("Mul", {scores, b.constant(Tensor::scalar(1.5F))});
    }
    AttributeMap last;
    last.set("axis", int64_t{-1});
    map = binarize(b, b.node("Softmax", {scores}, last), 0.047F, true);
    const ValueId mixed = b.node("MatMul", {map, binarize(b, part(2), 0.5F)});
    return b.reshape(b.transpose(mixed, {0, 2, 1, 3}), {-1, tokens, heads * dim});
  }

  Graph graph() {
    GraphBuilder b;
    b.output(build(b, b.input("x", input_shape())));
    return b.graph;
  }
};

TEST(SessionBitAttention, IsOneStepThatReadsAndWritesThroughTransposes) {
  BitAttentionGraph made;
  EXPECT_EQ(expect_close(made.graph(), made.input_shape(), 1e-6).size(), 1U);
  made.batch = 2;
  const auto kernels = expect_close(made.graph(), made.input_shape(), 1e-6);
  EXPECT_EQ(count_kernels(kernels, "attention_bits"), 1);
  EXPECT_EQ(kernels.size(), 1U);
}

TEST(SessionBitAttention, OtherWaysToWriteIt) {
  for (int way = 1; way < 8; ++way) {
    BitAttentionGraph made;
    made.key_signs_transposed = way % 2 != 0;
    made.divided = way / 2 % 2 != 0;
    made.scales_of_heads = way / 4 != 0;
    made.batch = 2;
    const auto kernels = expect_close(made.graph(), made.input_shape(), 1e-6);
    EXPECT_EQ(kernels.size(), 1U) << "way " << way;
  }
}

TEST(SessionBitAttention, BiasesOfScores) {
  for (const Shape& biases : {Shape{3, 37, 37}, Shape{37, 37}, Shape{2, 1, 37, 37}}) {
    BitAttentionGraph made;
    made.batch = 2;
    made.biases = biases;
    const auto kernels = expect_close(made.graph(), made.input_shape(), 1e-5);
    EXPECT_EQ(count_kernels(kernels, "attention_bits"), 1);
    EXPECT_EQ(count_kernels(kernels, "softmax_f32"), 0);
  }
}

TEST(SessionBitAttention, BiasesOfOtherShapesRunInParts) {
  BitAttentionGraph made;
  made.biases = {1, 37};
  const auto kernels = expect_close(made.graph(), made.input_shape(), 1e-4);
  EXPECT_EQ(count_kernels(kernels, "attention_bits"), 0);
  EXPECT_EQ(count_kernels(kernels, "matmul_bits"), 2);
}

TEST(SessionBitAttention, OperandsThatAreComputedFirst) {
  GraphBuilder b;
  const Shape shape = {2, 3, 21, 16};
  const ValueId x = b.input("x", shape);
  AttributeMap axis;
  axis.set("axis", int64_t{-1});
  const ValueId q = b.node("LayerNormalization", {x, b.weights({16}), b.weights({16})}, axis);
  const ValueId k = b.transpose(b.binarize(b.node("Neg", {x}), 0.6F), {0, 1, 3, 2});
  const ValueId map = b.node("Softmax", {b.node("MatMul", {b.binarize(q, 0.3F), k})}, axis);
  b.output(b.node("MatMul", {b.binarize(map, 0.091F, true), b.binarize(x, 0.5F)}));
  const auto kernels = expect_close(b.graph, shape, 1e-6);
  EXPECT_EQ(count_kernels(kernels, "attention_bits"), 1);
  EXPECT_EQ(kernels.size(), 2U);  // and the negation
}

TEST(SessionBitAttention, WritesTheSignsThatALinearLayerReads) {
  for (const int64_t dim : {64, 128, 40}) {
    GraphBuilder b;
    BitAttentionGraph made;
    made.batch = 2;
    made.dim = dim;
    const int64_t width = made.heads * dim;
    const ValueId y = b.binarize(made.build(b, b.input("x", made.input_shape())), 0.7F);
    b.output(b.node("MatMul", {y, b.low_bit_weights({width, 33}, DType::u1, 1)}));
    const auto kernels = expect_close(b.graph, made.input_shape(), 1e-5);
    EXPECT_EQ(count_kernels(kernels, "attention_bits"), 1);
    EXPECT_EQ(count_kernels(kernels, "pack_signs"), dim == 40 ? 1 : 0);
  }
}

TEST(SessionBitAttention, LargeHeadsAndSharedMapsRunInParts) {
  BitAttentionGraph made;
  made.dim = 260;
  made.heads = 1;
  auto kernels = expect_close(made.graph(), made.input_shape(), 1e-4);
  EXPECT_EQ(count_kernels(kernels, "attention_bits"), 0);
  EXPECT_EQ(count_kernels(kernels, "matmul_bits"), 2);

  GraphBuilder b;
  made.dim = 24;
  b.output(made.build(b, b.input("x", made.input_shape())));
  b.output(made.map);
  kernels = expect_close(b.graph, made.input_shape(), 1e-4);
  EXPECT_EQ(count_kernels(kernels, "attention_bits"), 0);
  EXPECT_EQ(count_kernels(kernels, "matmul_bits"), 2);
}

TEST(SessionBitAttention, TapsSeeScoresAndMapWithoutChangingResults) {
  for (const bool scales_of_heads : {false, true}) {
    BitAttentionGraph made;
    made.batch = 2;
    made.scales_of_heads = scales_of_heads;
    Graph graph = made.graph();
    infer_shapes(graph);
    const std::vector<Tensor> inputs = {random_tensor(made.input_shape(), 31)};
    const std::string scores = graph.value(made.scores).name;
    const std::string map = graph.value(made.map).name;
    for (const auto& taps : {std::vector{scores, map}, std::vector{scores}, std::vector{map}}) {
      SessionOptions options;
      options.taps = taps;
      const auto kernels = kernels_of(graph, inputs, options);
      EXPECT_EQ(count_kernels(kernels, "matmul_bits"), 2);
      EXPECT_EQ(count_kernels(kernels, "matmul_f32"), 0);
      EXPECT_EQ(count_kernels(kernels, "transpose"), 0);
      on_every_isa([&](ThreadPool& pool) {
        options.threads = pool.size();
        const std::vector<Tensor> expected = Session(graph).run(inputs);
        std::map<std::string, Tensor> seen;
        const auto actual =
            Session(graph, options).run(inputs, [&](std::string_view name, const Tensor& value) {
              seen[std::string(name)] = Tensor::of(value.to_f32(), value.shape());
            });
        // No probability of these inputs lies within rounding of a threshold.
        EXPECT_TRUE(close(actual[0], expected[0], 1e-6));
        EXPECT_EQ(seen.size(), taps.size());
        if (scales_of_heads || taps.back() != map) return;
        for (const float p : seen.at(map).to_f32()) EXPECT_TRUE(p == 0.0F || p == 0.047F) << p;
      });
    }
  }
}

/// How the map of attention on codes is quantized.
enum class MapCodes { kGrid, kNarrowGrid, kLog2, kLogSqrt2 };

/// Attention on codes: one tensor of q, k and v, quantized; the map too; and y where wanted.
struct IntegerAttentionGraph {
  int64_t tokens = 37, heads = 3, dim = 24;
  bool quantized_result = true;
  bool quantized_product = false;  // before its heads are put together, within a narrower range
  MapCodes codes = MapCodes::kGrid;
  int64_t log_bits = 4;
  bool zero_below = false;
  ValueId map = kNoValue;

  Shape input_shape() const { return {2, tokens, 3 * heads * dim}; }

  static ValueId clip(GraphBuilder& b, ValueId x, float low, float high) {
    return b.node("Clip", {x, b.constant(Tensor::scalar(low)), b.constant(Tensor::scalar(high))});
  }

  ValueId quantized_map(GraphBuilder& b) const {
    constexpr float kScale = 0.5F / 255;
    if (codes == MapCodes::kGrid) return b.fake_quantize(map, kScale, 0);
    if (codes == MapCodes::kNarrowGrid) {
      return b.fake_quantize(clip(b, map, 0.0F, 15 * kScale), kScale, 0);
    }
    AttributeMap grid;
    grid.set("bits", log_bits);
    grid.set("steps_per_octave", int64_t{codes == MapCodes::kLog2 ? 1 : 2});
    grid.set("zero_below", int64_t{zero_below});
    return b.node("LogQuantize", {map}, grid);
  }

  Graph graph() {
    GraphBuilder b;
    ValueId qkv = b.fake_quantize(b.input("x", input_shape()), 0.008F, 121);
    qkv = b.transpose(b.reshape(qkv, {-1, tokens, 3, heads, dim}), {2, 0, 3, 1, 4});
    AttributeMap first;
    first.set("axis", int64_t{0});
    const auto part = [&](int64_t index) {
      return b.node("Gather", {qkv, b.constant(Tensor::scalar(index))}, first);
    };
    ValueId scores = b.node("MatMul", {part(0), b.transpose(part(1), {0, 1, 3, 2})});
    scores = b.node("Mul", {scores, b.constant(Tensor::scalar(0.4F))});
    AttributeMap last;
    last.set("axis", int64_t{-1});
    map = b.node("Softmax", {scores}, last);
    ValueId y = b.node("MatMul", {quantized_map(b), part(2)});
    if (quantized_product) y = b.fake_quantize(clip(b, y, -0.2F, 0.25F), 0.004F, 128);
    y = b.reshape(b.transpose(y, {0, 2, 1, 3}), {-1, tokens, heads * dim});
    b.output(quantized_result ? b.quantize(y, 0.004F, 128) : y);
    infer_shapes(b.graph);
    return b.graph;
  }
};

double largest_difference(const Tensor& a, const Tensor& b) {
  const std::vector<float> x = a.to_f32();
  const std::vector<float> y = b.to_f32();
  double largest = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    largest = std::max(largest, std::abs(double{x[i]} - double{y[i]}));
  }
  return largest;
}

/// One step that computes what its parts do, up to `tolerance`, and the reference, up to an entry
/// of the map whose code is another one.
void expect_one_step(IntegerAttentionGraph made, double tolerance) {
  const Graph graph = made.graph();
  const std::vector<Tensor> inputs = {random_tensor(made.input_shape(), 31)};
  const auto kernels = kernels_of(graph, inputs);
  EXPECT_EQ(count_kernels(kernels, "attention_u8"), 1);
  for (const char* absorbed : {"transpose", "activation", "matmul_u8", "reference"}) {
    EXPECT_EQ(count_kernels(kernels, absorbed), 0) << absorbed;
  }
  for (const int threads : {1, 2}) {
    SessionOptions options;
    options.threads = threads;
    const Tensor fused = Session(graph, options).run(inputs)[0];
    // The tap keeps the parts apart.
    options.taps = {graph.value(made.map).name};
    const Tensor parts = Session(graph, options).run(inputs)[0];
    EXPECT_LE(largest_difference(fused, parts), tolerance) << "threads " << threads;
    const double code = fused.dtype() == DType::u8 ? 1.0 : 0.02;
    EXPECT_LE(largest_difference(fused, reference::run(graph, inputs)[0]), code);
  }
}

TEST(SessionIntegerAttention, GivesTheIntegersOfItsParts) {
  for (const MapCodes codes : {MapCodes::kGrid, MapCodes::kNarrowGrid}) {
    for (const bool quantized : {true, false}) {
      IntegerAttentionGraph made;
      made.codes = codes;
      made.quantized_product = made.quantized_result = quantized;
      expect_one_step(made, 0.0);
    }
    IntegerAttentionGraph made;
    made.codes = codes;
    expect_one_step(made, 0.0);
  }
}

TEST(SessionIntegerAttention, MapsOfLogarithmicCodes) {
  for (const MapCodes codes : {MapCodes::kLog2, MapCodes::kLogSqrt2}) {
    for (const int64_t bits : {2, 3, 4}) {
      IntegerAttentionGraph made;
      made.codes = codes;
      made.log_bits = bits;
      made.zero_below = bits != 4 || codes == MapCodes::kLogSqrt2;
      made.quantized_result = false;
      // Parts sum in floats what planes sum in integers.
      expect_one_step(made, 1e-6);
      made.quantized_product = true;
      expect_one_step(made, 0.00401);  // one code
    }
  }
}

TEST(SessionIntegerAttention, IsFoundWhereTheBatchIsOpen) {
  for (const MapCodes codes : {MapCodes::kGrid, MapCodes::kNarrowGrid, MapCodes::kLog2}) {
    IntegerAttentionGraph made;
    made.codes = codes;
    Graph graph = made.graph();
    for (Value& value : graph.values) {
      if (!value.is_constant()) value.shape.reset();
    }
    SymbolicShape open = symbolic(made.input_shape());
    open[0] = Dim("batch");
    graph.value(graph.inputs[0]).shape = open;
    infer_shapes(graph);
    const auto support = integer_support(graph);
    const auto attention = std::count_if(support.begin(), support.end(), [](const auto& one) {
      return one.kernel == "engine.QAttention";
    });
    EXPECT_EQ(attention, 2) << "scores and mix, " << static_cast<int>(codes);
  }
}

TEST(SessionIntegerAttention, MapsOfMoreLogarithmicCodesRunInParts) {
  IntegerAttentionGraph made;
  made.codes = MapCodes::kLog2;
  made.log_bits = 5;
  made.quantized_result = false;
  const auto kernels = expect_close(made.graph(), made.input_shape(), 1e-4);
  EXPECT_EQ(count_kernels(kernels, "attention_u8"), 0);
  EXPECT_EQ(count_kernels(kernels, "reference"), 1);
}

}  // namespace
}  // namespace ounce::engine
