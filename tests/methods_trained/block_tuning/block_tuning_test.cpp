#include "methods/trained/block_tuning/block_tuning.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "engine/session.h"
#include "graph/passes/passes.h"
#include "tests/quantize/graphs.h"
#include "tests/support/test_data.h"

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
  options.tuning_steps = 100;  // more of them learn so few inputs by heart
  return options;
}

constexpr unsigned kTunedOn = 1;
constexpr unsigned kOthers = 100;

/// Squared error of the quantized network on data of this seed: those that it was tuned on, or
/// others.
double error_of(const Graph& graph, const quantize::Options& options, unsigned seed = kOthers) {
  quantize::TensorSource source(runs_of(graph, 16, kTunedOn));
  quantize::Refinement refine;
  if (quantize::is_learned(options.rounding)) refine = block_tuning(tuning_options(options, 3));
  const auto result = quantize::quantize(graph, options, source, {}, refine);
  engine::Session exact(graph);
  engine::Session quantized(result.graph);
  double sum = 0.0;
  for (const auto& inputs : runs_of(graph, 16, seed)) {
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
    // 100 small steps of the weights themselves: less reach, on what they were made for.
    const double rounded = error_of(graph, options_of(Rounding::kNearest, 4, 8), kTunedOn);
    EXPECT_LT(error_of(graph, options_of(Rounding::kStraightThrough, 4, 8), kTunedOn),
              0.9 * rounded);
  }
}

// Where an addition reads a tensor, too, layers read it at their own bits behind a node that is
// gone when the network is quantized.
TEST(BlockTuning, layers_behind_additions_are_tuned_at_few_bits_of_activations) {
  const Graph graph = quantize::testing::residual_network();
  const double nearest = error_of(graph, options_of(Rounding::kNearest, 3, 4));
  EXPECT_LT(error_of(graph, options_of(Rounding::kAdaRound, 3, 4)), 0.9 * nearest);
}

