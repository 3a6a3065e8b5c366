#include "quantize/analysis/operation_count.h"

#include <gtest/gtest.h>

#include "graph/operator.h"
#include "models/models.h"
#include "quantize/quantizer.h"
#include "tests/quantize/graphs.h"

namespace ounce::quantize {
namespace {

TEST(OperationCount, SharesAreThoseOfThePapers) {
  EXPECT_EQ(operation_share(1), 1.0 / 64);
  EXPECT_EQ(operation_share(2), 1.0 / 32);
  EXPECT_EQ(operation_share(3), 1.0 / 16);
  EXPECT_EQ(operation_share(4), 1.0 / 8);
  EXPECT_EQ(operation_share(6), 1.0 / 4);
  EXPECT_EQ(operation_share(8), 1.0 / 4);
  EXPECT_EQ(operation_share(16), 1.0);
  EXPECT_EQ(operation_share(32), 1.0);
}

models::VitSpec deit_tiny() {
  models::VitSpec spec;
  spec.width = 192;
  spec.heads = 3;
  return spec;
}

// The counts of docs on Bi-ViT: 1.254 G multiply-accumulates, 26 times as many as the binary form
// is worth when its patch embedding stays in floats.
TEST(OperationCount, BinaryDeitTinyIsWorthATwentySixthInProducts) {
  Graph plain = models::vit("deit-t", deit_tiny(), 1);
  models::VitSpec spec = deit_tiny();
  spec.binary = true;
  Graph binary = models::vit("deit-t", spec, 1);
  const Shape picture = {1, 3, 224, 224};
  specialize_inputs(plain, {&picture, 1});
  specialize_inputs(binary, {&picture, 1});
  const OperationCount full = count_operations(plain).value();
  const OperationCount small = count_operations(binary).value();
  EXPECT_NEAR(full.products, 1.254e9, 2e6);
  EXPECT_NEAR(full.products / small.products, 26.0, 0.5);
  // Norms, softmax and residuals weigh more than binary products do.
  EXPECT_GT(small.others, 0.0);
  EXPECT_LT(full.total() / small.total(), full.products / small.products);
}

TEST(OperationCount, OperandsAreAsWideAsTheirCodes) {
  const Graph graph = testing::residual_network();
  const double full = count_operations(graph).value().products;
  TensorSource source({testing::random_inputs(graph, 1)});
  const auto worth = [&](int weights, int activations) {
    Options options;
    options.layer.weights.bits = weights;
    options.layer.activation_bits = activations;
    return count_operations(quantize(graph, options, source).graph).value().products;
  };
  EXPECT_DOUBLE_EQ(worth(8, 8), full / 4);
  EXPECT_DOUBLE_EQ(worth(4, 8), full / 4);
  EXPECT_DOUBLE_EQ(worth(4, 4), full / 8);
  EXPECT_DOUBLE_EQ(worth(2, 2), full / 32);
}

TEST(OperationCount, UnknownShapesHaveNone) {
  Graph graph = testing::residual_network();
  for (Value& value : graph.values) {
    if (!value.is_constant()) value.shape.reset();
  }
  EXPECT_FALSE(count_operations(graph));
}

}  // namespace
}  // namespace ounce::quantize
