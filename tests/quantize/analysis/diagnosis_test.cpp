#include "quantize/analysis/diagnosis.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "graph/error.h"
#include "quantize/quantizer.h"
#include "tests/quantize/graphs.h"

namespace ounce::quantize {
namespace {

using testing::Builder;

TensorSource source_for(const Graph& graph, unsigned runs = 6) {
  std::vector<std::vector<Tensor>> inputs;
  for (unsigned i = 0; i < runs; ++i) inputs.push_back(testing::random_inputs(graph, 100 + i));
  return TensorSource(std::move(inputs));
}

std::vector<Diagnosis> diagnoses_of(const Graph& graph, const Options& options) {
  TensorSource source = source_for(graph);
  const QuantizeResult result = quantize(graph, options, source);
  return diagnose(result.prepared, result.graph, source, 1);
}

const Diagnosis* find(const std::vector<Diagnosis>& all, Disease disease) {
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Diagnosis& one) { return one.disease == disease; });
  return found == all.end() ? nullptr : &*found;
}

std::string list(const std::vector<Diagnosis>& all) {
  std::string text;
  for (const Diagnosis& one : all) {
    text += std::string(name_of(one.disease)) + " at " + one.value + ": " + one.words + "; " +
            one.flag + "\n";
  }
  return text;
}

TEST(Diagnosis, healthy_networks_have_none) {
  for (const auto make : {testing::residual_network, testing::relu_network, testing::vit_block}) {
    for (const int bits : {8, 6}) {
      Options options;
      options.layer.activation_bits = bits;
      options.layer.weights.bits = bits;
      const auto all = diagnoses_of(make(), options);
      EXPECT_TRUE(all.empty()) << bits << " bits\n" << list(all);
    }
  }
}

/// Image, convolution, ReLU, convolution.
Graph two_layers(Builder& b, float factor_of_channel_3, int64_t kernel = 3) {
  const ValueId image = b.input("image", {1, 3, 16, 16});
  const ValueId x = b.op("Relu", {b.conv(image, 3, 8, kernel, "first")}, "act");
  Graph graph = b.finish({b.conv(x, 8, 4, 3, "second")});
  Tensor& weights = graph.value(graph.find_value("first.weight")).constant;
  const auto each = static_cast<size_t>(weights.size() / 8);
  for (size_t i = 3 * each; i < 4 * each; ++i)
    weights.mutable_data<float>()[i] *= factor_of_channel_3;
  return graph;
}

TEST(Diagnosis, an_outlier_channel_between_convolutions_asks_for_equalization) {
  Builder b(3);
  const Graph graph = two_layers(b, 80.0F);
  Options options;
  options.layer.range = RangeRule::kMinMax;
  const auto all = diagnoses_of(graph, options);
  const Diagnosis* found = find(all, Disease::kOutlierChannel);
  ASSERT_NE(found, nullptr) << list(all);
  EXPECT_EQ(found->value, "act");
  EXPECT_EQ(found->node, "act");
  EXPECT_EQ(found->flag, "--option equalize=on");
  EXPECT_NE(found->words.find("channel 3"), std::string::npos) << found->words;
}

TEST(Diagnosis, an_outlier_channel_behind_a_normalization_asks_for_repq) {
  Graph graph = testing::vit_block();
  for (const Node& node : graph.nodes) {
    if (node.name == "norm2") {
      graph.value(node.input(1)).constant.mutable_data<float>()[5] = 60.0F;
    }
  }
  Options options;
  options.layer.activation_bits = 4;
  const auto all = diagnoses_of(graph, options);
  const Diagnosis* found = find(all, Disease::kOutlierChannel);
  ASSERT_NE(found, nullptr) << list(all);
  EXPECT_EQ(found->value, "norm2");
  EXPECT_EQ(found->flag, "--option norms=repq");
}

TEST(Diagnosis, a_clipped_tail_asks_for_all_of_the_range) {
  Builder b(4);
  Graph graph = two_layers(b, 1.0F);
  Options options;
  options.layer.range = RangeRule::kPercentile;
  options.layer.percentile = 90.0;
  const auto all = diagnoses_of(graph, options);
  const Diagnosis* found = find(all, Disease::kClippedTail);
  ASSERT_NE(found, nullptr) << list(all);
  EXPECT_EQ(find(all, Disease::kStretchedRange), nullptr);
  EXPECT_EQ(found->flag, "--set 'second:range=minmax'");
}

