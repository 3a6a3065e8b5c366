#include "quantize/analysis/grid_losses.h"

#include <gtest/gtest.h>

#include "engine/reference/reference.h"
#include "quantize/analysis/divergence.h"
#include "tests/quantize/graphs.h"

namespace ounce::quantize {
namespace {

TEST(GridLosses, are_those_of_rounding_one_value_and_nothing_else) {
  const Graph graph = testing::residual_network();
  const Plan plan = make_plan(graph, {});
  const int grid = plan.grid_of[static_cast<size_t>(graph.inputs[0])];
  ASSERT_GE(grid, 0);
  std::vector<std::vector<Tensor>> inputs;
  for (unsigned i = 0; i < 3; ++i) inputs.push_back(testing::random_inputs(graph, i));
  const GridLosses losses(graph, plan, inputs, 1);
  double coarser = 0.0;
  for (const int bits : {8, 4, 2}) {
    const QuantParams params = affine_params({-4.5F, 4.5F}, bits);
    double expected = 0.0;
    for (const std::vector<Tensor>& run : inputs) {
      std::vector<Tensor> rounded = run;
      for (float& x : rounded[0].mutable_data<float>()) x = params.fake_quantize(x);
      expected +=
          divergence(engine::reference::run(graph, run), engine::reference::run(graph, rounded));
    }
    expected /= static_cast<double>(inputs.size());
    const double found = losses.loss(static_cast<size_t>(grid), params);
    EXPECT_NEAR(found, expected, 1e-3 * expected) << bits;
    EXPECT_GT(found, coarser) << bits;
    coarser = found;
  }
}

}  // namespace
}  // namespace ounce::quantize
