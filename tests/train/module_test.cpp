#include "train/module.h"

#include <gtest/gtest.h>

#include "engine/session.h"
#include "graph/error.h"
#include "models/models.h"
#include "tests/support/tensors.h"
#include "train/tensor.h"

namespace ounce::train {
namespace {

using ::ounce::testing::close;
using ::ounce::testing::random_tensor;

Graph small_resnet() {
  models::CifarResnetSpec spec;
  spec.image = 16;
  spec.width = 4;
  spec.blocks = 1;
  return models::cifar_resnet("small", spec, 1);
}

Graph small_vit() {
  models::VitSpec spec;
  spec.image = 32;
  spec.patch = 8;
  spec.width = 24;
  spec.depth = 2;
  spec.heads = 3;
  return models::vit("small", spec, 1);
}

/// A picture batch of the size that the graph takes.
Tensor picture(const Graph& graph, int64_t batch, uint32_t seed) {
  SymbolicShape shape = *graph.value(graph.inputs.at(0)).shape;
  shape[0] = batch;
  return random_tensor(*concrete(shape), seed);
}

Graph batch_norm_graph() {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim("batch"), Dim(2)});
  const auto constant = [&](const char* name, std::vector<float> values) {
    return graph.add_constant(name, Tensor::of(values, {2}));
  };
  const std::vector<ValueId> operands = {x, constant("scale", {1, 2}), constant("bias", {0, 1}),
                                         constant("mean", {1, 1}), constant("variance", {4, 4})};
  AttributeMap attributes;
  attributes.set("momentum", 0.75F);
  graph.outputs = {graph.add_node("BatchNormalization", operands, attributes, "norm")};
  return graph;
}

TEST(Module, in_use_computes_what_the_engine_computes) {
  for (const Graph& graph : {small_resnet(), small_vit()}) {
    Module module(graph);
    module.set_training(false);
    const Tensor x = picture(graph, 1, 3);
    const std::vector<Tensor> expected = engine::Session(graph).run(std::vector<Tensor>{x});
    const at::Tensor wanted = to_torch(expected[0]);
    // Sums of some hundred products, layer after layer, in two orders: against the largest logit.
    EXPECT_LT(((module(to_torch(x)) - wanted).abs().max() / wanted.abs().max()).item().toDouble(),
              1e-4)
        << graph.name;
  }
}

/// Derivatives of sum(weights * outputs) along a random direction of each parameter against central
/// differences in f64: 1e-16 / h of rounding. The step is small so that hardly a Relu changes its
/// side within it.
TEST(Module, gradients_are_those_of_finite_differences) {
  constexpr double kStep = 1e-7;
  for (const Graph& graph : {small_resnet(), small_vit()}) {
    Module module(graph);
    module.to_double();
    const at::Tensor x = to_torch(picture(graph, 2, 5)).to(at::kDouble);
    const at::Tensor weights = to_torch(random_tensor({2, module(x).size(1)}, 7)).to(at::kDouble);
    const auto loss = [&] { return (module(x) * weights).sum(); };
    loss().backward();
    uint32_t seed = 11;
    for (const Parameter& parameter : module.parameters()) {
      const at::NoGradGuard no_grad;
      at::Tensor tensor = parameter.tensor;
      const at::Tensor way = to_torch(random_tensor(tensor.sizes().vec(), ++seed)).to(at::kDouble);
      tensor.add_(way, kStep);
      const double above = loss().item().toDouble();
      tensor.sub_(way, 2 * kStep);
      const double below = loss().item().toDouble();
      tensor.add_(way, kStep);
      const double slope = (tensor.grad() * way).sum().item().toDouble();
      EXPECT_NEAR((above - below) / (2 * kStep), slope, 1e-5 * (1.0 + std::abs(slope)))
          << parameter.name;
    }
  }
}