TEST(Diagnosis, a_range_stretched_by_one_value_asks_for_a_search) {
  Builder b(5);
  const Graph graph = two_layers(b, 1.0F, 1);
  std::vector<std::vector<Tensor>> inputs;
  for (unsigned i = 0; i < 30; ++i) inputs.push_back(testing::random_inputs(graph, i));
  inputs[0][0].mutable_data<float>()[7] = 25.0F;
  TensorSource source(std::move(inputs));
  Options options;
  options.layer.range = RangeRule::kMinMax;
  options.layer.activation_bits = 4;
  const QuantizeResult result = quantize(graph, options, source);
  // An input has no node that makes it: what is told is the activation behind it.
  const auto all = diagnose(result.prepared, result.graph, source, 1);
  const Diagnosis* found = find(all, Disease::kStretchedRange);
  ASSERT_NE(found, nullptr) << list(all);
  EXPECT_EQ(found->flag, "--set 'second:range=mse'");
}

/// Attention over 64 tokens with even scores but for a peak.
TEST(Diagnosis, an_asymmetric_softmax_asks_for_logarithmic_codes) {
  Builder b(6);
  AttributeMap last;
  last.set("axis", int64_t{-1});
  AttributeMap turn;
  turn.set("perm", std::vector<int64_t>{0, 2, 1});
  const ValueId x = b.input("x", {1, 64, 16});
  const ValueId q = b.linear(x, 16, 16, "q");
  const ValueId k = b.op("Transpose", {b.linear(x, 16, 16, "k")}, "k.turned", turn);
  const ValueId map = b.op("Softmax", {b.op("MatMul", {q, k}, "scores")}, "map", last);
  const ValueId mixed = b.op("MatMul", {map, b.linear(x, 16, 16, "v")}, "mixed");
  const Graph graph = b.finish({b.linear(mixed, 16, 8, "out")});
  Options options;
  options.layer.activation_bits = 4;
  const auto all = diagnoses_of(graph, options);
  const Diagnosis* found = find(all, Disease::kAsymmetricSoftmax);
  ASSERT_NE(found, nullptr) << list(all);
  EXPECT_EQ(found->value, "map");
  EXPECT_EQ(found->flag.rfind("--softmax log", 0), 0U) << found->flag;
}

TEST(Diagnosis, outlier_weights_ask_for_scales_of_channels) {
  Builder b(7);
  Options options;
  options.layer.weights.granularity = Granularity::kTensor;
  const auto all = diagnoses_of(two_layers(b, 80.0F), options);
  const Diagnosis* found = find(all, Disease::kOutlierWeights);
  ASSERT_NE(found, nullptr) << list(all);
  EXPECT_EQ(found->node, "first");
  EXPECT_EQ(found->flag, "--option granularity=channel");
}

TEST(Diagnosis, a_bias_that_leaves_weights_no_codes_is_named) {
  Builder b(8);
  Graph graph = two_layers(b, 1.0F);
  Tensor& bias = graph.value(graph.find_value("first.bias")).constant;
  bias.mutable_data<float>()[2] = 3e6F;
  const auto all = diagnoses_of(graph, {});
  const Diagnosis* found = find(all, Disease::kSaturatedAccumulator);
  ASSERT_NE(found, nullptr) << list(all);
  EXPECT_EQ(found->node, "first");
  EXPECT_EQ(found->flag, "--set 'first:weights=float'");
  EXPECT_NE(found->words.find("channel 2"), std::string::npos) << found->words;
}

/// Every key and value that is advised is one that the program takes.
TEST(Diagnosis, advised_settings_exist) {
  for (const auto* text : {"first:range=minmax", "first:range=mse", "first:activations=8",
                           "first:activations=float", "first:weights=float"}) {
    EXPECT_NO_THROW(parse_override(text)) << text;
  }
  EXPECT_TRUE(softmax_codes_from_name("log2") && softmax_codes_from_name("log-sqrt2"));
  EXPECT_TRUE(rotation_from_name("hadamard") && norm_transform_from_name("repq"));
}

}  // namespace
}  // namespace ounce::quantize
