// Plans with ternary activations: which grids are ternary, and which are not.
#include <gtest/gtest.h>

#include <algorithm>

#include "graph/error.h"
#include "quantize/insert_qdq.h"
#include "tests/quantize/graphs.h"
#include "tests/quantize/planned.h"

namespace ounce::quantize {
namespace {

using testing::Planned;
using testing::planned;
using testing::simulated_only;

Options ternary(const std::vector<std::string>& overrides = {}) {
  Options options;
  EXPECT_TRUE(set_weight_bits(options.layer.weights, "ternary"));
  EXPECT_TRUE(set_activation_bits(options.layer, "ternary"));
  for (const std::string& text : overrides) options.overrides.push_back(parse_override(text));
  return options;
}

std::string text_of(const Planned& result) {
  return to_text(result.graph, result.plan);
}

TEST(TernaryPlan, words_set_bits_of_activations) {
  LayerSettings layer;
  EXPECT_TRUE(set_activation_bits(layer, "ternary"));
  EXPECT_TRUE(layer.ternary_activations);
  EXPECT_EQ(layer.activation_bits, 2);
  EXPECT_TRUE(set_activation_bits(layer, "2"));
  EXPECT_FALSE(layer.ternary_activations);
  for (const char* word : {"0", "9", "f32", "tern", ""}) {
    EXPECT_FALSE(set_activation_bits(layer, word)) << word;
  }
  EXPECT_NO_THROW(parse_override("a:activations=ternary"));
}

TEST(TernaryPlan, layers_read_ternary_grids_and_nothing_is_simulated) {
  for (const Graph& source : {testing::residual_network(), testing::relu_network(),
                              testing::vit_block(), testing::detector_tail()}) {
    const Planned result = planned(source, ternary());
    EXPECT_EQ(simulated_only(result), std::vector<std::string>{});
    const GraphIndex index(result.graph);
    for (const LayerPlan& layer : result.plan.layers) {
      const Node& node = result.graph.nodes[static_cast<size_t>(layer.node)];
      const int grid = result.plan.grid_of[static_cast<size_t>(node.input(0))];
      ASSERT_GE(grid, 0) << node.name;
      EXPECT_EQ(result.plan.grids[static_cast<size_t>(grid)].ternary, layer.weights.has_value())
          << node.name << '\n'
          << text_of(result);
      EXPECT_EQ(result.plan.grids[static_cast<size_t>(grid)].bits, 2) << node.name;
    }
  }
}

TEST(TernaryPlan, what_no_layer_reads_keeps_eight_bits) {
  const Planned result = planned(testing::residual_network(), ternary());
  const GridPlan* sum = result.grid("block1.conv2");
  ASSERT_NE(sum, nullptr) << text_of(result);
  EXPECT_EQ(sum->bits, 8);
  EXPECT_FALSE(sum->ternary);
  const GridPlan* table = result.grid("block1.conv1");
  ASSERT_NE(table, nullptr) << text_of(result);
  EXPECT_GE(table->table, 0);
  EXPECT_EQ(table->bits, 8);
  EXPECT_FALSE(table->ternary);
}

TEST(TernaryPlan, a_shared_grid_is_ternary_only_where_all_that_read_it_ask_for_it) {
  testing::Builder b(5);
  const ValueId x = b.op("Relu", {b.input("x", {1, 8, 6, 6})}, "relu");
  const Graph source = b.finish({b.conv(x, 8, 4, 3, "one"), b.conv(x, 8, 4, 1, "another")});
  const auto grid = [&](const std::vector<std::string>& overrides) {
    return *planned(source, ternary(overrides)).grid("relu");
  };
  EXPECT_TRUE(grid({}).ternary);
  EXPECT_EQ(grid({}).bits, 2);
  // In either order of the layers.
  for (const std::string layer : {"one", "another"}) {
    EXPECT_FALSE(grid({layer + ":activations=2"}).ternary) << layer;
    EXPECT_EQ(grid({layer + ":activations=2"}).bits, 2) << layer;
    EXPECT_FALSE(grid({layer + ":activations=4"}).ternary) << layer;
    EXPECT_EQ(grid({layer + ":activations=4"}).bits, 4) << layer;
    EXPECT_TRUE(grid({layer + ":activations=1"}).ternary) << "signs are on no grid";
    EXPECT_TRUE(grid({layer + ":activations=float"}).ternary) << "floats are on no grid";
  }
}

TEST(TernaryPlan, products_of_two_activations_have_grids_of_two_bits) {
  const Planned result = planned(testing::vit_block(), ternary());
  for (const char* value : {"softmax", "v", "q", "k.transpose"}) {
    ASSERT_NE(result.grid(value), nullptr) << value << '\n' << text_of(result);
    EXPECT_FALSE(result.grid(value)->ternary) << value;
    EXPECT_EQ(result.grid(value)->bits, 2) << value;
  }
  EXPECT_FALSE(result.layer("scores")->settings.ternary_activations);
  EXPECT_TRUE(result.layer("fc1.matmul")->settings.ternary_activations);
  Options logarithmic = ternary();
  logarithmic.softmax = SoftmaxCodes::kLog2;
  EXPECT_EQ(planned(testing::vit_block(), logarithmic).layer("mixed")->map_bits, 2);
}

TEST(TernaryPlan, ends_keep_eight_bits) {
  Options options = ternary();
  options.keep_ends8 = true;
  const Planned result = planned(testing::relu_network(), options);
  for (const char* end : {"stem", "head"}) {
    EXPECT_FALSE(result.layer(end)->settings.ternary_activations) << end;
    EXPECT_EQ(result.layer(end)->settings.activation_bits, 8) << end;
  }
  EXPECT_FALSE(result.grid("image")->ternary);
  EXPECT_TRUE(result.grid("block1.relu1")->ternary) << text_of(result);
}

TEST(TernaryPlan, text_tells_ternary_from_two_bits) {
  const Planned result = planned(testing::vit_block(), ternary({"fc2*:activations=2"}));
  const std::string text = text_of(result);
  for (const char* line :
       {"layer fc1.matmul (MatMul): weights ternary per channel mse, activations ternary\n",
        "layer fc2.matmul (MatMul): weights ternary per channel mse, activations 2 bit\n",
        "grid norm2: ternary symmetric-mse\n", "grid gelu: 2 bit mse",
        "first layer: patch (Conv): weights ternary, activations ternary"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "in\n" << text;
  }
}

TEST(TernaryPlan, narrow_codes_end_where_the_grid_ends) {
  const Planned result = planned(testing::relu_network(), ternary());
  const Graph graph =
      insert_qdq(result.graph, result.plan, placeholder_calibration(result.graph, result.plan));
  const GraphIndex index(graph);
  const int quantize = index.producer(graph.find_value("image_quantized"));
  ASSERT_GE(quantize, 0);
  const Node& node = graph.nodes[static_cast<size_t>(quantize)];
  EXPECT_EQ(graph.constant(node.input(2))->to_i64(), std::vector<int64_t>{1});
  const Node& clip = graph.nodes[static_cast<size_t>(index.producer(node.input(0)))];
  EXPECT_EQ(clip.op, "Clip");
  EXPECT_EQ(graph.constant(clip.input(1))->to_f32()[0], -1.0F);
  EXPECT_EQ(graph.constant(clip.input(2))->to_f32()[0], 1.0F);
}

TEST(TernaryPlan, grids_made_while_the_model_runs_are_refused_by_name) {
  const auto message = [](const Options& options) -> std::string {
    try {
      planned(testing::vit_block(), options);
    } catch (const Error& error) {
      return error.what();
    }
    return "planned";
  };
  EXPECT_EQ(message(ternary({"fc1*:dynamic=token"})),
            "fc1.matmul: ternary activations have calibrated grids, none that are made while the "
            "model runs (try: 2 to 8 bits, or no dynamic grids)");
  EXPECT_EQ(message(ternary({"fc1*:dynamic=token", "fc1*:activations=4"})), "planned");
  EXPECT_EQ(message(ternary({"fc1*:dynamic=token", "fc1*:activations=float"})), "planned");
}

}  // namespace
}  // namespace ounce::quantize