TEST(Module, batch_normalization_learns_running_statistics_in_training_alone) {
  Module module(batch_norm_graph());
  const at::Tensor x = to_torch(Tensor::of(std::vector<float>{0, 2, 2, 6, 4, 4}, {3, 2}));
  // Batch: mean 2 and 4, variance 8/3, unbiased 4.
  const at::Tensor y = module(x);
  EXPECT_NEAR(y[0][0].item().toDouble(), -2 / std::sqrt(8.0 / 3.0 + 1e-5), 1e-6);
  EXPECT_NEAR(y[1][1].item().toDouble(), 1 + 2 * 2 / std::sqrt(8.0 / 3.0 + 1e-5), 1e-6);
  EXPECT_TRUE(close(from_torch(module.tensor("mean")),
                    Tensor::of(std::vector<float>{1.25F, 1.75F}, {2}), 1e-6));
  EXPECT_TRUE(close(from_torch(module.tensor("variance")),
                    Tensor::of(std::vector<float>{4, 4}, {2}), 1e-6));
  module.set_training(false);
  EXPECT_NEAR(module(x)[0][0].item().toDouble(), -1.25 / std::sqrt(4 + 1e-5), 1e-6);
  EXPECT_TRUE(close(from_torch(module.tensor("mean")),
                    Tensor::of(std::vector<float>{1.25F, 1.75F}, {2}), 1e-6));
}

TEST(Module, a_batch_without_variance_is_an_error_that_names_the_node) {
  Module module(batch_norm_graph());
  const at::Tensor x = to_torch(Tensor::of(std::vector<float>{0, 2}, {1, 2}));
  try {
    module(x);
    FAIL() << "normalised";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("norm"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("larger batch"), std::string::npos) << error.what();
  }
}

TEST(Module, drops_out_in_training_alone) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim(1000)});
  const ValueId ratio = graph.add_constant("ratio", Tensor::scalar(0.25F));
  graph.outputs = {graph.add_node("Dropout", {x, ratio}, {}, "drop")};
  Module module(graph);
  const at::Tensor ones = at::ones({1000});
  const at::Tensor dropped = module(ones);
  const auto zeros = (dropped == 0).sum().item().toLong();
  EXPECT_GT(zeros, 190);  // 250 are expected, with a deviation of 14
  EXPECT_LT(zeros, 310);
  EXPECT_NEAR(dropped.max().item().toDouble(), 1 / 0.75, 1e-6);
  module.set_training(false);
  EXPECT_TRUE(module(ones).equal(ones));
}

TEST(Module, hands_back_taps_and_refuses_unknown_ones) {
  const Graph graph = small_resnet();
  Module module(graph);
  const at::Tensor x = to_torch(picture(graph, 2, 1));
  const std::string tap = graph.value(graph.nodes.at(1).outputs.at(0)).name;
  const Module::Result result = module.forward(std::span(&x, 1), {tap});
  EXPECT_EQ(result.taps.at(tap).size(0), 2);
  EXPECT_THROW(module.forward(std::span(&x, 1), {"nothing"}), Error);
}

TEST(Module, gives_the_graph_with_what_was_learned) {
  const Graph graph = small_resnet();
  Module module(graph);
  const Parameter parameter = module.parameters().front();
  at::Tensor learned = parameter.tensor;
  {
    const at::NoGradGuard no_grad;
    learned.mul_(2);
  }
  const Graph result = module.graph();
  const Tensor* constant = result.constant(result.find_value(parameter.name));
  ASSERT_NE(constant, nullptr);
  EXPECT_TRUE(constant->identical_to(from_torch(learned)));
  EXPECT_FALSE(constant->identical_to(*graph.constant(graph.find_value(parameter.name))));
}

TEST(Module, names_the_node_whose_operator_cannot_be_trained) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim(2)});
  graph.outputs = {graph.add_node("NonMaxSuppression", {x, x}, {}, "boxes")};
  try {
    const Module module(graph);
    FAIL() << "made";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("node boxes: operator NonMaxSuppression"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace ounce::train
