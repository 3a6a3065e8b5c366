#include "quantize/transforms/stream_rotation.h"

#include <gtest/gtest.h>

#include <functional>

#include "engine/session.h"
#include "formats/formats.h"
#include "quantize/plan/plan.h"
#include "quantize/quantizer.h"
#include "quantize/transforms/head_rotation.h"
#include "quantize/transforms/orthogonal.h"
#include "tests/quantize/transforms/checks.h"
#include "tests/support/test_data.h"

namespace ounce::quantize {
namespace {

using testing::Builder;

/// The fixture with gains that are far from 1, and with the outliers that these make.
Graph vit_with_gains(float outlier) {
  Graph graph = testing::vit_block();
  Builder random(21);
  for (const Node& node : graph.nodes) {
    if (node.op != "LayerNormalization") continue;
    Tensor& gamma = graph.value(node.input(1)).constant;
    gamma = random.random(gamma.shape(), 1.0F);
    gamma.mutable_data<float>()[3] = outlier;
  }
  return graph;
}

std::vector<std::string> names(const Graph& graph, const std::vector<int>& nodes) {
  std::vector<std::string> result;
  for (const int i : nodes) result.push_back(graph.nodes[static_cast<size_t>(i)].name);
  return result;
}

TEST(ResidualStreams, of_a_vit_reach_from_the_patches_to_the_head) {
  const Graph graph = testing::vit_block();
  const std::vector<ResidualStream> streams = residual_streams(graph);
  ASSERT_EQ(streams.size(), 1U);
  const ResidualStream& stream = streams[0];
  EXPECT_EQ(stream.obstacle, "");
  EXPECT_EQ(stream.width, 16);
  EXPECT_EQ(stream.norms.size(), 3U);
  EXPECT_EQ(names(graph, stream.writers),
            (std::vector<std::string>{"patch", "proj.matmul", "fc2.matmul"}));
  EXPECT_TRUE(stream.readers.empty());
  // The position embedding and the biases of both layers that write.
  EXPECT_EQ(stream.constants.size(), 3U);
}

TEST(StreamRotation, leaves_what_a_vit_computes) {
  const Graph before = vit_with_gains(6.0F);
  Graph after = before;
  const ResidualStream stream = residual_streams(before)[0];
  rotate_stream(after, stream, mean_preserving_rotation(stream.width, 1));
  ASSERT_NO_THROW(after.validate());
  EXPECT_LT(testing::largest_difference(before, after), 1e-5);
  EXPECT_EQ(after.find_value("residual1"), kNoValue) << "it holds other numbers now";
}

/// Class token, a second reader of the stream, RMS normalization without an offset, a mean over
/// tokens, layers without biases.
Graph other_stream() {
  constexpr int64_t kWidth = 12, kTokens = 6;
  Builder b(31);
  const ValueId x = b.input("x", {1, kTokens, 5});
  const ValueId token = b.graph.add_constant("token", b.random({1, 1, kWidth}, 1.0F));
  AttributeMap tokens;
  tokens.set("axis", int64_t{1});
  const ValueId w = b.graph.add_constant("embed.weight", b.random({5, kWidth}, 0.5F));
  ValueId stream = b.op("Concat", {token, b.op("MatMul", {x, w}, "embed")}, "tokens", tokens);
  // Alike in all channels.
  stream = b.op("Add", {stream, b.graph.add_constant("level", Tensor::scalar(0.7F))}, "leveled");
  const ValueId gain = b.graph.add_constant("gain", b.random({kWidth}, 1.0F));
  AttributeMap last;
  last.set("axis", int64_t{-1});
  const ValueId rms = b.op("RMSNorm", {stream, gain}, "rms", last);
  const ValueId hidden = b.op("Relu", {b.linear(rms, kWidth, 8, "up")}, "relu");
  stream = b.op("Add", {stream, b.linear(hidden, 8, kWidth, "down")}, "sum");
  const ValueId side = b.linear(stream, kWidth, 3, "side");
  const ValueId norm = b.layer_norm(stream, kWidth, "norm");
  const ValueId v = b.graph.add_constant("head.weight", b.random({kWidth, 4}, 0.5F));
  const ValueId head = b.op("MatMul", {norm, v}, "head");
  return b.finish({side, head});
}

TEST(StreamRotation, leaves_what_tokens_side_readers_and_rms_norms_compute) {
  const Graph before = other_stream();
  const std::vector<ResidualStream> streams = residual_streams(before);
  ASSERT_EQ(streams.size(), 1U);
  ASSERT_EQ(streams[0].obstacle, "");
  EXPECT_EQ(names(before, streams[0].readers), (std::vector<std::string>{"side.matmul"}));
  Graph after = before;
  rotate_stream(after, streams[0], mean_preserving_rotation(12, 1));
  ASSERT_NO_THROW(after.validate());
  EXPECT_LT(testing::largest_difference(before, after), 1e-5);
}

/// What else reads a stream keeps it from being rotated.
TEST(ResidualStreams, say_what_is_in_the_way) {
  const auto obstacle =
      [](const std::function<ValueId(Builder&, ValueId stream, ValueId norm)>& end,
         bool is_output) {
        Builder b(5);
        const ValueId x = b.linear(b.input("x", {4, 6}), 6, 8, "in");
        const ValueId norm = b.layer_norm(x, 8, "norm");
        const ValueId y = b.linear(norm, 8, 8, "layer");
        const ValueId stream = b.op("Add", {x, y}, "sum");
        const ValueId tail = end(b, stream, norm);
        std::vector<ValueId> outputs = {tail};
        if (is_output) outputs.push_back(stream);
        const Graph graph = b.finish(outputs);
        return residual_streams(graph)[0].obstacle;
      };
  const auto head = [](Builder& b, ValueId stream, ValueId) {
    return b.linear(stream, 8, 3, "head");
  };
  EXPECT_EQ(obstacle(head, false), "");
  EXPECT_EQ(obstacle(head, true), "it is an output of the model");
  const auto relu = [](Builder& b, ValueId stream, ValueId) {
    return b.linear(b.op("Relu", {stream}, "relu"), 8, 3, "head");
  };
  EXPECT_EQ(obstacle(relu, false), "it is read by 'relu' (Relu)");
  const auto after_norm = [](Builder& b, ValueId stream, ValueId norm) {
    return b.linear(b.op("Add", {stream, norm}, "both"), 8, 3, "head");
  };
  EXPECT_NE(obstacle(after_norm, false), "");
}

/// A LayerScale (CaiT, DeiT III) becomes part of the layer before it when a model is prepared.
TEST(ResidualStreams, are_not_cut_by_layer_scales) {
  Builder b(5);
  const ValueId x = b.linear(b.input("x", {4, 6}), 6, 8, "in");
  const ValueId layer = b.linear(b.layer_norm(x, 8, "norm"), 8, 8, "layer");
  const ValueId gain = b.graph.add_constant("gain", b.random({8}, 1.0F));
  const ValueId stream = b.op("Add", {x, b.op("Mul", {layer, gain}, "layer_scale")}, "sum");
  const Graph graph = b.finish({b.linear(b.layer_norm(stream, 8, "last"), 8, 3, "head")});
  EXPECT_NE(residual_streams(graph)[0].obstacle, "");
  const Graph prepared = prepare(graph, {});
  const std::vector<ResidualStream> streams = residual_streams(prepared);
  ASSERT_EQ(streams.size(), 1U);
  EXPECT_EQ(streams[0].obstacle, "");
  Graph rotated = prepared;
  rotate_stream(rotated, streams[0], mean_preserving_rotation(8, 1));
  EXPECT_LT(testing::largest_difference(graph, rotated), 1e-5);
}

TEST(StreamRotation, is_kept_where_it_pays_and_noted_where_it_cannot_be) {
  const Graph graph = vit_with_gains(40.0F);
  std::vector<std::vector<Tensor>> runs;
  for (unsigned i = 0; i < 8; ++i) runs.push_back(testing::random_inputs(graph, i));
  TensorSource source(std::move(runs));
  Options options;
  options.layer.activation_bits = 4;
  options.layer.weights.bits = 4;
  options.transforms.rotation = Rotation::kHadamard;
  const QuantizeResult result = quantize(graph, options, source);
  ASSERT_FALSE(result.transforms.empty());
  EXPECT_EQ(result.transforms[0].kind, "rotation");
  EXPECT_TRUE(result.transforms[0].kept);
  EXPECT_GT(result.transforms[0].after_db, result.transforms[0].before_db + 1.0);
  EXPECT_LT(testing::largest_difference(prepare(graph, options), result.prepared), 1e-5);
}

TEST(StreamRotation, leaves_what_a_real_vit_computes) {
  OUNCE_REQUIRE_DATA(data);
  const Graph model = formats::read_model(data / "vit_tiny_in1k" / "vit_tiny_patch16_224.onnx");
  const Graph before = prepare(model, {});
  const std::vector<ResidualStream> streams = residual_streams(before);
  ASSERT_EQ(streams.size(), 1U);
  EXPECT_EQ(streams[0].obstacle, "");
  EXPECT_EQ(streams[0].width, 192);
  EXPECT_EQ(streams[0].norms.size(), 25U);
  EXPECT_EQ(streams[0].writers.size(), 25U);
  Graph after = before;
  rotate_stream(after, streams[0], mean_preserving_rotation(192, 1));
  const std::vector<ValueHeads> heads = value_heads(after);
  EXPECT_EQ(heads.size(), 12U);
  for (const ValueHeads& one : heads) rotate_heads(after, one, random_rotation(64, 2));
  Builder random(3);
  const std::vector<Tensor> inputs = {random.random({1, 3, 224, 224}, 1.0F)};
  engine::Session exact(before, {});
  engine::Session rotated(after, {});
  EXPECT_LT(testing::largest_difference(exact.run(inputs), rotated.run(inputs)), 1e-5);
}

TEST(TransformPlaces, tell_what_can_be_tried) {
  Options options;
  EXPECT_TRUE(transform_places(testing::vit_block(), options).empty());
  options.transforms = {true, Rotation::kHadamard, NormTransform::kRepq, 0.5};
  EXPECT_EQ(transform_places(testing::vit_block(), options),
            (std::vector<std::string>{"equalization between 0 pairs of layers",
                                      "rotation of a stream of 16 channels before 3 normalizations",
                                      "rotation of the heads of 1 attentions",
                                      "repq behind 3 normalizations"}));
}

}  // namespace
}  // namespace ounce::quantize
