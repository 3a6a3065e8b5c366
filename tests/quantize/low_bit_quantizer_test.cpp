// Quantized graphs of few bits against a fake quantization that is written out here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "quantize/quantizer.h"
#include "tests/quantize/graphs.h"

namespace ounce::quantize {
namespace {

using testing::random_inputs;

TensorSource source_for(const Graph& graph, unsigned runs) {
  std::vector<std::vector<Tensor>> inputs;
  for (unsigned i = 0; i < runs; ++i) inputs.push_back(random_inputs(graph, 300 + i));
  return TensorSource(std::move(inputs));
}

Options options_for(std::string_view weights, int activations) {
  Options options;
  EXPECT_TRUE(set_weight_bits(options.layer.weights, weights));
  options.layer.activation_bits = activations == 0 ? 8 : activations;
  options.layer.float_activations = activations == 0;
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

using Values = std::map<std::string, Tensor>;

/// A float graph computed node by node, the operands of its layers being changed on the way.
Values run_by_hand(const Graph& graph, const std::vector<Tensor>& inputs,
                   const std::function<void(const Node&, std::vector<Tensor>&)>& change) {
  std::vector<Tensor> values(graph.values.size());
  for (size_t i = 0; i < values.size(); ++i) values[i] = graph.values[i].constant;
  for (size_t i = 0; i < inputs.size(); ++i)
    values[static_cast<size_t>(graph.inputs[i])] = inputs[i];
  Values named;
  for (size_t i = 0; i < inputs.size(); ++i) named[graph.value(graph.inputs[i]).name] = inputs[i];
  for (const Node& node : graph.nodes) {
    std::vector<Tensor> operands;
    for (const ValueId id : node.inputs) {
      operands.push_back(id == kNoValue ? Tensor() : values[static_cast<size_t>(id)]);
    }
    if (node.op == "Conv" || node.op == "MatMul" || node.op == "Gemm") change(node, operands);
    const std::vector<Tensor> results = engine::reference::evaluate(node, operands);
    for (size_t i = 0; i < results.size(); ++i) {
      if (node.output(i) == kNoValue) continue;
      values[static_cast<size_t>(node.output(i))] = results[i];
      named[graph.value(node.output(i)).name] = results[i];
    }
  }
  return named;
}

/// alpha sign(w) for each output channel: along axis 0 of convolutions and of Gemm with transB,
/// else the last axis.
void take_signs_of_weights(const Node& node, Tensor& weights) {
  const bool first = node.op == "Conv" || node.attributes.get_int("transB", 0) != 0;
  const int64_t channels = first ? weights.shape().front() : weights.shape().back();
  const auto channel_of = [&](int64_t i) {
    return static_cast<size_t>(first ? i / (weights.size() / channels) : i % channels);
  };
  std::vector<double> sums(static_cast<size_t>(channels), 0.0);
  const auto w = weights.mutable_data<float>();
  for (int64_t i = 0; i < weights.size(); ++i) {
    sums[channel_of(i)] += std::abs(w[static_cast<size_t>(i)]);
  }
  for (int64_t i = 0; i < weights.size(); ++i) {
    const auto alpha = static_cast<float>(sums[channel_of(i)] * static_cast<double>(channels) /
                                          static_cast<double>(weights.size()));
    float& value = w[static_cast<size_t>(i)];
    value = value < 0.0F ? -alpha : alpha;
  }
}

double mean_magnitude(const std::vector<Values>& runs, const std::string& name) {
  double sum = 0.0;
  int64_t count = 0;
  for (const Values& run : runs) {
    for (const float value : run.at(name).data<float>()) sum += std::abs(value);
    count += run.at(name).size();
  }
  return sum / static_cast<double>(count);
}

class OneBit : public ::testing::TestWithParam<Graph (*)()> {};

TEST_P(OneBit, the_graph_says_what_signs_times_scales_say) {
  const Graph graph = GetParam()();
  TensorSource source = source_for(graph, 4);
  const QuantizeResult result = quantize(graph, options_for("1", 1), source);
  std::vector<Values> runs;
  source.restart();
  while (const auto inputs = source.next()) {
    runs.push_back(run_by_hand(result.prepared, *inputs, [](const Node&, std::vector<Tensor>&) {}));
  }
  std::map<std::string, GridRecord> records;
  for (const GridRecord& record : result.grids) records[record.value] = record;
  const auto take_signs = [&](const Node& node, std::vector<Tensor>& operands) {
    const bool planned =
        std::any_of(result.layers.begin(), result.layers.end(),
                    [&](const LayerRecord& layer) { return layer.node == node.name; });
    if (!planned) return;  // such as the expectation that decodes boxes
    for (size_t i = 0; i < 2; ++i) {
      if (result.prepared.constant(node.input(i)) != nullptr) {
        take_signs_of_weights(node, operands[i]);
        continue;
      }
      const GridRecord& record = records.at(result.prepared.value(node.input(i)).name);
      EXPECT_EQ(record.bits, 1);
      const float r = record.scale;
      if (record.rule == "signs") {
        // Scales have 7 significant bits.
        EXPECT_NEAR(r, mean_magnitude(runs, record.value), r / 128) << record.value;
      }
      for (float& x : operands[i].mutable_data<float>()) {
        x = record.rule == "signs" ? (x < 0.0F ? -r : r) : (x > r / 2 ? r : 0.0F);
      }
    }
  };
  const std::vector<Tensor> inputs = random_inputs(graph, 5);
  const Values said = run_by_hand(result.prepared, inputs, take_signs);
  const std::vector<Tensor> done = engine::reference::run(result.graph, inputs);
  for (size_t i = 0; i < done.size(); ++i) {
    const Tensor& expected = said.at(graph.value(graph.outputs[i]).name);
    // The scales agree but for the rounding of sums of f32.
    EXPECT_GT(sqnr_db(expected, done[i]), 90.0) << graph.value(graph.outputs[i]).name;
  }
}

TEST_P(OneBit, zero_and_one_have_the_scale_of_least_squares) {
  const Graph graph = GetParam()();
  TensorSource source = source_for(graph, 4);
  const QuantizeResult result = quantize(graph, options_for("1", 1), source);
  std::vector<Values> runs;
  source.restart();
  while (const auto inputs = source.next()) {
    runs.push_back(run_by_hand(result.prepared, *inputs, [](const Node&, std::vector<Tensor>&) {}));
  }
  const auto error = [&](const std::string& name, double r) {
    double sum = 0.0;
    for (const Values& run : runs) {
      for (const float x : run.at(name).data<float>()) {
        sum += std::pow(static_cast<double>(x) - (x > r / 2 ? r : 0.0), 2.0);
      }
    }
    return sum;
  };
  for (const GridRecord& record : result.grids) {
    if (record.rule != "zero-one") continue;
    const double r = record.scale;
    const double chosen = error(record.value, r);
    // A bin is 1/2048 of the extent wide, scales have 7 bits, and the optimum is flat.
    for (const double factor : {0.5, 0.8, 0.9, 1.1, 1.25, 2.0}) {
      EXPECT_LT(chosen, 1.001 * error(record.value, factor * r)) << record.value << ' ' << factor;
    }
  }
}

TEST_P(OneBit, data_in_another_order_gives_the_same_graph) {
  const Graph graph = GetParam()();
  std::vector<std::vector<Tensor>> runs;
  for (unsigned i = 0; i < 5; ++i) runs.push_back(random_inputs(graph, 40 + i));
  Options options = options_for("ternary", 1);
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

TEST_P(OneBit, the_engine_computes_what_the_graph_says) {
  const Graph graph = GetParam()();
  TensorSource source = source_for(graph, 4);
  for (const auto& [weights, activations] : {std::pair{"1", 8},
                                             {"ternary", 8},
                                             {"2", 8},
                                             {"3", 8},
                                             {"3", 2},
                                             {"2", 0},
                                             {"1", 1},
                                             {"4", 1}}) {
    const QuantizeResult result = quantize(graph, options_for(weights, activations), source);
    engine::Session session(result.graph);
    const std::vector<Tensor> inputs = random_inputs(graph, 7);
    const std::vector<Tensor> said = engine::reference::run(result.graph, inputs);
    const std::vector<Tensor> done = session.run(inputs);
    for (size_t i = 0; i < said.size(); ++i) {
      EXPECT_GT(sqnr_db(said[i], done[i]), 30.0) << 'W' << weights << 'A' << activations;
    }
  }
}

TEST_P(OneBit, fewer_bits_take_less_room) {
  const Graph graph = GetParam()();
  TensorSource source = source_for(graph, 1);
  int64_t before = std::numeric_limits<int64_t>::max();
  for (const char* weights : {"8", "4", "3", "2", "1"}) {
    const int64_t bytes = quantize(graph, options_for(weights, 0), source).bytes;
    EXPECT_LT(bytes, before) << weights;
    before = bytes;
  }
  EXPECT_EQ(quantize(graph, options_for("ternary", 0), source).bytes,
            quantize(graph, options_for("2", 0), source).bytes);
}

INSTANTIATE_TEST_SUITE_P(all, OneBit,
                         ::testing::Values(testing::residual_network, testing::relu_network,
                                           testing::vit_block, testing::detector_tail));

TEST(LowBitQuantizer, votes_of_signs_are_counted_exactly) {
  // Two binarized values multiplied: sums of products of their scales are exact, so even votes are
  // 0 in any order.
  testing::Builder b(4);
  const ValueId scores = b.input("scores", {1, 8, 64});
  AttributeMap axis;
  axis.set("axis", int64_t{-1});
  const ValueId map = b.op("Softmax", {scores}, "map", axis);
  const Graph graph = b.finish({b.op("MatMul", {map, b.input("v", {1, 64, 16})}, "mixed")});
  TensorSource source = source_for(graph, 3);
  const QuantizeResult result = quantize(graph, options_for("1", 1), source);
  double step = 1.0;
  for (const GridRecord& record : result.grids) step *= record.scale;
  ASSERT_EQ(result.grids.size(), 2U);
  const Tensor mixed = engine::reference::run(result.graph, random_inputs(graph, 9))[0];
  int zeros = 0;
  for (const float value : mixed.data<float>()) {
    EXPECT_EQ(value, static_cast<float>(std::nearbyint(value / step) * step));
    zeros += value == 0.0F ? 1 : 0;
  }
  EXPECT_GT(zeros, 0);
}

TEST(LowBitQuantizer, the_engine_computes_what_logarithmic_maps_say) {
  const Graph graph = testing::vit_block();
  TensorSource source = source_for(graph, 4);
  for (const SoftmaxCodes codes : {SoftmaxCodes::kLog2, SoftmaxCodes::kLogSqrt2}) {
    Options options = options_for("8", 8);
    options.softmax = codes;
    options.least_db_per_bit = 3.5;  // of the 4 bits of the map, not of the 8 around it
    const QuantizeResult result = quantize(graph, options, source);
    const auto maps = std::count_if(result.graph.nodes.begin(), result.graph.nodes.end(),
                                    [](const Node& node) { return node.op == "LogQuantize"; });
    EXPECT_EQ(maps, 1);
    const std::vector<Tensor> inputs = random_inputs(graph, 7);
    engine::SessionOptions profiled;
    profiled.profile = true;
    engine::Session session(result.graph, profiled);
    EXPECT_GT(sqnr_db(engine::reference::run(result.graph, inputs)[0], session.run(inputs)[0]),
              30.0);
    const auto steps = session.profile();
    EXPECT_TRUE(std::any_of(steps.begin(), steps.end(), [](const engine::StepProfile& step) {
      return step.kernel.starts_with("attention_u8");
    }));
  }
}

TEST(LowBitQuantizer, weight_only_graphs_hold_the_rounded_weights) {
  const Graph graph = testing::relu_network();
  TensorSource source = source_for(graph, 1);
  for (const char* weights : {"1", "ternary", "2", "3", "4", "8"}) {
    const Options options = options_for(weights, 0);
    const QuantizeResult result = quantize(graph, options, source);
    const auto round = [&](const Node& node, std::vector<Tensor>& operands) {
      operands[1] =
          quantize_weights(operands[1], {0, 1}, options.layer.weights, node.name).dequantize();
    };
    const std::vector<Tensor> inputs = random_inputs(graph, 5);
    const Values said = run_by_hand(result.prepared, inputs, round);
    const Tensor done = engine::reference::run(result.graph, inputs)[0];
    EXPECT_GT(sqnr_db(said.at(graph.value(graph.outputs[0]).name), done), 100.0) << weights;
  }
}

TEST(LowBitQuantizer, records_tell_ternary_from_two_bits_and_ends_from_the_others) {
  const Graph graph = testing::relu_network();
  TensorSource source = source_for(graph, 2);
  Options options = options_for("ternary", 1);
  options.keep_ends8 = true;
  const QuantizeResult result = quantize(graph, options, source);
  EXPECT_EQ(result.layers.front().weight_bits, 8);
  EXPECT_EQ(result.layers.front().activation_bits, 8);
  EXPECT_TRUE(result.layers.front().is_end);
  EXPECT_FALSE(result.layers.front().ternary);
  EXPECT_EQ(result.layers[1].weight_bits, 2);
  EXPECT_EQ(result.layers[1].activation_bits, 1);
  EXPECT_TRUE(result.layers[1].ternary);
  EXPECT_EQ(result.layers[1].weight_rule, "mse");
  // Gaussian weights: the best ternary quantizer has 1 / 0.19, 7.2 dB.
  EXPECT_NEAR(result.layers[1].weight_sqnr_db, 7.2, 0.7);
}

TEST(LowBitQuantizer, a_guard_spares_what_has_fewer_bits_than_it_judges) {
  const Graph graph = testing::relu_network();
  TensorSource source = source_for(graph, 4);
  Options options = options_for("1", 1);
  options.keep_ends8 = true;
  options.least_db_per_bit = 6.0;  // more than signs can give
  const auto kept = [&](const std::string& node) {
    const QuantizeResult result = quantize(graph, options, source);
    return std::any_of(result.kept_float.begin(), result.kept_float.end(),
                       [&](const KeptFloat& one) { return one.node == node; });
  };
  EXPECT_TRUE(kept("block1.conv1"));
  options.fewest_guarded_bits = kFewestPlainBits;
  EXPECT_FALSE(kept("block1.conv1"));
}

TEST(LowBitQuantizer, slow_layers_are_timed_with_their_binarizers) {
  const Graph graph = testing::relu_network();
  TensorSource source = source_for(graph, 2);
  Options options = options_for("1", 1);
  options.drop_slow_layers = true;
  const QuantizeResult result = quantize(graph, options, source);
  ASSERT_TRUE(result.latency.has_value());
  for (const KeptFloat& kept : result.kept_float) EXPECT_FALSE(kept.reason.empty()) << kept.node;
  for (const PieceTime& piece : result.latency->pieces) {
    EXPECT_FALSE(piece.nodes.empty());
    EXPECT_GE(piece.quantized_ms, 0.0);
  }
}

TEST(LowBitQuantizer, the_means_of_one_bit_layers_come_back) {
  testing::Builder builder(3);
  const ValueId x = builder.op("Relu", {builder.input("x", {1, 8, 12, 12})}, "relu");
  const Graph graph = builder.finish({builder.conv(x, 8, 6, 1, "conv")});
  TensorSource source = source_for(graph, 8);
  Options options = options_for("1", 1);
  const auto mean_error = [&](bool correct) {
    options.bias_correction = correct;
    const Graph quantized = quantize(graph, options, source).graph;
    std::vector<double> channel(6, 0.0);
    for (unsigned i = 0; i < 8; ++i) {
      const std::vector<Tensor> inputs = random_inputs(graph, 300 + i);
      const Tensor exact = engine::reference::run(graph, inputs)[0];
      const Tensor other = engine::reference::run(quantized, inputs)[0];
      for (size_t k = 0; k < exact.data<float>().size(); ++k) {
        channel[k / 144] += static_cast<double>(other.data<float>()[k]) - exact.data<float>()[k];
      }
    }
    double largest = 0.0;
    for (const double sum : channel) largest = std::max(largest, std::abs(sum) / (8 * 144));
    return largest;
  };
  EXPECT_GT(mean_error(false), 1e-2);
  EXPECT_LT(mean_error(true), 1e-4);  // means of the same data: what is left is rounding
}

}  // namespace
}  // namespace ounce::quantize