TEST(BlockTuning, is_the_same_for_the_same_seed_and_leaves_the_scales) {
  const Graph graph = quantize::testing::relu_network();
  const auto tuned = [&](const quantize::Options& options) {
    quantize::TensorSource source(runs_of(graph, 8, 1));
    quantize::Refinement refine;
    if (quantize::is_learned(options.rounding)) refine = block_tuning(tuning_options(options, 3));
    return quantize::quantize(graph, options, source, {}, refine).graph;
  };
  const Graph first = tuned(options_of(Rounding::kBrecq, 4, 4));
  const Graph second = tuned(options_of(Rounding::kBrecq, 4, 4));
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

std::map<std::string, std::vector<float>> constants_of(const Graph& graph) {
  std::map<std::string, std::vector<float>> constants;
  for (const Value& value : graph.values) {
    if (value.is_constant()) constants[value.name] = value.constant.to_f32();
  }
  return constants;
}

/// The codes of weights among them.
std::map<std::string, std::vector<float>> codes_of(const Graph& graph) {
  auto constants = constants_of(graph);
  std::erase_if(constants, [&](const auto& one) {
    const DType dtype = graph.value(graph.find_value(one.first)).constant.dtype();
    return dtype != DType::i8 && dtype != DType::i4;
  });
  return constants;
}

/// Constants of the tuned network by name, and how often the run asked whether to stop.
std::map<std::string, std::vector<float>> tuned_constants(const Graph& graph,
                                                          const quantize::Options& options,
                                                          const BlockTuningOptions& tuning,
                                                          const quantize::Progress& progress = {}) {
  quantize::TensorSource source(runs_of(graph, 8, 1));
  const Graph tuned =
      quantize::quantize(graph, options, source, progress, block_tuning(tuning)).graph;
  return constants_of(tuned);
}

TEST(BlockTuning, qdrop_learns_scales_of_narrow_activations_alone) {
  const Graph graph = quantize::testing::vit_block();
  for (const int bits : {4, 8}) {
    quantize::Options options = options_of(Rounding::kNearest, 4, bits);
    const auto nearest = tuned_constants(graph, options, BlockTuningOptions());
    options.rounding = Rounding::kQdrop;
    int changed = 0;
    for (const auto& [name, values] : tuned_constants(graph, options, tuning_options(options, 3))) {
      if (values.size() == 1 && name.ends_with("_scale")) changed += values != nearest.at(name);
    }
    EXPECT_EQ(changed > 0, bits < 8) << bits;
  }
}

TEST(BlockTuning, begins_with_the_codes_that_gptq_chose) {
  const Graph graph = quantize::testing::vit_block();
  const auto codes = [&](Rounding rounding, quantize::TuningStart start) {
    quantize::Options options = options_of(rounding, 4, 8);
    options.tuning_start = start;
    quantize::TensorSource source(runs_of(graph, 16, kTunedOn));
    quantize::Refinement refine;
    if (quantize::is_learned(rounding)) {
      BlockTuningOptions tuning = tuning_options(options, 3);
      tuning.steps = 1;
      tuning.learning_rate = tuning.bias_rate = tuning.scale_rate = 1e-12;
      refine = block_tuning(tuning);
    }
    return codes_of(quantize::quantize(graph, options, source, {}, refine).graph);
  };
  const auto nearest = codes(Rounding::kNearest, quantize::TuningStart::kNearest);
  const auto gptq = codes(Rounding::kGptq, quantize::TuningStart::kNearest);
  EXPECT_NE(nearest, gptq);
  for (const Rounding rounding : {Rounding::kStraightThrough, Rounding::kAdaRound}) {
    EXPECT_EQ(codes(rounding, quantize::TuningStart::kNearest), nearest);
    EXPECT_EQ(codes(rounding, quantize::TuningStart::kGptq), gptq);
  }
}

TEST(BlockTuning, straight_through_brings_results_closer_than_gptq) {
  const Graph graph = quantize::testing::vit_block();
  const double gptq = error_of(graph, options_of(Rounding::kGptq, 4, 4), kTunedOn);
  quantize::Options options = options_of(Rounding::kStraightThrough, 4, 4);
  options.tuning_start = quantize::TuningStart::kGptq;
  options.tuning_steps = 0;
  for (const auto loss : {quantize::ErrorWeighing::kPlain, quantize::ErrorWeighing::kFisher}) {
    options.tuning_loss = loss;
    EXPECT_LT(error_of(graph, options, kTunedOn), 0.9 * gptq) << static_cast<int>(loss);
  }
}

TEST(BlockTuning, a_stopped_run_goes_on_to_the_result_of_one_that_was_not) {
  const Graph graph = quantize::testing::relu_network();
  quantize::Options options = options_of(Rounding::kQdrop, 4, 4);
  options.tuning_steps = 20;
  const ounce::testing::TemporaryFolder folder;
  BlockTuningOptions tuning = tuning_options(options, 3);
  const auto unbroken = tuned_constants(graph, options, tuning);
  tuning.saved = folder.path() / "tuned";
  tuning.identity = "one";
  quantize::Progress stopping;
  int steps = 0;
  stopping.report = [&](std::string_view stage, int64_t done, int64_t /*total*/) {
    steps = stage == "tuning blocks" ? static_cast<int>(done) : 0;
  };
  stopping.interrupted = [&] { return steps == 2; };
  EXPECT_THROW(tuned_constants(graph, options, tuning, stopping), quantize::Interrupted);
  ASSERT_TRUE(std::filesystem::exists(tuning.saved));
  std::string told;
  quantize::Progress going_on;
  going_on.note = [&](std::string_view line) { told += line; };
  EXPECT_EQ(tuned_constants(graph, options, tuning, going_on), unbroken);
  EXPECT_NE(told.find("going on behind block"), std::string::npos) << told;
  // Blocks of another run are not taken.
  tuning.identity = "two";
  told.clear();
  tuned_constants(graph, options, tuning, going_on);
  EXPECT_EQ(told.find("going on"), std::string::npos) << told;
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
