#include "quantize/analysis/compare.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "graph/error.h"
#include "quantize/quantizer.h"
#include "tests/quantize/graphs.h"

namespace ounce::quantize {
namespace {

TensorSource source_for(const Graph& graph, int runs) {
  std::vector<std::vector<Tensor>> inputs;
  for (int i = 0; i < runs; ++i) {
    inputs.push_back(testing::random_inputs(graph, 100 + static_cast<unsigned>(i)));
  }
  return TensorSource(std::move(inputs));
}

const TensorComparison& tensor(const Comparison& comparison, std::string_view name) {
  const auto found = std::find_if(comparison.tensors.begin(), comparison.tensors.end(),
                                  [&](const TensorComparison& t) { return t.value == name; });
  if (found == comparison.tensors.end()) throw Error("no tensor " + std::string(name));
  return *found;
}

TEST(Compare, a_graph_equals_itself) {
  for (const auto make : {testing::residual_network, testing::vit_block}) {
    const Graph graph = make();
    TensorSource source = source_for(graph, 2);
    const Comparison comparison = compare(graph, graph, source);
    EXPECT_FALSE(comparison.tensors.empty());
    EXPECT_EQ(comparison.runs, 2);
    for (const TensorComparison& t : comparison.tensors) {
      // Fusion differs where copies hang on, so the last bit may.
      EXPECT_GT(t.own.sqnr_db, 100.0) << t.value;
      EXPECT_GT(t.accumulated.sqnr_db, 100.0) << t.value;
    }
  }
}

TEST(Compare, the_layer_that_breaks_is_the_layer_that_is_named) {
  const Graph graph = testing::residual_network();
  TensorSource source = source_for(graph, 4);
  Options options;
  options.overrides = {parse_override("block1.conv2:weights=2")};
  const QuantizeResult result = quantize(graph, options, source);
  const Comparison comparison = compare(result.prepared, result.graph, source);
  EXPECT_TRUE(comparison.worst == "block1.conv2" || comparison.worst == "block1.act2")
      << comparison.worst;
  // Later layers suffer, but not by their own doing.
  const TensorComparison& later = tensor(comparison, "block2.conv1");
  EXPECT_LT(later.accumulated.sqnr_db, later.own.sqnr_db - 6.0);
  EXPECT_GT(later.own.sqnr_db, 25.0);
  // Earlier ones do not.
  EXPECT_GT(tensor(comparison, "block1.conv1").accumulated.sqnr_db, 25.0);
}

/// Below 8 bits a ReLU takes over the range of its codes: what stands before it is not what the
/// quantizer behind it makes.
TEST(Compare, a_sum_before_a_relu_is_not_judged_by_the_codes_behind_it) {
  const Graph graph = testing::relu_network();
  TensorSource source = source_for(graph, 2);
  Options options;
  options.layer.activation_bits = 6;
  const QuantizeResult result = quantize(graph, options, source);
  const Comparison comparison = compare(result.prepared, result.graph, source);
  EXPECT_GT(tensor(comparison, "block1.conv1").own.sqnr_db, 25.0);
  EXPECT_GT(tensor(comparison, "block1.relu1").own.sqnr_db, 25.0);
}

TEST(Compare, small_budgets_read_the_data_more_often_and_find_the_same) {
  const Graph graph = testing::vit_block();
  TensorSource source = source_for(graph, 3);
  const QuantizeResult result = quantize(graph, {}, source);
  CompareOptions tight;
  tight.budget_bytes = 1 << 14;
  const Comparison once = compare(result.prepared, result.graph, source);
  const Comparison often = compare(result.prepared, result.graph, source, tight);
  ASSERT_EQ(once.tensors.size(), often.tensors.size());
  for (size_t i = 0; i < once.tensors.size(); ++i) {
    EXPECT_NEAR(once.tensors[i].own.sqnr_db, often.tensors[i].own.sqnr_db, 0.5)
        << once.tensors[i].value;
    EXPECT_NEAR(once.tensors[i].accumulated.sqnr_db, often.tensors[i].accumulated.sqnr_db, 0.5);
  }
}

TEST(Compare, histograms_show_data_and_chosen_range) {
  const Graph graph = testing::residual_network();
  TensorSource source = source_for(graph, 4);
  Options options;
  options.layer.activation_bits = 4;
  options.layer.range = RangeRule::kUnilateral;
  const QuantizeResult result = quantize(graph, options, source);
  CompareOptions wanted;
  wanted.histograms = 3;
  const Comparison comparison = compare(result.prepared, result.graph, source, wanted);
  ASSERT_EQ(comparison.histograms.size(), 3U);
  EXPECT_LE(comparison.histograms[0].own_sqnr_db, comparison.histograms[1].own_sqnr_db);
  for (const TensorHistogram& histogram : comparison.histograms) {
    uint64_t mass = 0;
    for (const uint64_t count : histogram.counts) mass += count;
    EXPECT_EQ(mass, 4U * static_cast<uint64_t>(tensor(comparison, histogram.value).elements));
    EXPECT_LT(histogram.chosen.low, histogram.chosen.high);
    EXPECT_LE(histogram.data.low, histogram.data.high);
    const auto grid =
        std::find_if(result.grids.begin(), result.grids.end(),
                     [&](const GridRecord& record) { return record.value == histogram.value; });
    ASSERT_NE(grid, result.grids.end()) << histogram.value;
    EXPECT_EQ(histogram.bits, grid->bits) << histogram.value;
    EXPECT_NEAR(histogram.chosen.high, grid->chosen.high, 1e-5F) << histogram.value;
  }
}

TEST(Compare, strangers_are_refused) {
  const Graph graph = testing::residual_network();
  TensorSource source = source_for(graph, 1);
  EXPECT_THROW(compare(graph, testing::detector_tail(), source), Error);
}

}  // namespace
}  // namespace ounce::quantize
