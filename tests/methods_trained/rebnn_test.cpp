#include "methods/trained/rebnn.h"

#include <gtest/gtest.h>

#include "tests/methods_trained/small_binary.h"
#include "tests/support/test_data.h"

namespace ounce::methods {
namespace {

using namespace ounce::testing;

/// Gamma behind a step with the gradient `task` in which the weights became `after`.
at::Tensor gamma_behind(const at::Tensor& before, const at::Tensor& task, const at::Tensor& after,
                        bool clamp = false) {
  RebnnSettings settings;
  settings.clamp_gamma = clamp;
  ResilientSignWeight quantizer({0, before.size(0)}, settings);
  at::Tensor w = before.clone().requires_grad_(true);
  (quantizer.fake_quant(w, true) * task).sum().backward();
  {
    const at::NoGradGuard no_grad;
    w.copy_(after);
  }
  quantizer.after_step();
  return quantizer.gamma();
}

TEST(Rebnn, GammaIsTheShareOfFlipsTimesTheLargestGradient) {
  at::manual_seed(1);
  const at::Tensor w = at::randn({3, 2, 3, 3});
  const at::Tensor task = at::randn({3, 2, 3, 3});
  const at::Tensor largest = task.abs().amax({1, 2, 3});
  EXPECT_TRUE(at::equal(gamma_behind(w, task, w * 0.5), at::zeros({3})));
  EXPECT_TRUE(at::allclose(gamma_behind(w, task, -w), largest, 1e-6, 0));
  EXPECT_TRUE(at::allclose(gamma_behind(w, task * 8, -w), largest * 8, 1e-6, 0));
  at::Tensor one = w.clone();
  one[1][0][0][0].neg_();
  EXPECT_TRUE(at::allclose(gamma_behind(w, task, one),
                           largest * at::tensor({0.0F, 1.0F / 18, 0.0F}), 1e-6, 0));
}

TEST(Rebnn, GammaCanBeKeptInItsRange) {
  const at::Tensor w = at::ones({2, 4});
  const at::Tensor after = at::tensor({1.0F, 1.0F, 1.0F, 1.0F, -1.0F, 1.0F, 1.0F, 1.0F});
  EXPECT_TRUE(at::equal(gamma_behind(w, at::ones({2, 4}), after.reshape({2, 4}), true),
                        at::tensor({1e-5F, 2e-4F})));
}

TEST(Rebnn, TheLossTakesThePenaltyOnce) {
  const auto method = method_of("rebnn", "gamma = \"constant\"");
  train::Module module = binary_module(*method);
  const at::Tensor pictures = at::randn({2, 3, 16, 16});
  const train::Module::Result result = module.forward({&pictures, 1});
  double expected = 0;
  for (const char* unit :
       {"layer1.0.0", "layer1.0.1", "layer2.0.0", "layer2.0.1", "layer3.0.0", "layer3.0.1"}) {
    const at::Tensor w = module.tensor(unit + std::string(".conv.weight")).detach();
    const at::Tensor alpha = w.abs().mean({1, 2, 3}, /*keepdim=*/true);
    const at::Tensor error = w - alpha * at::where(w < 0, -1.0F, 1.0F);
    expected += 2e-4 / 2 * error.square().sum().item<double>();
  }
  EXPECT_NEAR(method->loss(module, result, nullptr).item<double>(), expected, 1e-5 * expected);
}

TEST(Rebnn, WithoutGammaNothingJoinsTheLoss) {
  for (const char* arm : {"gamma = \"zero\"", "scale = \"mean\""}) {
    const auto method = method_of("rebnn", arm);
    train::Module module = binary_module(*method);
    const at::Tensor pictures = at::randn({2, 3, 16, 16});
    const train::Module::Result result = module.forward({&pictures, 1});
    EXPECT_FALSE(method->loss(module, result, nullptr).defined()) << arm;
  }
}

TEST(Rebnn, SettingsThatMeanNothingTogetherAreRefused) {
  EXPECT_THROW(method_of("rebnn", "scale = \"mean\"\ngamma = \"adaptive\""), Error);
  EXPECT_THROW(method_of("rebnn", "scale = \"mean\"\ngradient = \"released\""), Error);
  EXPECT_THROW(method_of("rebnn", "gamma = \"zero\"\nclamp_gamma = true"), Error);
  EXPECT_NO_THROW(method_of("rebnn", "clamp_gamma = true"));
  EXPECT_THROW(method_of("rebnn", "constant_gamma = 1e-5"), Error);
  EXPECT_THROW(method_of("rebnn", "clamp_gamma = true\nconstant_gamma = 1e-6"), Error);
  EXPECT_NO_THROW(method_of("rebnn", "gamma = \"constant\"\nconstant_gamma = 1e-6"));
}

class RebnnArm : public ::testing::TestWithParam<const char*> {};

TEST_P(RebnnArm, LearnsAndRunsOnBits) {
  expect_learns_and_runs_on_bits("rebnn", GetParam());
}
INSTANTIATE_TEST_SUITE_P(Arms, RebnnArm,
                         ::testing::Values("", "scale = \"mean\"", "gamma = \"zero\"",
                                           "gamma = \"constant\"\ngradient = \"released\"",
                                           "clamp_gamma = true"));

TEST(Rebnn, FoldingTheScaleIntoTheNormChangesNothing) {
  const auto method = method_of("rebnn");
  train::Module module = binary_module(*method);
  ASSERT_TRUE(train_on_pictures(module, small_options(1, 3e-3), method.get()));
  module.set_training(false);
  train::Module frozen(train::freeze(module));
  frozen.set_training(false);
  const Graph graph = module.graph();
  std::string norm;
  for (const Node& node : graph.nodes) {
    if (node.name == "layer1.0.0.bn") norm = graph.value(node.output(0)).name;
  }
  ASSERT_FALSE(norm.empty());
  const at::Tensor pictures = at::randn({8, 3, 16, 16});
  const at::Tensor expected = module.forward({&pictures, 1}, {norm}).taps.at(norm);
  const at::Tensor actual = frozen.forward({&pictures, 1}, {norm}).taps.at(norm);
  EXPECT_LT(((actual - expected).norm() / expected.norm()).item<double>(), 1e-5);
}

TEST(Rebnn, TellsFlipsOfEveryBinaryLayer) {
  const auto method = method_of("rebnn");
  train::Module module = binary_module(*method);
  EXPECT_TRUE(method->measures(module).empty());
  double most = 0;
  ASSERT_TRUE(
      train_on_pictures(module, small_options(1, 3e-3), method.get(), [&](const train::Progress&) {
        int layers = 0;
        for (const auto& [name, value] : method->measures(module)) {
          if (!name.starts_with("flip_rate/")) continue;
          most = std::max(most, value);
          ++layers;
        }
        EXPECT_EQ(layers, 6);
        return true;
      }));
  EXPECT_GT(most, 0.0);
  EXPECT_LT(most, 1.0);
}

TEST(Rebnn, ARunThatWasStoppedEndsAsOneThatWasNot) {
  const TemporaryFolder folder;
  const auto run = [&](train::Module& module, const char* file, int64_t stop) {
    const auto method = method_of("rebnn");
    train::TrainerOptions options = small_options(2, 3e-3);
    options.checkpoint = folder.path() / file;
    return train_on_pictures(module, options, method.get(), [&](const train::Progress& progress) {
      return progress.step != stop;
    });
  };
  const auto method = method_of("rebnn");
  train::Module whole = binary_module(*method);
  ASSERT_TRUE(run(whole, "whole.safetensors", -1));
  train::Module stopped = binary_module(*method);
  ASSERT_FALSE(run(stopped, "stopped.safetensors", 9));
  train::Module resumed = binary_module(*method);
  ASSERT_TRUE(run(resumed, "stopped.safetensors", -1));
  for (const train::Parameter& parameter : whole.parameters()) {
    EXPECT_TRUE(at::equal(parameter.tensor, resumed.tensor(parameter.name))) << parameter.name;
  }
  for (const train::NamedTensor& buffer : whole.buffers()) {
    EXPECT_TRUE(at::equal(buffer.tensor, resumed.tensor(buffer.name))) << buffer.name;
  }
}

}  // namespace
}  // namespace ounce::methods
