// Plans with 1-bit activations, ternary weights, and bits mixed by pattern.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/reference/reference.h"
#include "graph/error.h"
#include "quantize/insert_qdq.h"
#include "tests/quantize/graphs.h"
#include "tests/quantize/planned.h"

namespace ounce::quantize {
namespace {

using testing::Planned;
using testing::planned;
using testing::simulated_only;

Options bits(int weights, int activations) {
  Options options;
  options.layer.weights.bits = weights;
  options.layer.activation_bits = activations;
  return options;
}

Options with(Options options, const std::vector<std::string>& overrides) {
  for (const std::string& text : overrides) options.overrides.push_back(parse_override(text));
  return options;
}

Graph inserted(const Planned& result) {
  return insert_qdq(result.graph, result.plan, placeholder_calibration(result.graph, result.plan));
}

const Node& node_named(const Graph& graph, std::string_view name) {
  const auto found = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                                  [&](const Node& node) { return node.name == name; });
  if (found == graph.nodes.end()) throw Error("no node " + std::string(name));
  return *found;
}

int64_t count_of(const Graph& graph, std::string_view op) {
  return std::count_if(graph.nodes.begin(), graph.nodes.end(),
                       [&](const Node& node) { return node.op == op; });
}

TEST(LowBitPlan, one_bit_layers_take_part_in_no_grid) {
  const Planned result = planned(testing::relu_network(), bits(1, 1));
  EXPECT_TRUE(result.plan.grids.empty()) << to_text(result.graph, result.plan);
  EXPECT_EQ(result.plan.layers.size(), 7U);
  EXPECT_EQ(std::count(result.plan.on_integers.begin(), result.plan.on_integers.end(), true), 0);
  EXPECT_EQ(result.plan.binarizers.size(), 7U);
  const Graph graph = inserted(result);
  EXPECT_EQ(count_of(graph, "QuantizeLinear"), 0);
  EXPECT_EQ(count_of(graph, "Binarize"), 7);
  for (const Node& node : graph.nodes) {
    if (node.op != "DequantizeLinear") continue;
    EXPECT_EQ(graph.value(node.input(0)).dtype, DType::u1) << node.name;
    EXPECT_EQ(node.inputs.size(), 2U) << "signs have no zero point";
  }
}

TEST(LowBitPlan, what_cannot_be_negative_is_binarized_to_zero_and_one) {
  const Planned relu = planned(testing::relu_network(), bits(1, 1));
  EXPECT_FALSE(relu.binarizer("image")->is_unsigned);
  EXPECT_TRUE(relu.binarizer("block1.relu1")->is_unsigned);
  const Planned vit = planned(testing::vit_block(), bits(1, 1));
  EXPECT_TRUE(vit.binarizer("softmax")->is_unsigned);
  for (const char* value : {"q", "k.transpose", "v", "norm1", "gelu", "class_token"}) {
    ASSERT_NE(vit.binarizer(value), nullptr) << value << '\n' << to_text(vit.graph, vit.plan);
    EXPECT_FALSE(vit.binarizer(value)->is_unsigned) << value;
  }
  const Graph graph = inserted(vit);
  EXPECT_EQ(node_named(graph, "softmax_Binarize").attributes.get_int("unsigned", 0), 1);
  EXPECT_EQ(node_named(graph, "q_Binarize").attributes.get_int("unsigned", 0), 0);
  EXPECT_EQ(graph.value(node_named(graph, "scores").input(0)).name, "q_binarized");
  EXPECT_EQ(graph.value(node_named(graph, "scores").input(1)).name, "k.transpose_binarized");
  EXPECT_EQ(graph.value(node_named(graph, "mixed").input(0)).name, "softmax_binarized");
}

Options dynamic(Options options, ActivationGrid grid) {
  options.layer.activation_grid = grid;
  return options;
}

TEST(LowBitPlan, dynamic_layers_take_part_in_no_grid) {
  const Planned result =
      planned(testing::vit_block(), dynamic(bits(4, 8), ActivationGrid::kDynamicToken));
  const std::string text = to_text(result.graph, result.plan);
  EXPECT_TRUE(result.plan.grids.empty()) << text;
  ASSERT_NE(result.layer("fc1.matmul"), nullptr) << text;
  EXPECT_TRUE(result.layer("fc1.matmul")->reads_dynamic_grid());
  ASSERT_NE(result.kept("scores"), nullptr) << text;
  EXPECT_NE(text.find("activations 8 bit dynamic per token"), std::string::npos) << text;
  const Graph graph = inserted(result);
  EXPECT_EQ(count_of(graph, "QuantizeLinear"), 0);
  const int reader = GraphIndex(graph).producer(node_named(graph, "fc1.matmul").input(0));
  ASSERT_GE(reader, 0);
  const Node& rounding = graph.nodes[static_cast<size_t>(reader)];
  EXPECT_EQ(rounding.op, "DynamicFakeQuant");
  EXPECT_EQ(rounding.attributes.get_int("bits", 0), 8);
  EXPECT_EQ(rounding.attributes.get_int("per_token", 0), 1);
}

TEST(LowBitPlan, convolutions_have_no_dynamic_grids) {
  const Planned result =
      planned(testing::residual_network(), dynamic(bits(8, 8), ActivationGrid::kDynamicTensor));
  EXPECT_TRUE(result.plan.grids.empty());
  ASSERT_NE(result.layer("block1.conv1"), nullptr);
  EXPECT_TRUE(result.layer("block1.conv1")->weight_only);
  ASSERT_NE(result.layer("fc"), nullptr);
  EXPECT_TRUE(result.layer("fc")->reads_dynamic_grid());
}

TEST(LowBitPlan, layers_that_read_a_value_alike_share_its_dynamic_grid) {
  testing::Builder b(5);
  const ValueId x = b.input("x", {6, 8});
  const Graph source = b.finish({b.linear(x, 8, 4, "one"), b.linear(x, 8, 4, "another"),
                                 b.linear(x, 8, 4, "narrow"), b.linear(x, 8, 4, "static")});
  const Planned result = planned(source, with(dynamic(bits(8, 8), ActivationGrid::kDynamicToken),
                                              {"narrow*:activations=4", "static*:dynamic=off"}));
  const Graph graph = inserted(result);
  EXPECT_EQ(count_of(graph, "DynamicFakeQuant"), 2) << to_text(result.graph, result.plan);
  EXPECT_EQ(count_of(graph, "QuantizeLinear"), 1);
}

TEST(LowBitPlan, softmax_maps_take_logarithmic_codes_where_asked_for) {
  for (const int activations : {3, 4, 8}) {
    Options options = bits(4, activations);
    options.softmax = SoftmaxCodes::kLogSqrt2;
    const Planned result = planned(testing::vit_block(), options);
    EXPECT_EQ(simulated_only(result), std::vector<std::string>{});
    EXPECT_EQ(result.grid("softmax"), nullptr);
    const int expected = std::min(activations, 4);
    EXPECT_EQ(result.layer("mixed")->map_bits, expected);
    EXPECT_EQ(result.layer("scores")->map_bits, 0);
    const std::string text = to_text(result.graph, result.plan);
    EXPECT_NE(text.find("softmax map log-sqrt2 " + std::to_string(expected) + " bit"),
              std::string::npos)
        << text;
    const Graph graph = inserted(result);
    const Node& codes = node_named(graph, "softmax_LogQuantize");
    EXPECT_EQ(codes.attributes.get_int("bits", 0), expected);
    EXPECT_EQ(codes.attributes.get_int("steps_per_octave", 0), 2);
    EXPECT_EQ(codes.attributes.get_int("zero_below", 0), 1);
    EXPECT_EQ(graph.value(node_named(graph, "mixed").input(0)).name, "softmax_log_quantized");
    EXPECT_EQ(graph.value(node_named(graph, "mixed").input(1)).name, "v_dequantized");
  }
}

TEST(LowBitPlan, softmax_maps_that_the_kernel_cannot_read_stay_float_and_are_named) {
  Options options = bits(4, 4);
  options.softmax = SoftmaxCodes::kLog2;
  testing::Builder b(5);
  const ValueId x = b.op("Relu", {b.input("x", {1, 2, 6, 6})}, "relu");
  const ValueId biased = b.op("Add", {b.op("MatMul", {x, x}, "scores"), x}, "biased");
  const Graph source =
      b.finish({b.op("MatMul", {b.op("Softmax", {biased}, "softmax"), x}, "mixed")});
  const Planned result = planned(source, options);
  ASSERT_NE(result.kept("mixed"), nullptr) << to_text(result.graph, result.plan);
  EXPECT_NE(result.layer("scores"), nullptr);
  EXPECT_EQ(count_of(inserted(result), "LogQuantize"), 0);
}

TEST(LowBitPlan, layers_of_one_and_of_eight_bits_read_the_same_value) {
  testing::Builder b(5);
  const ValueId x = b.op("Relu", {b.input("x", {1, 8, 6, 6})}, "relu");
  const Graph source = b.finish(
      {b.conv(x, 8, 4, 3, "one"), b.conv(x, 8, 4, 1, "another"), b.conv(x, 8, 4, 1, "eight")});
  const Planned result =
      planned(source, with(bits(1, 1), {"eight:weights=8", "eight:activations=8"}));
  EXPECT_EQ(result.plan.binarizers.size(), 1U);
  ASSERT_NE(result.grid("relu"), nullptr);
  EXPECT_EQ(result.grid("relu")->bits, 8);
  const Graph graph = inserted(result);
  EXPECT_EQ(count_of(graph, "Binarize"), 1);
  EXPECT_EQ(graph.value(node_named(graph, "eight").input(0)).name, "relu_dequantized");
  EXPECT_EQ(graph.value(node_named(graph, "one").input(0)).name, "relu_binarized");
  EXPECT_EQ(graph.value(node_named(graph, "another").input(0)).name, "relu_binarized");
  EXPECT_EQ(simulated_only(result), std::vector<std::string>{});
}

TEST(LowBitPlan, an_eight_bit_layer_behind_a_one_bit_layer_quantizes_its_floats) {
  const Planned result =
      planned(testing::relu_network(),
              with(bits(8, 8), {"block1.conv2:activations=1", "block1.conv2:weights=1"}));
  EXPECT_NE(result.binarizer("block1.relu1"), nullptr);
  EXPECT_EQ(result.plan.binarizers.size(), 1U);
  // The sum has a float operand, so it is a float sum; what reads it gets codes all the same.
  EXPECT_NE(result.kept("block1.add"), nullptr);
  EXPECT_NE(result.grid("block1.relu2_narrow"), nullptr) << to_text(result.graph, result.plan);
  EXPECT_EQ(result.grid("block1.conv2"), nullptr);
  EXPECT_EQ(simulated_only(result), std::vector<std::string>{});
}

TEST(LowBitPlan, narrow_weights_make_ordinary_integer_layers) {
  for (const Graph& source : {testing::residual_network(), testing::vit_block()}) {
    for (const char* word : {"1", "ternary", "2", "3", "5"}) {
      Options options;
      ASSERT_TRUE(set_weight_bits(options.layer.weights, word));
      const Planned result = planned(source, options);
      EXPECT_EQ(simulated_only(result), std::vector<std::string>{}) << word;
      EXPECT_TRUE(result.plan.binarizers.empty());
      for (const KeptFloat& kept : result.plan.kept_float) {
        EXPECT_EQ(kept.reason.find("not executable"), std::string::npos)
            << word << ' ' << kept.node;
      }
    }
  }
}

TEST(LowBitPlan, bits_mix_by_pattern) {
  const Planned result = planned(
      testing::vit_block(),
      with(bits(4, 8), {"qkv*:weights=2", "fc?.*:weights=ternary", "proj*:weights=1",
                        "proj*:activations=1", "scores:activations=1", "head:activations=f32"}));
  EXPECT_EQ(result.layer("qkv.matmul")->settings.weights.bits, 2);
  EXPECT_FALSE(result.layer("qkv.matmul")->settings.weights.ternary);
  EXPECT_TRUE(result.layer("fc1.matmul")->settings.weights.ternary);
  EXPECT_TRUE(result.layer("proj.matmul")->reads_signs());
  EXPECT_TRUE(result.layer("scores")->reads_signs());
  EXPECT_TRUE(result.layer("mixed")->reads_grid());
  EXPECT_TRUE(result.layer("head")->weight_only);
  EXPECT_EQ(result.layer("patch")->settings.weights.bits, 4);
  EXPECT_EQ(simulated_only(result), std::vector<std::string>{});
  const Graph graph = inserted(result);
  const auto codes = [&](std::string_view weight) {
    return graph.value(graph.find_value(std::string(weight) + "_quantized")).constant.dtype();
  };
  EXPECT_EQ(codes("qkv.weight"), DType::i2);
  EXPECT_EQ(codes("fc1.weight"), DType::i2);
  EXPECT_EQ(codes("proj.weight"), DType::u1);
  EXPECT_EQ(codes("patch.weight"), DType::i4);
}

TEST(LowBitPlan, text_tells_signs_from_zero_and_one_and_ternary_from_two_bits) {
  Options options = with(bits(1, 1), {"fc1*:weights=ternary", "fc2*:weights=2"});
  options.keep_ends8 = true;
  const Planned result = planned(testing::vit_block(), options);
  const std::string text = to_text(result.graph, result.plan);
  for (const char* line :
       {"layer patch (Conv): weights 8 bit per channel minmax, activations 8 bit, first or last "
        "layer\n",
        "layer qkv.matmul (MatMul): weights 1 bit per channel mse, activations 1 bit\n",
        "layer fc1.matmul (MatMul): weights ternary per channel mse, activations 1 bit\n",
        "layer fc2.matmul (MatMul): weights 2 bit per channel minmax, activations 1 bit\n",
        "binarize softmax: 0 and 1\n", "binarize q: signs\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "in\n" << text;
  }
}

TEST(LowBitPlan, ends_that_are_widened_read_grids) {
  Options options = bits(1, 1);
  options.keep_ends8 = true;
  const Planned result = planned(testing::relu_network(), options);
  for (const char* end : {"stem", "head"}) {
    EXPECT_EQ(result.layer(end)->settings.weights.bits, 8);
    EXPECT_TRUE(result.layer(end)->reads_grid());
    EXPECT_TRUE(result.layer(end)->is_end);
  }
  EXPECT_TRUE(result.layer("block1.conv1")->reads_signs());
  EXPECT_FALSE(result.layer("block1.conv1")->is_end);
  EXPECT_NE(result.grid("image"), nullptr);
  EXPECT_NE(result.grid("depthwise.relu"), nullptr);
  EXPECT_EQ(result.grid("stem.relu"), nullptr) << "only signs of it are read";
  EXPECT_EQ(simulated_only(result), std::vector<std::string>{});
}

TEST(LowBitPlan, an_override_wins_over_the_default_of_the_ends) {
  Options options = with(bits(2, 8), {"stem:weights=ternary", "stem:activations=4"});
  options.keep_ends8 = true;
  const Planned result = planned(testing::relu_network(), options);
  EXPECT_TRUE(result.layer("stem")->settings.weights.ternary);
  EXPECT_EQ(result.layer("stem")->settings.activation_bits, 4);
  EXPECT_FALSE(result.layer("stem")->is_end);
  EXPECT_EQ(result.layer("head")->settings.weights.bits, 8);
}

TEST(LowBitPlan, weight_only_ends_keep_float_activations) {
  Options options = bits(2, 8);
  options.layer.float_activations = true;
  options.keep_ends8 = true;
  const Planned result = planned(testing::relu_network(), options);
  EXPECT_EQ(result.layer("stem")->settings.weights.bits, 8);
  EXPECT_TRUE(result.layer("stem")->weight_only);
  EXPECT_EQ(result.layer("block1.conv1")->settings.weights.bits, 2);
  EXPECT_TRUE(result.plan.grids.empty());
  EXPECT_TRUE(result.plan.binarizers.empty());
}

TEST(LowBitPlan, the_layer_behind_an_end_in_float_is_no_end) {
  const Graph graph = prepare(testing::relu_network(), {});
  Options options = bits(2, 8);
  options.keep_ends8 = true;
  const Plan plan = make_plan(graph, options, {{"stem", "too slow"}});
  for (const LayerPlan& layer : plan.layers) {
    const std::string& name = graph.nodes[static_cast<size_t>(layer.node)].name;
    EXPECT_EQ(layer.settings.weights.bits, name == "head" ? 8 : 2) << name;
  }
}

TEST(LowBitPlan, scales_of_few_bits_are_searched_unless_a_rule_is_named) {
  Options options = with(
      bits(8, 8), {"block1.*:weights=2", "block2.*:weights=3", "*2.conv1:weight-range=minmax"});
  options.search_few_bits = true;
  const Planned result = planned(testing::relu_network(), options);
  EXPECT_EQ(result.layer("block1.conv1")->settings.weights.rule, WeightRule::kMse);
  EXPECT_EQ(result.layer("block2.conv2")->settings.weights.rule, WeightRule::kMse);
  EXPECT_EQ(result.layer("block2.conv1")->settings.weights.rule, WeightRule::kMinMax);
  EXPECT_EQ(result.layer("stem")->settings.weights.rule, WeightRule::kMinMax);
}

/// x -> Pad of one zero around -> convolution without padding.
Graph padded_network(std::vector<int64_t> pads) {
  testing::Builder b(8);
  const ValueId x = b.input("x", {1, 4, 6, 6});
  const ValueId amounts = b.graph.add_constant("amounts", Tensor::of_i64(std::move(pads)));
  const ValueId padded = b.op("Pad", {x, amounts}, "pad");
  const ValueId w = b.graph.add_constant("w", b.random({4, 4, 3, 3}, 0.2F));
  return b.finish({b.op("Conv", {padded, w}, "conv")});
}

TEST(LowBitPlan, zeros_around_a_value_get_no_sign) {
  const std::vector<int64_t> around = {0, 0, 1, 2, 0, 0, 3, 0};
  const Planned result = planned(padded_network(around), bits(1, 1));
  EXPECT_NE(result.binarizer("x"), nullptr);
  const Graph graph = inserted(result);
  EXPECT_EQ(count_of(graph, "Pad"), 0);
  EXPECT_EQ(node_named(graph, "conv").attributes.get_ints("pads"),
            (std::vector<int64_t>{1, 2, 3, 0}));
  // More bits know a zero, and a Pad that cuts or adds channels is no padding.
  EXPECT_EQ(count_of(planned(padded_network(around), bits(2, 2)).graph, "Pad"), 1);
  for (const auto& other : {std::vector<int64_t>{0, 0, -1, 0, 0, 0, 1, 0}}) {
    EXPECT_EQ(count_of(planned(padded_network(other), bits(1, 1)).graph, "Pad"), 1);
  }
}

/// Words looked up in a table, positions added, a layer.
Graph embedded_network(int64_t width) {
  testing::Builder b(9);
  const ValueId words = b.graph.add_input("words", DType::i64, symbolic(Shape{1, 4}));
  const ValueId table = b.graph.add_constant("table", b.random({64, width}, 0.3F));
  const ValueId found = b.op("Gather", {table, words}, "found");
  const ValueId positions = b.graph.add_constant("positions", b.random({1, 4, width}, 0.3F));
  const ValueId x = b.op("Add", {found, positions}, "sum");
  return b.finish({b.linear(b.layer_norm(x, width, "norm"), width, 8, "layer")});
}

TEST(LowBitPlan, large_embeddings_are_stored_with_eight_bits_a_row) {
  Options options = bits(2, 8);
  const Planned plain = planned(embedded_network(1024), options);
  EXPECT_TRUE(plain.plan.embeddings.empty());
  options.embeddings8 = true;
  EXPECT_TRUE(planned(embedded_network(16), options).plan.embeddings.empty()) << "small";
  const Planned result = planned(embedded_network(1024), options);
  ASSERT_EQ(result.plan.embeddings.size(), 2U);
  EXPECT_NE(to_text(result.graph, result.plan).find("store table: 8 bit per row\n"),
            std::string::npos);
  const Graph graph = inserted(result);
  const auto constant = [&](std::string_view name) {
    return graph.value(graph.find_value(name)).constant;
  };
  EXPECT_EQ(constant("table_quantized").dtype(), DType::i8);
  EXPECT_EQ(constant("table_scale").shape(), Shape{64});
  EXPECT_EQ(constant("positions_scale").shape(), Shape{4});
  EXPECT_EQ(graph.find_value("table"), kNoValue) << "stored twice";
  const Tensor inputs[] = {Tensor::of_i64({3, 0, 63, 3}).reshaped({1, 4})};
  Graph exact = result.graph;
  Graph stored = graph;
  exact.outputs = {exact.find_value("sum")};
  stored.outputs = {stored.find_value("sum")};
  const Tensor expected = engine::reference::run(exact, inputs)[0];
  const Tensor found = engine::reference::run(stored, inputs)[0];
  for (size_t i = 0; i < expected.data<float>().size(); ++i) {
    // Half a step of each of the two: rows of normal numbers of 0.3 reach to 1.5.
    EXPECT_NEAR(found.data<float>()[i], expected.data<float>()[i], 1.5F / 127) << i;
  }
}

TEST(LowBitOptions, words_of_weights_and_activations) {
  for (const char* text :
       {"a:weights=1", "a:weights=ternary", "a:weights=3", "a:weights=f32", "a:weights=float",
        "a:activations=1", "a:activations=f32", "a:activations=float", "a:activations=7"}) {
    EXPECT_NO_THROW(parse_override(text)) << text;
  }
  for (const char* text : {"a:weights=0", "a:weights=9", "a:weights=1.58", "a:weights=",
                           "a:activations=binary", "a:activations=0", "a:activations=16"}) {
    EXPECT_THROW(parse_override(text), Error) << text;
  }
}

}  // namespace
}  // namespace ounce::quantize
