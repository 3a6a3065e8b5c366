#include "tests/engine/graphs.h"
#include "tests/engine/session_checks.h"

namespace ounce::engine {
namespace {

using ounce::testing::codes_close;
using ounce::testing::GraphBuilder;
using ounce::testing::random_tensor;

constexpr DType kLowBitTypes[] = {DType::u1, DType::i2, DType::i3, DType::i4};

TEST(SessionLowBit, NarrowWeightsMeetCodesAsEightBitOnesDo) {
  for (const DType dtype : kLowBitTypes) {
    GraphBuilder b;
    ValueId x = b.fake_quantize(b.input("x", {1, 20, 9, 11}), 0.008F, 120);
    x = b.conv_with(x, b.low_bit_weights({33, 20, 3, 3}, dtype, 0), 1, 1);
    x = b.fake_quantize(b.node("Relu", {x}), 0.05F, 0);
    x = b.conv_with(x, b.low_bit_weights({33, 1, 3, 3}, dtype, 0), 2, 1, 33);
    b.output(b.quantize(x, 0.1F, 120));
    Graph graph = b.graph;
    infer_shapes(graph);
    const std::vector<Tensor> inputs = {random_tensor({1, 20, 9, 11}, 31)};
    EXPECT_TRUE(
        codes_close(Session(graph).run(inputs)[0], reference::run(graph, inputs)[0], 1, 0.005))
        << name_of(dtype);
    for (const IntegerSupport& support : integer_support(graph)) {
      EXPECT_TRUE(support.integer) << support.node << ": " << support.reason;
    }
  }
}

TEST(SessionLowBit, LinearLayersOfNarrowWeights) {
  for (const DType dtype : kLowBitTypes) {
    for (const int64_t rows : {1, 19}) {
      GraphBuilder b;
      ValueId x = b.fake_quantize(b.input("x", {1, rows, 70}), 0.008F, 128);
      x = b.node("MatMul", {x, b.low_bit_weights({70, 50}, dtype, 1)});
      b.output(b.node("Gelu", {x}));
      expect_close(b.graph, {1, rows, 70}, 2e-3);
    }
  }
}

TEST(SessionLowBit, WeightOnlyLayersReadPackedCodes) {
  for (const DType dtype : {DType::i2, DType::i3, DType::i4, DType::i8}) {
    for (const int64_t block : {0, 32}) {
      for (const int64_t rows : {1, 7}) {
        GraphBuilder b;
        const ValueId x = b.input("x", {rows, 96});
        const int64_t axis = block == 0 ? 1 : 0;
        const ValueId y = b.node("MatMul", {x, b.low_bit_weights({96, 40}, dtype, axis, block)});
        b.output(b.node("Add", {y, b.weights({40})}));
        const auto kernels = expect_close(b.graph, {rows, 96}, 2e-4);
        EXPECT_EQ(count_kernels(kernels, "gemm_f32_codes"), 1) << name_of(dtype);
      }
    }
  }
}

TEST(SessionLowBit, GroupedWeightsMeetCodes) {
  for (const DType dtype : {DType::i3, DType::i4, DType::i8}) {
    GraphBuilder b;
    const ValueId x = b.fake_quantize(b.input("x", {5, 96}), 0.008F, 117);
    b.output(b.node("MatMul", {x, b.low_bit_weights({96, 40}, dtype, 0, 32)}));
    const auto kernels = expect_close(b.graph, {5, 96}, 2e-4);
    EXPECT_EQ(count_kernels(kernels, "gemm_quantized_codes"), 1) << name_of(dtype);
  }
}

TEST(SessionLowBit, LinearLayersThatQuantizeTheirInputThemselves) {
  AttributeMap to_f32;
  to_f32.set("to", int64_t{1});
  for (const int64_t rows : {1, 7, 33}) {
    for (const bool a_column : {false, true}) {
      GraphBuilder b;
      b.graph.add_node("DynamicQuantizeLinear", {b.input("x", {2, rows, 70})}, {}, {}, 3);
      const std::vector<ValueId> q = b.graph.nodes.back().outputs;
      std::vector<ValueId> results;
      for (const int64_t columns : {40, 33}) {  // two layers read the same codes
        const ValueId w = b.constant(cast(random_tensor({70, columns}, 5, 100), DType::i8));
        const ValueId sums = b.node("MatMulInteger", {q[0], w, q[2]});
        const ValueId scale = b.node("Mul", {q[1], b.weights({a_column ? columns : 1})});
        const ValueId y = b.node("Mul", {b.node("Cast", {sums}, to_f32), scale});
        results.push_back(b.node("Add", {b.weights({columns}), y}));
      }
      b.output(b.node("Relu", {results[0]}));
      b.output(results[1]);
      const auto kernels = expect_close(b.graph, {2, rows, 70}, 2e-4);
      EXPECT_EQ(count_kernels(kernels, "gemm_dynamic_codes"), 2) << rows;
    }
  }
}

TEST(SessionLowBit, LinearLayersOnGridsOfTheirOwnInput) {
  for (const DType dtype : {DType::u1, DType::i2, DType::i4, DType::i8}) {
    for (const int64_t block : {0, 32}) {
      for (const int64_t rows : {1, 3, 21}) {
        for (const int variant : {0, 1, 2}) {
          AttributeMap given;
          given.set("bits", int64_t{variant == 2 ? 4 : 8});
          given.set("per_token", int64_t{variant != 0});
          given.set("symmetric", int64_t{variant == 2});
          GraphBuilder b;
          const ValueId x = b.node("DynamicFakeQuant", {b.input("x", {2, rows, 96})}, given);
          const ValueId w = b.low_bit_weights({96, 40}, dtype, block == 0 ? 1 : 0, block);
          const ValueId y = b.node("MatMul", {x, w});
          b.output(b.node("Gelu", {b.node("Add", {y, b.weights({40})})}));
          const auto kernels = expect_close(b.graph, {2, rows, 96}, 2e-4);
          EXPECT_EQ(count_kernels(kernels, "gemm_dynamic_codes"), 1)
              << name_of(dtype) << ", blocks of " << block << ", " << rows << " rows, " << variant;
        }
      }
    }
  }
}

TEST(SessionLowBit, DynamicLayersOfUnsignedWeightsAreComputedAsWritten) {
  AttributeMap to_f32;
  to_f32.set("to", int64_t{1});
  GraphBuilder b;
  b.graph.add_node("DynamicQuantizeLinear", {b.input("x", {3, 16})}, {}, {}, 3);
  const std::vector<ValueId> q = b.graph.nodes.back().outputs;
  const ValueId w = b.constant(cast(random_tensor({16, 9}, 5, 100), DType::u8));
  const ValueId zero_point = b.constant(Tensor::scalar(uint8_t{40}));
  const ValueId sums = b.node("MatMulInteger", {q[0], w, q[2], zero_point});
  const ValueId scale = b.node("Mul", {q[1], b.weights({1})});
  b.output(b.node("Mul", {b.node("Cast", {sums}, to_f32), scale}));
  const auto kernels = expect_close(b.graph, {3, 16}, 1e-5);
  EXPECT_EQ(count_kernels(kernels, "gemm_dynamic_codes"), 0);
}

TEST(SessionLowBit, BinaryConvolutionWithExactZeroPadding) {
  for (const DType dtype : {DType::u1, DType::i2, DType::i3}) {
    for (const bool is_map : {false, true}) {
      GraphBuilder b;
      const ValueId x = b.binarize(b.input("x", {2, 70, 9, 7}), 0.4F, is_map);
      b.output(
          b.conv_with(x, b.low_bit_weights({33, 70, 3, 3}, dtype, 0), 2, 1, 1, b.weights({33})));
      const auto kernels = expect_close(b.graph, {2, 70, 9, 7}, 2e-4);
      EXPECT_EQ(count_kernels(kernels, "conv_bits"), 1) << name_of(dtype);
    }
  }
}

TEST(SessionLowBit, BinaryLinearLayersChainWithoutFloats) {
  GraphBuilder b;
  ValueId x = b.binarize(b.input("x", {11, 70}), 0.5F);
  x = b.node("MatMul", {x, b.low_bit_weights({70, 130}, DType::u1, 1)});
  x = b.binarize(b.node("Add", {x, b.weights({130})}), 0.7F);
  b.output(b.node("MatMul", {x, b.low_bit_weights({130, 20}, DType::u1, 1)}));
  const auto kernels = expect_close(b.graph, {11, 70}, 2e-4);
  EXPECT_EQ(count_kernels(kernels, "gemm_bits"), 2);
  EXPECT_EQ(kernels.size(), 3U);  // signs of the input, and the two products
}

TEST(SessionLowBit, CodesOfFewBitsMeetWeightsOfFewBits) {
  for (const DType dtype : {DType::u1, DType::i2, DType::i3}) {
    for (const int bits : {2, 3}) {
      const auto largest = static_cast<float>((1 << bits) - 1);
      GraphBuilder b;
      const ValueId top = b.constant(Tensor::scalar(0.3F * (largest - 1)));
      ValueId x =
          b.node("Clip", {b.input("x", {2, 70, 9, 8}), b.constant(Tensor::scalar(-0.3F)), top});
      x = b.fake_quantize(x, 0.3F, 1);
      x = b.conv_with(x, b.low_bit_weights({33, 70, 3, 3}, dtype, 0), 1, 1);
      b.output(b.quantize(x, 0.2F, 120));
      Graph graph = b.graph;
      infer_shapes(graph);
      const std::vector<Tensor> inputs = {random_tensor({2, 70, 9, 8}, 31)};
      const Tensor expected = reference::run(graph, inputs)[0];
      Session measured(graph);
      measured.run(inputs);
      ASSERT_EQ(measured.kernel_hints().size(), 1U);
      // All three candidates, whichever is fastest here.
      for (const std::string kernel : {"conv_bits", "conv_u8_codes", "conv_u8s8"}) {
        SessionOptions options;
        options.kernel_hints = {{measured.kernel_hints().begin()->first, kernel}};
        EXPECT_TRUE(codes_close(Session(graph, options).run(inputs)[0], expected, 1, 0.005))
            << kernel << ' ' << name_of(dtype) << ' ' << bits;
      }
    }
  }
}

/// The block of a binary residual network: shift, sign, convolution, residual, shifted PRelu.
ValueId residual_block(GraphBuilder& b, ValueId x, int64_t channels) {
  ValueId y = b.binarize(b.node("Add", {x, b.weights({channels, 1, 1}, 0.1F)}), 0.6F);
  y = b.conv_with(y, b.low_bit_weights({channels, channels, 3, 3}, DType::u1, 0), 1, 1, 1,
                  b.weights({channels}));
  y = b.node("Add", {y, x});
  y = b.node("Add", {y, b.weights({channels, 1, 1}, 0.1F)});
  y = b.node("PRelu", {y, b.weights({channels, 1, 1}, 0.2F)});
  return b.node("Add", {y, b.weights({channels, 1, 1}, 0.1F)});
}

TEST(SessionLowBit, BinaryResidualBlocksAreOneNodeEach) {
  GraphBuilder b;
  ValueId x = b.input("x", {1, 64, 8, 8});
  for (int i = 0; i < 3; ++i) x = residual_block(b, x, 64);
  b.output(b.node("GlobalAveragePool", {x}));
  const auto kernels = expect_close(b.graph, {1, 64, 8, 8}, 2e-4);
  EXPECT_EQ(count_kernels(kernels, "conv_bits"), 3);
  EXPECT_EQ(count_kernels(kernels, "pack_signs"), 1);  // the rest leaves the epilogues
  EXPECT_LE(kernels.size(), 6U);
}

/// A block of which neither activations nor weights have opposite values, and whose nonlinearity
/// has two slopes.
ValueId uncentred_block(GraphBuilder& b, ValueId x, int64_t in, int64_t out, int64_t stride) {
  const auto scalar = [&](float value) { return b.constant(Tensor::scalar(value)); };
  ValueId y = b.binarize(b.node("Add", {x, scalar(-0.2F)}), 0.6F);
  y = b.node("Add", {y, scalar(0.25F)});
  const ValueId weight = b.node(
      "Add", {b.low_bit_weights({out, in, 3, 3}, DType::u1, 0), b.weights({out, 1, 1, 1}, 0.02F)});
  y = b.conv_with(y, weight, stride, 1, 1, b.weights({out}));
  if (in == out) y = b.node("Add", {y, x});
  y = b.node("PRelu", {y, b.weights({out, 1, 1}, 0.2F)});
  return b.node("Mul", {y, b.weights({out, 1, 1}, 0.8F)});
}

TEST(SessionLowBit, TwoValuesThatAreNotOppositeStayBits) {
  GraphBuilder b;
  ValueId x = b.input("x", {2, 16, 9, 8});
  x = uncentred_block(b, x, 16, 16, 1);
  x = uncentred_block(b, x, 16, 40, 2);
  x = uncentred_block(b, x, 40, 70, 1);
  b.output(uncentred_block(b, x, 70, 70, 1));
  const auto kernels = expect_close(b.graph, {2, 16, 9, 8}, 2e-4);
  EXPECT_EQ(count_kernels(kernels, "conv_bits"), 4);
  EXPECT_EQ(count_kernels(kernels, "pack_signs"), 1);
  EXPECT_LE(kernels.size(), 7U);
}

TEST(SessionLowBit, OffsetsOfWeightsInGroupsAreComputedAsWritten) {
  GraphBuilder b;
  const ValueId x = b.binarize(b.input("x", {1, 32, 6, 6}), 0.5F);
  const ValueId weight = b.node(
      "Add", {b.low_bit_weights({32, 16, 3, 3}, DType::u1, 0), b.weights({32, 1, 1, 1}, 0.02F)});
  AttributeMap attributes;
  attributes.set("group", int64_t{2});
  b.output(b.node("Conv", {x, weight}, attributes));
  expect_close(b.graph, {1, 32, 6, 6}, 2e-4);
}

TEST(SessionLowBit, OneValueIsPackedOnceForAllItsReaders) {
  GraphBuilder b;
  const ValueId x = b.input("x", {1, 64, 6, 6});
  for (int i = 0; i < 3; ++i) {
    b.output(
        b.conv_with(b.binarize(x, 0.5F), b.low_bit_weights({16, 64, 1, 1}, DType::u1, 0), 1, 0));
  }
  const auto kernels = expect_close(b.graph, {1, 64, 6, 6}, 2e-4);
  EXPECT_EQ(count_kernels(kernels, "pack_signs"), 1);
  EXPECT_EQ(count_kernels(kernels, "conv_bits"), 3);
}

TEST(SessionLowBit, SignsOfDequantizedCodesAreToldFromTheCodes) {
  // Shifts beyond the grid's ends: channels of which all, or none, are negative.
  Tensor shift = random_tensor({70}, 8);
  for (float& value : shift.mutable_data<float>()) value *= 0.5F;
  shift.mutable_data<float>()[3] = 9.0F;
  shift.mutable_data<float>()[65] = -9.0F;
  for (const bool residual : {false, true}) {
    GraphBuilder b;
    const ValueId x = b.fake_quantize(b.input("x", {1, 21, 70}), 0.02F, 117);
    const ValueId moved = b.node("Add", {x, b.graph.add_constant("shift", shift)});
    ValueId y =
        b.node("MatMul", {b.binarize(moved, 0.5F), b.low_bit_weights({70, 70}, DType::u1, 1)});
    if (residual) y = b.node("Add", {y, x});
    b.output(y);
    const auto kernels = expect_close(b.graph, {1, 21, 70}, 2e-5);
    EXPECT_EQ(count_kernels(kernels, "pack_code_signs"), 1);
    EXPECT_EQ(count_kernels(kernels, "pack_signs"), 0);
  }
}

TEST(SessionLowBit, AResidualThatIsReadAgainIsNotOverwritten) {
  GraphBuilder b;
  ValueId x = residual_block(b, b.input("x", {1, 64, 7, 5}), 64);
  const ValueId first = x;
  for (int i = 0; i < 3; ++i) x = residual_block(b, x, 64);
  b.output(b.node("Add", {b.node("GlobalAveragePool", {x}), b.node("GlobalAveragePool", {first})}));
  const auto kernels = expect_close(b.graph, {1, 64, 7, 5}, 2e-4);
  EXPECT_EQ(count_kernels(kernels, "conv_bits"), 4);
}

TEST(SessionLowBit, KernelHintsAreKeptAndObeyed) {
  GraphBuilder b;
  ValueId x = b.fake_quantize(b.input("x", {4, 64}), 0.008F, 128);
  b.output(b.node("MatMul", {x, b.low_bit_weights({64, 48}, DType::i4, 1)}));
  Graph graph = b.graph;
  infer_shapes(graph);
  const std::vector<Tensor> inputs = {random_tensor({4, 64}, 31)};
  Session first(graph);
  first.run(inputs);
  ASSERT_EQ(first.kernel_hints().size(), 1U);
  for (const std::string wanted : {"gemm_u8_codes", "gemm_u8s8"}) {
    SessionOptions options;
    options.profile = true;
    options.kernel_hints = {{first.kernel_hints().begin()->first, wanted}};
    Session session(graph, options);
    session.run(inputs);
    const std::vector<StepProfile> steps = session.profile();
    EXPECT_TRUE(std::any_of(steps.begin(), steps.end(), [&](const StepProfile& step) {
      return step.kernel.starts_with(wanted);
    })) << wanted;
  }
}

TEST(SessionLowBit, KernelHintsTravelInTheMetadataOfTheGraph) {
  GraphBuilder b;
  b.output(b.input("x", {4, 64}));
  b.graph.metadata["kernel stale"] = "gone";
  b.graph.metadata["other"] = "kept";
  const KernelHints hints = {{"a layer", "gemm_u8s8"}};
  store_kernel_hints(b.graph, hints);
  EXPECT_EQ(Session(b.graph).kernel_hints(), hints);
  EXPECT_EQ(b.graph.metadata.at("other"), "kept");
}

}  // namespace
}  // namespace ounce::engine
