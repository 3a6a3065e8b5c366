#include "methods/trained/range_weights.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/quantize/graphs.h"

namespace ounce::methods {
namespace {

constexpr int64_t kWidth = 8;

/// Two linear layers. One channel between them is much larger than the others; the second layer
/// reads it `share` as much.
Graph loud_channel(float share) {
  quantize::testing::Builder b(7);
  const ValueId x = b.input("x", {1, 16, kWidth});
  const ValueId between = b.linear(x, kWidth, kWidth, "first");
  Graph graph = b.finish({b.linear(between, kWidth, 4, "second")});
  constexpr float kLoud = 50.0F;
  auto weights = graph.value(graph.find_value("first.weight")).constant.mutable_data<float>();
  for (size_t k = 0; k < kWidth; ++k) weights[k * kWidth] *= kLoud;
  auto next = graph.value(graph.find_value("second.weight")).constant.mutable_data<float>();
  for (size_t o = 0; o < 4; ++o) next[o] *= share;
  return graph;
}

quantize::TensorSource source_for(const Graph& graph) {
  std::vector<std::vector<Tensor>> runs;
  for (unsigned i = 0; i < 4; ++i) runs.push_back(quantize::testing::random_inputs(graph, i));
  return quantize::TensorSource(std::move(runs));
}

/// What was chosen for what the second layer reads.
quantize::GridRecord grid_between(const Graph& graph, bool weighed, int bits = 6, uint64_t seed = 1,
                                  quantize::RangeRule rule = quantize::RangeRule::kMse) {
  quantize::TensorSource source = source_for(graph);
  quantize::Refinement refine;
  if (weighed) refine.weigh = range_weights(seed, 1);
  quantize::Options options;
  options.layer.activation_bits = bits;
  options.layer.range = rule;
  const auto result = quantize::quantize(graph, options, source, {}, refine);
  const auto grid = std::find_if(result.grids.begin(), result.grids.end(), [](const auto& record) {
    return record.value.find("first") == 0;
  });
  EXPECT_NE(grid, result.grids.end());
  return *grid;
}

TEST(RangeWeights, clip_what_the_outputs_do_not_depend_on) {
  const Graph graph = loud_channel(0.0F);
  const quantize::GridRecord plain = grid_between(graph, false);
  const quantize::GridRecord weighed = grid_between(graph, true);
  EXPECT_EQ(plain.data, weighed.data) << "what was seen is recorded as it is";
  EXPECT_GT(plain.chosen.high, 0.5F * plain.data.high);
  EXPECT_LT(weighed.chosen.high, 0.15F * plain.data.high);
  EXPECT_GT(weighed.chosen.high, 1.0F);
}

TEST(RangeWeights, keep_what_they_do_depend_on) {
  const Graph graph = loud_channel(1.0F);
  EXPECT_GT(grid_between(graph, true).chosen.high, 0.5F * grid_between(graph, false).data.high);
}

TEST(RangeWeights, leave_grids_of_eight_bits_alone) {
  const Graph graph = loud_channel(0.0F);
  EXPECT_EQ(grid_between(graph, true, 8).scale, grid_between(graph, false, 8).scale);
}

TEST(RangeWeights, leave_rules_alone_that_look_for_no_error) {
  const Graph graph = loud_channel(0.0F);
  for (const auto rule : {quantize::RangeRule::kMinMax, quantize::RangeRule::kPercentile}) {
    EXPECT_EQ(grid_between(graph, true, 6, 1, rule).scale,
              grid_between(graph, false, 6, 1, rule).scale);
  }
}

TEST(RangeWeights, repeat_with_the_seed) {
  const Graph graph = loud_channel(0.3F);
  EXPECT_EQ(grid_between(graph, true, 6, 3).scale, grid_between(graph, true, 6, 3).scale);
}

TEST(RangeWeights, are_done_without_where_no_output_has_a_slope) {
  quantize::testing::Builder b(9);
  const ValueId x = b.input("x", {1, 16, kWidth});
  const ValueId scores = b.linear(x, kWidth, 4, "first");
  const Graph graph = b.finish({b.op("ArgMax", {scores}, "best")});
  quantize::TensorSource source = source_for(graph);
  quantize::Options options;
  options.layer.activation_bits = 6;
  quantize::Refinement refine;
  refine.weigh = range_weights(1, 1);
  std::string told;
  quantize::Progress progress;
  progress.note = [&](std::string_view line) { told += line; };
  EXPECT_NO_THROW(quantize::quantize(graph, options, source, progress, refine));
  EXPECT_NE(told.find("errors of ranges count alike"), std::string::npos) << told;
}

TEST(RangeWeights, stop_when_asked_to) {
  const Graph graph = loud_channel(1.0F);
  quantize::TensorSource source = source_for(graph);
  quantize::Options options;
  options.layer.activation_bits = 6;
  quantize::Refinement refine;
  refine.weigh = range_weights(1, 1);
  bool weighing = false;
  quantize::Progress progress;
  progress.report = [&](std::string_view stage, int64_t, int64_t) {
    weighing = weighing || stage == "range weights";
  };
  progress.interrupted = [&] { return weighing; };
  EXPECT_THROW(quantize::quantize(graph, options, source, progress, refine), quantize::Interrupted);
}

TEST(RangeWeights, leave_ranges_alone_that_nothing_depends_on) {
  Graph graph = loud_channel(1.0F);
  auto next = graph.value(graph.find_value("second.weight")).constant.mutable_data<float>();
  std::fill(next.begin(), next.end(), 0.0F);
  EXPECT_EQ(grid_between(graph, true).scale, grid_between(graph, false).scale);
}

}  // namespace
}  // namespace ounce::methods
