#include "quantize/guard.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/quantize/graphs.h"

namespace ounce::quantize {
namespace {

using testing::Builder;

constexpr int64_t kTokens = 6;
constexpr int64_t kWidth = 8;
constexpr float kLoud = 3000.0F;

/// Two linear layers with nothing between them.
Graph two_layers() {
  Builder b(5);
  const ValueId x = b.input("x", {1, kTokens, kWidth});
  return b.finish({b.linear(b.linear(x, kWidth, kWidth, "first"), kWidth, 4, "second")});
}

/// One linear layer that does not read the first channel of its input.
Graph deaf_layer() {
  Builder b(6);
  const ValueId x = b.input("x", {1, kTokens, kWidth});
  Graph graph = b.finish({b.linear(x, kWidth, 4, "layer")});
  auto weights = graph.value(graph.find_value("layer.weight")).constant.mutable_data<float>();
  std::fill_n(weights.begin(), 4, 0.0F);
  return graph;
}

/// Inputs of which one token is large in that channel, and nothing elsewhere.
TensorSource loud_token(const Graph& graph) {
  std::vector<std::vector<Tensor>> runs;
  for (unsigned i = 0; i < 4; ++i) {
    runs.push_back(testing::random_inputs(graph, i));
    auto values = runs.back()[0].mutable_data<float>();
    std::fill_n(values.begin(), kWidth, 0.0F);
    values[0] = kLoud;
  }
  return TensorSource(std::move(runs));
}

/// Inputs as they come, and a first layer of which one channel, which the second does not read, is
/// larger than the others: few bits lose these.
TensorSource loud_channel(Graph& graph, float times = kLoud) {
  auto weights = graph.value(graph.find_value("first.weight")).constant.mutable_data<float>();
  for (size_t k = 0; k < kWidth; ++k) weights[k * kWidth] *= times;
  auto next = graph.value(graph.find_value("second.weight")).constant.mutable_data<float>();
  std::fill_n(next.begin(), 4, 0.0F);
  std::vector<std::vector<Tensor>> runs;
  for (unsigned i = 0; i < 4; ++i) runs.push_back(testing::random_inputs(graph, i));
  return TensorSource(std::move(runs));
}

Options guarded_options() {
  Options options;
  options.least_db_per_bit = 3.5;
  return options;
}

Guarded guarded(const Graph& graph, TensorSource& source, const Options& options) {
  return guard_plan(graph, options, {{1, kTokens, kWidth}}, source, {});
}

std::vector<ActivationGrid> grids_of(const Guarded& settled) {
  std::vector<ActivationGrid> grids;
  for (const LayerPlan& layer : settled.plan.layers) {
    grids.push_back(layer.settings.activation_grid);
  }
  return grids;
}

TEST(Guard, gives_grids_a_token_where_one_token_spoils_the_others) {
  const Graph graph = deaf_layer();
  TensorSource source = loud_token(graph);
  const Guarded settled = guarded(graph, source, guarded_options());
  EXPECT_TRUE(settled.exclusions.empty());
  EXPECT_EQ(grids_of(settled), (std::vector<ActivationGrid>{ActivationGrid::kDynamicToken}));
}

TEST(Guard, keeps_in_float_what_no_grid_helps) {
  Graph graph = two_layers();
  TensorSource source = loud_channel(graph);
  const Guarded settled = guarded(graph, source, guarded_options());
  ASSERT_EQ(settled.exclusions.size(), 1U);
  EXPECT_EQ(settled.exclusions.begin()->first.find("second"), 0U);
  EXPECT_NE(settled.exclusions.begin()->second.find("too noisy"), std::string::npos);
  EXPECT_EQ(grids_of(settled), (std::vector<ActivationGrid>{ActivationGrid::kCalibrated}));
}

Options four_bits() {
  Options options = guarded_options();
  options.layer.weights.bits = options.layer.activation_bits = 4;
  return options;
}

TEST(Guard, gives_8_bits_to_activations_that_are_too_noisy_with_4) {
  Graph graph = two_layers();
  TensorSource source = loud_channel(graph, 4.0F);
  const Guarded settled = guarded(graph, source, four_bits());
  EXPECT_TRUE(settled.exclusions.empty());
  ASSERT_EQ(settled.plan.layers.size(), 2U);
  EXPECT_EQ(settled.plan.layers[1].settings.activation_bits, 8);
  EXPECT_EQ(settled.widened.count("second.matmul"), 1U);
  for (const ActivationGrid grid : grids_of(settled)) {
    EXPECT_EQ(grid, ActivationGrid::kCalibrated);
  }
}

TEST(Guard, gives_8_bits_to_weights_where_activations_have_them) {
  Graph graph = two_layers();
  // One scale for all channels, of which one is large and the others are what is read.
  Options options = four_bits();
  options.layer.activation_bits = 8;
  options.layer.weights.granularity = Granularity::kTensor;
  auto weights = graph.value(graph.find_value("second.weight")).constant.mutable_data<float>();
  for (size_t n = 0; n < 4; ++n) weights[n] *= 6.0F;
  auto before = graph.value(graph.find_value("first.weight")).constant.mutable_data<float>();
  for (size_t k = 0; k < kWidth; ++k) before[k * kWidth] = 0.0F;  // the large ones read zeros
  TensorSource source({testing::random_inputs(graph, 1), testing::random_inputs(graph, 2)});
  const Guarded settled = guarded(graph, source, options);
  EXPECT_TRUE(settled.exclusions.empty());
  EXPECT_EQ(settled.plan.layers[0].settings.weights.bits, 4);
  EXPECT_EQ(settled.plan.layers[1].settings.weights.bits, 8);
}

TEST(Guard, leaves_bits_alone_that_were_asked_for) {
  Graph graph = two_layers();
  TensorSource source = loud_channel(graph, 20.0F);
  Options options = four_bits();
  for (const char* key : {"weights", "activations"}) options.overrides.push_back({"*", key, "4"});
  options.overrides.push_back({"*", "dynamic", "off"});
  const Guarded settled = guarded(graph, source, options);
  EXPECT_FALSE(settled.exclusions.empty());
  for (const LayerPlan& layer : settled.plan.layers) {
    EXPECT_EQ(layer.settings.weights.bits, 4);
    EXPECT_EQ(layer.settings.activation_bits, 4);
  }
}

TEST(Guard, leaves_grids_alone_that_were_asked_for) {
  const Graph graph = deaf_layer();
  TensorSource source = loud_token(graph);
  Options options = guarded_options();
  options.overrides.push_back({"*", "dynamic", "off"});
  const Guarded settled = guarded(graph, source, options);
  EXPECT_FALSE(settled.exclusions.empty());
  for (const ActivationGrid grid : grids_of(settled)) {
    EXPECT_EQ(grid, ActivationGrid::kCalibrated);
  }
}

TEST(Guard, changes_nothing_where_nothing_is_noisy) {
  const Graph graph = two_layers();
  TensorSource source({testing::random_inputs(graph, 1), testing::random_inputs(graph, 2)});
  const Guarded settled = guarded(graph, source, guarded_options());
  EXPECT_TRUE(settled.exclusions.empty());
  EXPECT_TRUE(settled.options.overrides.empty());
  EXPECT_TRUE(settled.widened.empty());
  EXPECT_EQ(settled.plan.layers.size(), 2U);
}

}  // namespace
}  // namespace ounce::quantize
