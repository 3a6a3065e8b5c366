#include "models/models.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/session.h"
#include "graph/operator.h"
#include "tests/support/tensors.h"

namespace ounce::models {
namespace {

struct Expected {
  std::string_view name;
  double million_parameters;
  double million_macs;
};

// Parameters and multiply-accumulates as the papers (and common model tables) state them.
constexpr Expected kExpected[] = {{"resnet18", 11.69, 1814},
                                  {"mobilenet_v2", 3.50, 301},
                                  {"deit_s", 22.05, 4600},
                                  {"deit_t", 5.72, 1250},
                                  {"swin_t", 28.29, 4500}};

TEST(Models, SizesAreThePublishedOnes) {
  for (const Expected& expected : kExpected) {
    for (const Architecture& architecture : architectures()) {
      if (architecture.name != expected.name) continue;
      Graph graph = architecture.build(1);
      const Shape input = {1, 3, 224, 224};
      specialize_inputs(graph, std::span(&input, 1));
      double parameters = 0;
      double macs = 0;
      for (const Value& value : graph.values) {
        if (value.is_constant() && value.dtype == DType::f32) {
          parameters += static_cast<double>(value.constant.size());
        }
      }
      for (const Node& node : graph.nodes) macs += static_cast<double>(cost_of(graph, node).macs);
      EXPECT_NEAR(parameters / 1e6, expected.million_parameters, 0.01 * expected.million_parameters)
          << expected.name;
      EXPECT_NEAR(macs / 1e6, expected.million_macs, 0.02 * expected.million_macs) << expected.name;
    }
  }
}

TEST(Models, LogitsAreFiniteAndSpread) {
  for (const Architecture& architecture : architectures()) {
    const Graph graph = architecture.build(7);
    const Dim fixed = (*graph.value(graph.inputs[0]).shape)[2];
    const int64_t side = fixed.known() ? fixed.value : 20;
    const std::vector<Tensor> inputs = {ounce::testing::random_tensor({1, 3, side, side}, 3, 2.0F)};
    const Tensor logits = engine::Session(graph).run(inputs)[0];
    double sum = 0;
    double squares = 0;
    for (const float value : logits.to_f32()) {
      ASSERT_TRUE(std::isfinite(value)) << architecture.name;
      sum += value;
      squares += static_cast<double>(value) * value;
    }
    const auto classes = static_cast<double>(logits.size());
    const double variance = squares / classes - sum * sum / (classes * classes);
    EXPECT_GT(variance, 1e-4) << architecture.name;
    EXPECT_LT(variance, 1e4) << architecture.name;
  }
}

TEST(Models, ADistilledVitIsTheMeanOfTwoHeadsForAnyBatch) {
  Graph graph = vit("mini",
                    {.image = 32,
                     .classes = 10,
                     .patch = 4,
                     .width = 64,
                     .depth = 4,
                     .heads = 4,
                     .distilled = true,
                     .zero_biases = true},
                    1);
  graph.outputs.push_back(graph.find_value("head.logits"));
  graph.outputs.push_back(graph.find_value("head_dist.logits"));
  const std::vector<Tensor> inputs = {ounce::testing::random_tensor({3, 3, 32, 32}, 3, 2.0F)};
  const std::vector<Tensor> outputs = engine::Session(graph).run(inputs);
  EXPECT_EQ(outputs[0].shape(), (Shape{3, 10}));
  const std::vector<float> mean = outputs[0].to_f32();
  const std::vector<float> first = outputs[1].to_f32();
  const std::vector<float> second = outputs[2].to_f32();
  for (size_t i = 0; i < mean.size(); ++i) {
    EXPECT_NEAR(mean[i], 0.5F * (first[i] + second[i]), 1e-5F);
    EXPECT_NE(first[i], second[i]);
  }
  for (const Value& value : graph.values) {
    if (!value.name.ends_with(".bias")) continue;
    for (const float bias : value.constant.to_f32()) EXPECT_EQ(bias, 0.0F) << value.name;
  }
}

TEST(Models, EqualSeedsGiveEqualModels) {
  const Graph a = resnet18(5);
  const Graph b = resnet18(5);
  const Graph c = resnet18(6);
  const auto weight = [](const Graph& graph) {
    return graph.value(graph.find_value("layer1.0.conv1.weight")).constant;
  };
  EXPECT_TRUE(weight(a).identical_to(weight(b)));
  EXPECT_FALSE(weight(a).identical_to(weight(c)));
}

}  // namespace
}  // namespace ounce::models
