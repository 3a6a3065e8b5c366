#include "quantize/analysis/sensitivity.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "graph/error.h"
#include "quantize/analysis/compare.h"
#include "quantize/quantizer.h"
#include "tests/quantize/graphs.h"

namespace ounce::quantize {
namespace {

TensorSource source_for(const Graph& graph, unsigned runs) {
  std::vector<std::vector<Tensor>> inputs;
  for (unsigned i = 0; i < runs; ++i) inputs.push_back(testing::random_inputs(graph, 100 + i));
  return TensorSource(std::move(inputs));
}

TEST(Sensitivity, the_layer_with_few_bits_stands_out_from_both_ends) {
  const struct {
    Graph graph;
    const char* layer;
  } cases[] = {{testing::residual_network(), "block1.conv2"}, {testing::vit_block(), "fc1.matmul"}};
  for (const auto& [graph, layer] : cases) {
    TensorSource source = source_for(graph, 4);
    Options options;
    options.overrides = {parse_override(std::string(layer) + ":weights=2")};
    const QuantizeResult result = quantize(graph, options, source);
    const Sensitivity found = measure_sensitivity(result.prepared, result.graph, source, 1);
    EXPECT_EQ(found.runs, 4);
    EXPECT_EQ(found.layers.size(), result.layers.size());
    const auto alone = std::min_element(found.layers.begin(), found.layers.end(),
                                        [](const LayerSensitivity& a, const LayerSensitivity& b) {
                                          return a.alone_db < b.alone_db;
                                        });
    const auto restored =
        std::max_element(found.layers.begin(), found.layers.end(),
                         [](const LayerSensitivity& a, const LayerSensitivity& b) {
                           return a.restored_db < b.restored_db;
                         });
    EXPECT_EQ(alone->node, layer);
    EXPECT_EQ(restored->node, layer);
    EXPECT_GT(restored->restored_db, found.all_db + 6.0);
    // The others are 8-bit layers.
    for (const LayerSensitivity& one : found.layers) {
      if (one.node == layer) continue;
      EXPECT_GT(one.alone_db, 25.0) << one.node;
      EXPECT_NEAR(one.restored_db, found.all_db, 3.0) << one.node;
    }
  }
}

TEST(Sensitivity, a_model_without_quantized_layers_has_none) {
  const Graph graph = testing::relu_network();
  TensorSource source = source_for(graph, 1);
  const Sensitivity found = measure_sensitivity(graph, graph, source, 1);
  EXPECT_TRUE(found.layers.empty());
  EXPECT_GT(found.all_db, 100.0);
  EXPECT_THROW(measure_sensitivity(graph, testing::detector_tail(), source, 1), Error);
}

TEST(FirstBroken, is_the_first_in_order_below_the_limit) {
  const Graph graph = testing::residual_network();
  TensorSource source = source_for(graph, 4);
  const QuantizeResult good = quantize(graph, {}, source);
  EXPECT_EQ(compare(good.prepared, good.graph, source).first_broken, "");
  Options options;
  options.layer.weights.bits = 2;
  const QuantizeResult bad = quantize(graph, options, source);
  const Comparison comparison = compare(bad.prepared, bad.graph, source);
  ASSERT_NE(comparison.first_broken, "");
  for (const TensorComparison& tensor : comparison.tensors) {
    if (tensor.value == comparison.first_broken) {
      EXPECT_LT(tensor.accumulated.sqnr_db, kBrokenDb);
      break;
    }
    EXPECT_GE(tensor.accumulated.sqnr_db, kBrokenDb) << tensor.value;
  }
}

}  // namespace
}  // namespace ounce::quantize
