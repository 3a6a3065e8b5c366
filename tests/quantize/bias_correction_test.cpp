#include "quantize/bias_correction.h"

#include <gtest/gtest.h>

#include <string>

#include "engine/session.h"
#include "quantize/insert_qdq.h"
#include "quantize/isolate.h"
#include "quantize/quantizer.h"
#include "tests/quantize/graphs.h"

namespace ounce::quantize {
namespace {

using testing::random_inputs;

Graph chain_of(int layers) {
  testing::Builder builder(5);
  ValueId x = builder.input("x", {1, 8, 16, 16});
  for (int i = 0; i < layers; ++i) {
    const std::string name = "conv" + std::to_string(i);
    x = builder.op("Relu", {builder.conv(x, 8, 8, 3, name)}, name + ".relu");
  }
  return builder.finish({x});
}

TensorSource source_for(const Graph& graph, unsigned runs) {
  std::vector<std::vector<Tensor>> inputs;
  for (unsigned i = 0; i < runs; ++i) inputs.push_back(random_inputs(graph, 100 + i));
  return TensorSource(inputs);
}

/// Bytes of activations while every layer is looked at alone.
int64_t arena_of_isolated(int layers) {
  const Graph graph = chain_of(layers);
  TensorSource source = source_for(graph, 1);
  const QuantizeResult result = quantize(graph, {}, source);
  std::vector<std::string> names;
  const Graph alone =
      isolate(result.prepared, result.graph, shared_values(result.prepared, result.graph), names);
  engine::SessionOptions options;
  options.threads = 1;
  options.taps = names;
  engine::Session session(alone, options);
  size_t seen = 0;
  session.run(random_inputs(graph, 1), [&](std::string_view, const Tensor&) { ++seen; });
  EXPECT_EQ(seen, names.size());
  EXPECT_GE(seen, static_cast<size_t>(layers));
  return session.arena_bytes();
}

TEST(BiasCorrection, memory_does_not_grow_with_the_number_of_layers) {
  EXPECT_LE(arena_of_isolated(40), arena_of_isolated(5) * 5 / 4);
}

TEST(BiasCorrection, all_layers_at_once_give_what_each_gives_alone) {
  const Graph graph = testing::residual_network();
  TensorSource source = source_for(graph, 3);
  const QuantizeResult result = quantize(graph, {}, source);
  const std::vector<Tensor> sample = random_inputs(graph, 1);
  const Plan plan = make_executable_plan(result.prepared, {}, {sample[0].shape()});
  const auto together = mean_layer_errors(result.prepared, result.graph, plan, source, 1);
  ASSERT_EQ(together.size(), plan.layers.size());
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    Plan single = plan;
    for (size_t k = 0; k < single.layers.size(); ++k) {
      if (k != i) single.layers[k].weights.reset();
    }
    const auto alone = mean_layer_errors(result.prepared, result.graph, single, source, 1)[i];
    ASSERT_EQ(alone.size(), together[i].size()) << i;
    // The same sums; what an engine fuses depends on what is looked at.
    for (size_t c = 0; c < alone.size(); ++c) EXPECT_NEAR(alone[c], together[i][c], 1e-5) << i;
  }
}

}  // namespace
}  // namespace ounce::quantize
