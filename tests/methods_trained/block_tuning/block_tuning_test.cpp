#include "methods/trained/block_tuning/block_tuning.h"

#include <gtest/gtest.h>

#include "engine/session.h"
#include "graph/passes/passes.h"
#include "tests/quantize/graphs.h"

namespace ounce::methods {
namespace {

using quantize::Rounding;

/// Inputs whose features go together, as those of pictures do.
std::vector<std::vector<Tensor>> runs_of(const Graph& graph, int count, unsigned seed) {
  std::vector<std::vector<Tensor>> runs;
  for (int i = 0; i < count; ++i) {
    auto inputs = quantize::testing::random_inputs(graph, seed + static_cast<unsigned>(i));
    const auto x = inputs[0].mutable_data<float>();
    for (size_t j = 1; j < x.size(); ++j) x[j] = 0.8F * x[j - 1] + 0.6F * x[j];
    runs.push_back(std::move(inputs));
  }
  return runs;
}

quantize::Options options_of(Rounding rounding, int weights, int activations) {
  quantize::Options options;
  options.layer.weights.bits = weights;
  options.layer.activation_bits = activations;
  options.rounding = rounding;
  options.tuning_steps = 400;
  return options;
}

/// Squared error of the quantized network on data that nothing was tuned on.
double error_of(const Graph& graph, const quantize::Options& options) {
  quantize::TensorSource source(runs_of(graph, 16, 1));
  quantize::Refinement refine;
  if (quantize::is_learned(options.rounding)) refine = block_tuning(tuning_options(options, 3));
  const auto result = quantize::quantize(graph, options, source, {}, refine);
  engine::Session exact(graph);
  engine::Session quantized(result.graph);
  double sum = 0.0;
  for (const auto& inputs : runs_of(graph, 16, 100)) {
    const auto a = exact.run(inputs)[0].to_f32();
    const auto b = quantized.run(inputs)[0].to_f32();
    for (size_t i = 0; i < a.size(); ++i) {
      sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    }
  }
  return sum;
}

TEST(BlockTuning, brings_results_closer_than_rounding_to_nearest) {
  for (const Graph& graph : {quantize::testing::relu_network(), quantize::testing::vit_block()}) {
    const double nearest = error_of(graph, options_of(Rounding::kNearest, 3, 8));
    for (const Rounding rounding : {Rounding::kAdaRound, Rounding::kBrecq, Rounding::kQdrop}) {
      EXPECT_LT(error_of(graph, options_of(rounding, 3, 8)), 0.9 * nearest)
          << quantize::name_of(rounding);
    }
  }
}

TEST(BlockTuning, is_the_same_for_the_same_seed_and_leaves_the_scales) {
  const Graph graph = quantize::testing::relu_network();
  const auto tuned = [&](const quantize::Options& options) {
    quantize::TensorSource source(runs_of(graph, 8, 1));
    quantize::Refinement refine;
    if (quantize::is_learned(options.rounding)) refine = block_tuning(tuning_options(options, 3));
    return quantize::quantize(graph, options, source, {}, refine).graph;
  };
  const Graph first = tuned(options_of(Rounding::kQdrop, 4, 4));
  const Graph second = tuned(options_of(Rounding::kQdrop, 4, 4));
  const Graph nearest = tuned(options_of(Rounding::kNearest, 4, 4));
  int changed = 0;
  for (const Value& value : nearest.values) {
    if (!value.is_constant()) continue;
    const ValueId a = first.find_value(value.name);
    const ValueId b = second.find_value(value.name);
    ASSERT_NE(a, kNoValue) << value.name;
    EXPECT_EQ(first.value(a).constant.to_f32(), second.value(b).constant.to_f32()) << value.name;
    const bool equal = first.value(a).constant.to_f32() == value.constant.to_f32();
    EXPECT_TRUE(equal || !value.name.ends_with("_scale")) << value.name;
    changed += equal ? 0 : 1;
  }
  EXPECT_GT(changed, 3);
}

TEST(BlockTuning, networks_that_are_no_chain_are_left_at_nearest) {
  quantize::testing::Builder b(1);
  const ValueId sum = b.op("Add", {b.input("x", {2, 8}), b.input("y", {2, 8})}, "sum");
  const Graph graph = b.finish({b.linear(sum, 8, 4, "layer")});
  quantize::TensorSource source({quantize::testing::random_inputs(graph, 1)});
  const quantize::Options options = options_of(Rounding::kQdrop, 4, 8);
  std::string told;
  quantize::Progress progress;
  progress.note = [&](std::string_view line) { told += line; };
  quantize::quantize(graph, options, source, progress, block_tuning(tuning_options(options, 3)));
  EXPECT_NE(told.find("no chain of blocks"), std::string::npos) << told;
}

}  // namespace
}  // namespace ounce::methods
