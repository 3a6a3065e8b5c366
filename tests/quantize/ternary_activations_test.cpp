// Networks with ternary weights and activations: numbers chosen, numbers computed, what is told.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "quantize/analysis/chosen_grid.h"
#include "quantize/analysis/diagnosis.h"
#include "quantize/quantizer.h"
#include "tests/quantize/graphs.h"

namespace ounce::quantize {
namespace {

using testing::random_inputs;

TensorSource source_for(const Graph& graph) {
  std::vector<std::vector<Tensor>> inputs;
  for (unsigned i = 0; i < 4; ++i) inputs.push_back(random_inputs(graph, 300 + i));
  return TensorSource(std::move(inputs));
}

Options ternary() {
  Options options;
  EXPECT_TRUE(set_weight_bits(options.layer.weights, "ternary"));
  EXPECT_TRUE(set_activation_bits(options.layer, "ternary"));
  return options;
}

/// Wider than the networks of `testing`, so that bits are worth their while: a layer that reads
/// signed values, one behind Relu, one that reads pooled codes.
Graph wide_network() {
  testing::Builder b(6);
  ValueId x = b.conv(b.input("image", {1, 64, 8, 8}), 64, 64, 3, "one");
  x = b.op("Relu", {b.conv(x, 64, 96, 1, "two")}, "relu");
  AttributeMap pool;
  pool.set("kernel_shape", std::vector<int64_t>{2, 2});
  pool.set("strides", std::vector<int64_t>{2, 2});
  x = b.op("MaxPool", {x}, "pool", pool);
  return b.finish({b.conv(x, 96, 32, 3, "three")});
}

double relative_noise(const std::vector<float>& exact, const std::vector<float>& other) {
  double signal = 0.0;
  double noise = 0.0;
  for (size_t i = 0; i < exact.size(); ++i) {
    signal += std::pow(static_cast<double>(exact[i]), 2);
    noise += std::pow(static_cast<double>(exact[i]) - other[i], 2);
  }
  return noise / signal;
}

/// The graph with its layers on the kernel of this name wherever it is one of several.
engine::Session session_on(const Graph& graph, const std::string& kernel,
                           const std::vector<Tensor>& inputs) {
  engine::SessionOptions options;
  options.profile = true;
  engine::Session measured(graph, options);
  measured.run(inputs);
  for (const auto& [layer, fastest] : measured.kernel_hints()) {
    options.kernel_hints[layer] = kernel;
  }
  return engine::Session(graph, options);
}

TEST(TernaryActivations, the_engine_computes_what_the_graph_says) {
  for (const Graph& graph : {wide_network(), testing::residual_network(), testing::relu_network(),
                             testing::vit_block(), testing::detector_tail()}) {
    TensorSource source = source_for(graph);
    const QuantizeResult result = quantize(graph, ternary(), source);
    const std::vector<Tensor> inputs = random_inputs(graph, 7);
    const std::vector<Tensor> said = engine::reference::run(result.graph, inputs);
    const std::vector<Tensor> done = engine::Session(result.graph).run(inputs);
    for (size_t i = 0; i < said.size(); ++i) {
      EXPECT_LT(relative_noise(said[i].to_f32(), done[i].to_f32()), 1e-3) << i;
    }
  }
}

TEST(TernaryActivations, layers_are_multiplied_in_two_counts) {
  const Graph graph = wide_network();
  TensorSource source = source_for(graph);
  const QuantizeResult result = quantize(graph, ternary(), source);
  const std::vector<Tensor> inputs = random_inputs(graph, 7);
  const std::vector<Tensor> said = engine::reference::run(result.graph, inputs);
  engine::Session session = session_on(result.graph, "conv_bits", inputs);
  EXPECT_LT(relative_noise(said[0].to_f32(), session.run(inputs)[0].to_f32()), 1e-3);
  int counted = 0;
  for (const engine::StepProfile& step : session.profile()) {
    if (!step.kernel.starts_with("conv_bits")) continue;
    EXPECT_TRUE(step.multiplication.ternary) << step.name;
    ++counted;
  }
  EXPECT_EQ(counted, 3);
}

TEST(TernaryActivations, records_say_ternary_and_have_least_squares_scales) {
  const Graph graph = wide_network();
  TensorSource source = source_for(graph);
  Options options = ternary();
  options.layer.range = RangeRule::kMinMax;
  const QuantizeResult result = quantize(graph, options, source);
  for (const LayerRecord& layer : result.layers) {
    EXPECT_TRUE(layer.ternary_activations) << layer.node;
    EXPECT_EQ(layer.activation_bits, 2) << layer.node;
  }
  ASSERT_FALSE(result.grids.empty());
  for (const GridRecord& grid : result.grids) {
    EXPECT_TRUE(grid.ternary) << grid.value;
    EXPECT_EQ(grid.zero_point, 1) << grid.value;
    EXPECT_EQ(grid.rule, "symmetric-mse") << grid.value;
    EXPECT_EQ(grid.chosen, (Range{-grid.scale, grid.scale})) << grid.value;
  }
  // Gaussian values: the best ternary quantizer has levels +-1.224 and 1 / 0.19, 7.2 dB.
  EXPECT_EQ(result.grids.front().value, "image");
  EXPECT_NEAR(result.grids.front().scale, 1.224F, 0.03F);
  EXPECT_NEAR(result.grids.front().sqnr_db, 7.2, 0.1);
}

TEST(TernaryActivations, a_cache_tells_ternary_from_two_bits) {
  const Graph graph = wide_network();
  TensorSource source = source_for(graph);
  CalibrationCache cache;
  Options options = ternary();
  const std::vector<Tensor> inputs = random_inputs(graph, 9);
  for (const char* word : {"2", "ternary", "2"}) {
    options.overrides = {parse_override(std::string("*:activations=") + word)};
    const Graph cached = quantize(graph, options, source, {}, {}, &cache).graph;
    const Graph fresh = quantize(graph, options, source).graph;
    EXPECT_EQ(engine::reference::run(fresh, inputs)[0].to_f32(),
              engine::reference::run(cached, inputs)[0].to_f32())
        << word;
  }
}

TEST(TernaryActivations, no_rule_is_advised_where_none_is_followed) {
  const Graph graph = wide_network();
  TensorSource source = source_for(graph);
  const QuantizeResult result = quantize(graph, ternary(), source);
  const GraphIndex index(result.graph);
  int grids = 0;
  for (size_t i = 0; i < result.graph.nodes.size(); ++i) {
    if (result.graph.nodes[i].op != "QuantizeLinear") continue;
    const auto grid = chosen_grid(result.graph, index, static_cast<int>(i));
    if (!grid || grid->bits == 8) continue;
    EXPECT_TRUE(grid->ternary) << result.graph.nodes[i].name;
    EXPECT_EQ(grid->bits, 2);
    EXPECT_EQ(grid->codes(), 3);
    ++grids;
  }
  EXPECT_GE(grids, 3);
  for (const Diagnosis& one : diagnose(result.prepared, result.graph, source, 1)) {
    EXPECT_EQ(one.flag.find("range="), std::string::npos) << one.value << ": " << one.words;
  }
}

}  // namespace
}  // namespace ounce::quantize
