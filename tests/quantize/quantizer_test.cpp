#include "quantize/quantizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "tests/quantize/graphs.h"

namespace ounce::quantize {
namespace {

using testing::random_inputs;

TensorSource source_for(const Graph& graph, int runs) {
  std::vector<std::vector<Tensor>> inputs;
  for (int i = 0; i < runs; ++i)
    inputs.push_back(random_inputs(graph, 100 + static_cast<unsigned>(i)));
  return TensorSource(std::move(inputs));
}

Options options_for(int weights, int activations, RangeRule rule = RangeRule::kMse) {
  Options options;
  options.layer.weights.bits = weights;
  options.layer.activation_bits = activations;
  options.layer.range = rule;
  return options;
}

double sqnr_db(const Tensor& exact, const Tensor& other) {
  double signal = 0.0;
  double noise = 0.0;
  for (size_t i = 0; i < exact.data<float>().size(); ++i) {
    const double a = exact.data<float>()[i];
    const double difference = a - other.data<float>()[i];
    signal += a * a;
    noise += difference * difference;
  }
  return 10.0 * std::log10(signal / std::max(noise, 1e-30));
}

/// Mean over fresh inputs of the agreement of two graphs' first outputs.
double agreement_db(const Graph& exact, const Graph& other) {
  double sum = 0.0;
  constexpr int kRuns = 4;
  for (unsigned i = 0; i < kRuns; ++i) {
    const std::vector<Tensor> inputs = random_inputs(exact, 900 + i);
    sum +=
        sqnr_db(engine::reference::run(exact, inputs)[0], engine::reference::run(other, inputs)[0]);
  }
  return sum / kRuns;
}

class Networks : public ::testing::TestWithParam<Graph (*)()> {};

TEST_P(Networks, eight_bits_stay_close_to_float) {
  const Graph graph = GetParam()();
  TensorSource source = source_for(graph, 8);
  for (const RangeRule rule :
       {RangeRule::kMinMax, RangeRule::kMse, RangeRule::kUnilateral, RangeRule::kPercentile}) {
    const QuantizeResult result = quantize(graph, options_for(8, 8, rule), source);
    EXPECT_GT(agreement_db(graph, result.graph), 20.0) << name_of(rule);
  }
}

TEST_P(Networks, fewer_bits_lose_more) {
  const Graph graph = GetParam()();
  TensorSource source = source_for(graph, 8);
  const auto agreement = [&](int bits) {
    return agreement_db(graph, quantize(graph, options_for(bits, bits), source).graph);
  };
  const double eight = agreement(8);
  const double six = agreement(6);
  const double four = agreement(4);
  EXPECT_GT(eight, six);
  EXPECT_GT(six, four);
  EXPECT_GT(four, 0.0);
}

TEST_P(Networks, the_engine_computes_what_the_q_dq_graph_says) {
  const Graph graph = GetParam()();
  TensorSource source = source_for(graph, 4);
  for (const int bits : {8, 4}) {
    const QuantizeResult result = quantize(graph, options_for(bits, bits), source);
    engine::Session session(result.graph);
    const std::vector<Tensor> inputs = random_inputs(graph, 7);
    const std::vector<Tensor> said = engine::reference::run(result.graph, inputs);
    const std::vector<Tensor> done = session.run(inputs);
    // Codes may differ by one where a float sum lies on a rounding boundary.
    for (size_t i = 0; i < said.size(); ++i) EXPECT_GT(sqnr_db(said[i], done[i]), 30.0) << bits;
  }
}

TEST_P(Networks, data_in_another_order_gives_the_same_graph) {
  const Graph graph = GetParam()();
  std::vector<std::vector<Tensor>> runs;
  for (unsigned i = 0; i < 5; ++i) runs.push_back(random_inputs(graph, 40 + i));
  Options options = options_for(8, 8);
  options.bias_correction = true;
  TensorSource forwards(runs);
  std::reverse(runs.begin(), runs.end());
  TensorSource backwards(runs);
  const Graph a = quantize(graph, options, forwards).graph;
  const Graph b = quantize(graph, options, backwards).graph;
  ASSERT_EQ(a.values.size(), b.values.size());
  for (size_t i = 0; i < a.values.size(); ++i) {
    if (!a.values[i].is_constant()) continue;
    EXPECT_TRUE(a.values[i].constant.identical_to(b.values[i].constant)) << a.values[i].name;
  }
}

TEST_P(Networks, weight_only_leaves_activations_alone) {
  const Graph graph = GetParam()();
  TensorSource source = source_for(graph, 2);
  Options options = options_for(8, 8);
  options.layer.float_activations = true;
  const QuantizeResult result = quantize(graph, options, source);
  for (const Node& node : result.graph.nodes) EXPECT_NE(node.op, "QuantizeLinear");
  EXPECT_GT(agreement_db(graph, result.graph), 30.0);
  EXPECT_LT(result.bytes, result.float_bytes / 2);
}

INSTANTIATE_TEST_SUITE_P(all, Networks,
                         ::testing::Values(testing::residual_network, testing::relu_network,
                                           testing::vit_block, testing::detector_tail));

/// Reference for a planned network: the float graph with fake quantizers in place of Q/DQ, computed
/// node by node here.
std::vector<Tensor> run_fake_quantized(const QuantizeResult& result,
                                       const std::vector<Tensor>& inputs) {
  const Graph& graph = result.graph;
  std::vector<Tensor> values(graph.values.size());
  for (size_t i = 0; i < values.size(); ++i) values[i] = graph.values[i].constant;
  for (size_t i = 0; i < inputs.size(); ++i)
    values[static_cast<size_t>(graph.inputs[i])] = inputs[i];
  for (const Node& node : graph.nodes) {
    std::vector<Tensor> operands;
    for (const ValueId id : node.inputs) {
      operands.push_back(id == kNoValue ? Tensor() : values[static_cast<size_t>(id)]);
    }
    const auto output = static_cast<size_t>(node.output(0));
    if (node.op == "QuantizeLinear") {
      QuantParams params;
      params.scale = operands[1].data<float>()[0];
      params.zero_point = operands[2].data<uint8_t>()[0];
      Tensor fake = operands[0];
      fake_quantize(fake.mutable_data<float>(), params);
      values[output] = fake;
    } else if (node.op == "DequantizeLinear" && operands[0].dtype() == DType::f32) {
      values[output] = operands[0];
    } else {
      const std::vector<Tensor> results = engine::reference::evaluate(node, operands);
      for (size_t i = 0; i < results.size(); ++i) {
        if (node.output(i) != kNoValue) values[static_cast<size_t>(node.output(i))] = results[i];
      }
    }
  }
  std::vector<Tensor> outputs;
  for (const ValueId id : graph.outputs) outputs.push_back(values[static_cast<size_t>(id)]);
  return outputs;
}

TEST(Quantizer, q_dq_numbers_are_those_of_fake_quantization) {
  const Graph graph = testing::residual_network();
  TensorSource source = source_for(graph, 4);
  for (const int bits : {8, 6, 4, 3, 2}) {
    const QuantizeResult result = quantize(graph, options_for(bits, bits), source);
    const std::vector<Tensor> inputs = random_inputs(graph, 5);
    const Tensor said = engine::reference::run(result.graph, inputs)[0];
    const Tensor simulated = run_fake_quantized(result, inputs)[0];
    for (size_t i = 0; i < said.data<float>().size(); ++i) {
      EXPECT_NEAR(said.data<float>()[i], simulated.data<float>()[i], 1e-5F) << bits;
    }
  }
}

TEST(Quantizer, codes_of_narrow_grids_end_at_their_last_level) {
  const Graph graph = testing::relu_network();
  TensorSource source = source_for(graph, 4);
  const QuantizeResult result = quantize(graph, options_for(3, 3), source);
  Graph tapped = result.graph;
  std::vector<ValueId> narrow;
  for (const GridRecord& grid : result.grids) {
    if (grid.bits != 3) continue;
    for (const std::string& value : grid.values) {
      const ValueId codes = tapped.find_value(value + "_quantized");
      if (codes != kNoValue) narrow.push_back(codes);
    }
  }
  ASSERT_FALSE(narrow.empty());
  tapped.outputs = narrow;
  std::vector<Tensor> inputs = random_inputs(graph, 1);
  for (float& value : inputs[0].mutable_data<float>()) value *= 10.0F;  // beyond calibration
  for (const Tensor& codes : engine::reference::run(tapped, inputs)) {
    for (const int64_t code : codes.to_i64()) EXPECT_LE(code, 7);
  }
}

TEST(Quantizer, the_unilateral_histogram_beats_min_max_and_symmetric_at_four_bits) {
  const Graph graph = testing::residual_network();
  TensorSource source = source_for(graph, 16);
  const auto agreement = [&](RangeRule rule) {
    return agreement_db(graph, quantize(graph, options_for(8, 4, rule), source).graph);
  };
  const double unilateral = agreement(RangeRule::kUnilateral);
  EXPECT_GT(unilateral, agreement(RangeRule::kMinMax));
  EXPECT_GT(unilateral, agreement(RangeRule::kSymmetricMse));
}

TEST(Quantizer, bias_correction_brings_the_mean_back) {
  // Inputs with means far from zero, as behind a Relu.
  testing::Builder builder(3);
  const ValueId x = builder.op("Relu", {builder.input("x", {1, 8, 12, 12})}, "relu");
  const Graph graph = builder.finish({builder.conv(x, 8, 6, 1, "conv")});
  TensorSource source = source_for(graph, 16);
  Options options = options_for(3, 8);
  options.layer.float_activations = true;  // the weights' error alone
  const auto mean_error = [&](bool correct) {
    options.bias_correction = correct;
    const Graph quantized = quantize(graph, options, source).graph;
    std::vector<double> channel(6, 0.0);
    for (unsigned i = 0; i < 16; ++i) {
      const std::vector<Tensor> inputs = random_inputs(graph, 100 + i);
      const Tensor exact = engine::reference::run(graph, inputs)[0];
      const Tensor other = engine::reference::run(quantized, inputs)[0];
      for (size_t k = 0; k < exact.data<float>().size(); ++k) {
        channel[k / 144] += static_cast<double>(other.data<float>()[k]) - exact.data<float>()[k];
      }
    }
    double largest = 0.0;
    for (const double sum : channel) largest = std::max(largest, std::abs(sum) / (16 * 144));
    return largest;
  };
  // Means of the same data: what is left is the rounding of sums.
  EXPECT_GT(mean_error(false), 1e-2);
  EXPECT_LT(mean_error(true), 1e-4);
}

TEST(Quantizer, nan_in_the_data_is_named_by_tensor) {
  const Graph graph = testing::relu_network();
  std::vector<std::vector<Tensor>> runs = {random_inputs(graph, 1)};
  runs[0][0].mutable_data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  TensorSource source(runs);
  try {
    quantize(graph, {}, source);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.where().find("image"), std::string::npos) << error.what();
  }
}

TEST(Quantizer, empty_data_and_interruption_are_errors) {
  const Graph graph = testing::relu_network();
  TensorSource empty({});
  EXPECT_THROW(quantize(graph, {}, empty), Error);
  TensorSource source = source_for(graph, 2);
  Progress progress;
  int steps = 0;
  progress.interrupted = [&] { return ++steps > 2; };
  EXPECT_THROW(quantize(graph, {}, source, progress), Interrupted);
}

TEST(Quantizer, progress_tells_the_memory_before_reading_data) {
  const Graph graph = testing::relu_network();
  TensorSource source = source_for(graph, 2);
  std::vector<std::string> events;
  Progress progress;
  progress.note = [&](std::string_view line) { events.emplace_back(line); };
  progress.report = [&](std::string_view stage, int64_t, int64_t) { events.emplace_back(stage); };
  quantize(graph, {}, source, progress);
  ASSERT_FALSE(events.empty());
  EXPECT_NE(events.front().find("calibration needs at most"), std::string::npos);
}

TEST(Quantizer, a_layer_slower_on_integers_stays_in_float_and_is_named) {
  const Graph graph = testing::relu_network();
  TensorSource source = source_for(graph, 2);
  Options options;
  options.drop_slow_layers = true;
  const QuantizeResult result = quantize(graph, options, source);
  ASSERT_TRUE(result.latency.has_value());
  EXPECT_GT(result.latency->float_ms, 0.0);
  for (const KeptFloat& kept : result.kept_float) EXPECT_FALSE(kept.reason.empty()) << kept.node;
}

TEST(Quantizer, a_layer_that_loses_half_of_its_bits_stays_in_float_and_is_named) {
  // Channel 0 is a thousand times louder than the others, and the second layer does not listen to
  // it: on a grid for all channels the others get no codes.
  testing::Builder builder(21);
  const ValueId x = builder.input("x", {1, 4, 8, 8});
  const ValueId loud = builder.conv(x, 4, 4, 1, "loud");
  Graph graph = builder.finish({builder.conv(loud, 4, 6, 1, "deaf")});
  auto first = graph.value(graph.find_value("loud.weight")).constant.mutable_data<float>();
  for (size_t i = 0; i < 4; ++i) first[i] *= 1000.0F;
  auto second = graph.value(graph.find_value("deaf.weight")).constant.mutable_data<float>();
  for (size_t o = 0; o < 6; ++o) second[o * 4] = 0.0F;
  TensorSource source = source_for(graph, 4);
  Options options;
  EXPECT_TRUE(quantize(graph, options, source).kept_float.empty());
  options.least_db_per_bit = 3.0;
  const QuantizeResult result = quantize(graph, options, source);
  ASSERT_EQ(result.kept_float.size(), 1U);
  EXPECT_EQ(result.kept_float[0].node, "deaf");
  EXPECT_NE(result.kept_float[0].reason.find("too noisy"), std::string::npos);
  EXPECT_GT(agreement_db(graph, result.graph), 30.0);
}

TEST(Quantizer, indices_of_tables_keep_what_the_table_keeps) {
  // SiLU of numbers far below zero is zero: the range need not reach down to them.
  testing::Builder builder(22);
  const ValueId x = builder.input("x", {1, 2, 16, 16});
  const ValueId before = builder.conv(x, 2, 4, 1, "before");
  Graph graph = builder.finish({builder.conv(builder.silu(before, "act"), 4, 4, 1, "after")});
  auto bias = graph.value(graph.find_value("before.bias")).constant.mutable_data<float>();
  bias[0] = -300.0F;
  TensorSource source = source_for(graph, 4);
  const QuantizeResult result = quantize(graph, {}, source);
  const auto grid = std::find_if(result.grids.begin(), result.grids.end(),
                                 [](const GridRecord& record) { return record.value == "before"; });
  ASSERT_NE(grid, result.grids.end());
  EXPECT_EQ(grid->rule, "table");
  EXPECT_LT(grid->data.low, -250.0F);
  EXPECT_GT(grid->chosen.low, -30.0F);
  EXPECT_GT(agreement_db(graph, result.graph), 25.0);
}

TEST(Quantizer, records_say_what_was_chosen) {
  const Graph graph = testing::residual_network();
  TensorSource source = source_for(graph, 4);
  const QuantizeResult result = quantize(graph, options_for(4, 8, RangeRule::kUnilateral), source);
  ASSERT_FALSE(result.layers.empty());
  EXPECT_EQ(result.layers[0].weight_bits, 4);
  EXPECT_GT(result.layers[0].weight_sqnr_db, 10.0);
  const auto stem = std::find_if(result.grids.begin(), result.grids.end(),
                                 [](const GridRecord& grid) { return grid.value == "stem.act"; });
  ASSERT_NE(stem, result.grids.end());
  EXPECT_EQ(stem->rule, "uh");
  EXPECT_GT(stem->sqnr_db, 30.0);
  EXPECT_LT(result.bytes, result.float_bytes);
}

}  // namespace
}  // namespace ounce::quantize
