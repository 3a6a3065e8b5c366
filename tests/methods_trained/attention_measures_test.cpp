#include "methods/trained/attention_measures.h"

#include <gtest/gtest.h>

#include "graph/error.h"
#include "methods/trained/q_vit.h"
#include "models/models.h"
#include "tests/methods_trained/small_attention.h"

namespace ounce::methods {
namespace {

using ounce::testing::random;

Graph small_vit(int64_t depth) {
  return models::vit(
      "small", {.image = 16, .classes = 3, .patch = 4, .width = 16, .depth = depth, .heads = 2}, 3);
}

TEST(AttentionMeasures, ANetworkAgreesWithItself) {
  train::Module student(small_vit(2));
  train::Module teacher(small_vit(2));
  auto measures = attention_measures(student, teacher, random({4, 3, 16, 16}, 1));
  EXPECT_NEAR(measures.at("map_divergence"), 0.0, 1e-7);
  EXPECT_DOUBLE_EQ(measures.at("order_agreement"), 1.0);
  EXPECT_NEAR(measures.at("similarity_distance"), 0.0, 1e-4);
  // Nothing is rounded.
  EXPECT_FALSE(measures.contains("code_entropy"));
  EXPECT_FALSE(measures.contains("constant_rows"));
  EXPECT_TRUE(student.training());
}

TEST(AttentionMeasures, RoundingIsSeen) {
  const Graph network = small_vit(2);
  const train::Student low = q_vit(network, {.weight_bits = 2, .activation_bits = 2});
  train::Module student(low.graph, low.quantizers);
  train::Module teacher(network);
  const at::Tensor pictures = random({4, 3, 16, 16}, 1);
  student(pictures);  // sets steps up
  auto measures = attention_measures(student, teacher, pictures);
  EXPECT_GT(measures.at("code_entropy"), 0.5);
  EXPECT_LE(measures.at("code_entropy"), 2.0);
  EXPECT_GT(measures.at("map_divergence"), 0.0);
  EXPECT_LT(measures.at("order_agreement"), 1.0);
  EXPECT_GT(measures.at("similarity_distance"), 0.01);
  EXPECT_GE(measures.at("constant_rows"), 0.0);
  EXPECT_LE(measures.at("constant_rows"), 1.0);
}

TEST(AttentionMeasures, NeedTwoNetworksOfTheSameDepth) {
  train::Module student(small_vit(2));
  train::Module teacher(small_vit(1));
  EXPECT_THROW(attention_measures(student, teacher, random({1, 3, 16, 16}, 1)), Error);
}

}  // namespace
}  // namespace ounce::methods
