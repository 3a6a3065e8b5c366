#include "report/inspection.h"

#include <gtest/gtest.h>

#include "graph/error.h"
#include "graph/operator.h"
#include "report/measurement.h"

namespace ounce::report {
namespace {

/// A convolution with a dequantized weight, a shared float weight used twice, and shape constants.
Graph sample_graph() {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim("batch"), 4, 8, 8});
  const ValueId codes = graph.add_constant("codes", Tensor(DType::i8, {6, 4, 1, 1}));
  const ValueId scale = graph.add_constant("scale", Tensor(DType::f32, {6}));
  const ValueId zero = graph.add_constant("zero", Tensor(DType::i8, {6}));
  AttributeMap per_channel;
  per_channel.set("axis", int64_t{0});
  const ValueId weights =
      graph.add_node("DequantizeLinear", {codes, scale, zero}, per_channel, "dq");
  const ValueId y = graph.add_node("Conv", {x, weights}, {}, "conv");
  const ValueId shape = graph.add_constant("shape", Tensor::of_i64({0, 6, 64}));
  const ValueId flat = graph.add_node("Reshape", {y, shape}, {}, "reshape");
  const ValueId shared = graph.add_constant("shared", Tensor(DType::f32, {64, 64}));
  const ValueId a = graph.add_node("MatMul", {flat, shared}, {}, "first");
  graph.outputs = {graph.add_node("MatMul", {a, shared}, {}, "second")};
  return graph;
}

TEST(Inspection, CountsEachParameterOnceInItsStoredBits) {
  Graph graph = sample_graph();
  const std::vector<Shape> shapes = input_shapes(graph, {});
  specialize_inputs(graph, shapes);
  const ModelSummary summary = inspect(graph);
  EXPECT_EQ(summary.parameters, 24 + 4096);
  EXPECT_EQ(summary.parameter_bytes, 24 + 4 * 4096);
  EXPECT_EQ(summary.parameters_by_dtype.at("i8"), 24);
  ASSERT_EQ(summary.nodes.size(), 4u);  // without the DequantizeLinear
  EXPECT_EQ(summary.nodes[0].weight_dtype, "i8");
  EXPECT_EQ(summary.nodes[0].macs, 6 * 4 * 64);
  EXPECT_EQ(summary.nodes[1].parameters, 0);
  ASSERT_TRUE(summary.macs.has_value());
  EXPECT_EQ(*summary.macs, 6 * 4 * 64 + 2 * 6 * 64 * 64);
}

TEST(Inspection, CostIsUnknownWhereShapesAre) {
  const ModelSummary summary = inspect(sample_graph());
  EXPECT_FALSE(summary.macs.has_value());
  EXPECT_EQ(to_json(summary)["macs"], nullptr);
}

TEST(InputShapes, OnlyTheBatchIsGuessed) {
  Graph graph;
  graph.add_input("x", DType::f32, {Dim("batch"), 3, Dim("height"), 8});
  EXPECT_FALSE(input_shapes_if_known(graph, {}).has_value());
  EXPECT_THROW(input_shapes(graph, {}), Error);
  const std::vector<NamedShape> named{{"x", {2, 3, 16, 8}}};
  EXPECT_EQ(input_shapes(graph, named)[0], (Shape{2, 3, 16, 8}));
  const std::vector<NamedShape> unnamed{{"", {2, 3, 16, 8}}};
  EXPECT_EQ(input_shapes(graph, unnamed)[0], (Shape{2, 3, 16, 8}));
  const std::vector<NamedShape> wrong{{"y", {1}}};
  EXPECT_THROW(input_shapes(graph, wrong), Error);
}

TEST(RandomInputs, AreTheSameForTheSameSeed) {
  Graph graph;
  graph.add_input("x", DType::f32, {2, 5});
  graph.add_input("ids", DType::i64, {7});
  const std::vector<Shape> shapes = input_shapes(graph, {});
  const auto once = random_inputs(graph, shapes, 3);
  const auto again = random_inputs(graph, shapes, 3);
  const auto other = random_inputs(graph, shapes, 4);
  for (size_t i = 0; i < once.size(); ++i) EXPECT_TRUE(once[i].identical_to(again[i]));
  EXPECT_FALSE(once[0].identical_to(other[0]));
}

TEST(Measurement, QuantilesInterpolateBetweenRuns) {
  Measurement measurement;
  measurement.run_ms = {4, 1, 3, 2};
  EXPECT_DOUBLE_EQ(measurement.quantile_ms(0.5), 2.5);
  EXPECT_DOUBLE_EQ(measurement.quantile_ms(0), 1);
  EXPECT_DOUBLE_EQ(measurement.quantile_ms(1), 4);
  EXPECT_DOUBLE_EQ(measurement.quantile_ms(0.95), 3.85);
  EXPECT_EQ(Measurement().quantile_ms(0.5), 0);
}

TEST(Measurement, TimesGraphsInTurnAndProfilesTheirSteps) {
  const Graph graph = sample_graph();
  const std::vector<Shape> shapes = input_shapes(graph, {});
  const std::vector<Tensor> inputs = random_inputs(graph, shapes, 1);
  const std::vector<const Graph*> graphs{&graph, &graph};
  MeasureOptions options;
  options.runs = 4;
  options.warmup = 1;
  options.profile = true;
  int64_t last_done = 0;
  int64_t last_total = 0;
  const auto results =
      measure_interleaved(graphs, inputs, options, [&](int64_t done, int64_t total) {
        EXPECT_EQ(done, last_done + 1);
        last_done = done;
        last_total = total;
      });
  EXPECT_EQ(last_done, last_total);
  ASSERT_EQ(results.size(), 2u);
  for (const Measurement& one : results) {
    EXPECT_EQ(one.run_ms.size(), 4u);
    EXPECT_FALSE(one.steps.empty());
    const Json json = to_json(one, 1);
    for (const char* key : {"median_ms", "p95_ms", "threads", "peak_bytes", "layers"}) {
      EXPECT_TRUE(json.contains(key)) << key;
    }
  }
}

}  // namespace
}  // namespace ounce::report
