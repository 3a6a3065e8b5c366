#include "methods/trained/rbonn.h"

#include <gtest/gtest.h>

#include "tests/methods_trained/small_binary.h"
#include "tests/support/test_data.h"
#include "train/checkpoint.h"

namespace ounce::methods {
namespace {

using namespace ounce::testing;

at::Tensor named(train::Quantizer& quantizer, const std::string& name) {
  for (const train::NamedTensor& parameter : quantizer.parameters()) {
    if (parameter.name == name) return parameter.tensor;
  }
  throw Error("no parameter is named " + name);
}

void assign(const at::Tensor& parameter, const at::Tensor& value) {
  const at::NoGradGuard no_grad;
  at::Tensor(parameter).copy_(value);
}

at::Tensor weights_of(int64_t channels, int64_t seed) {
  at::manual_seed(static_cast<uint64_t>(seed));
  return (at::randn({channels, 2, 3, 3}) * 0.3).clamp(-0.9, 0.9).requires_grad_(true);
}

/// One step: backward of sum(w^ * task) + penalty, SGD at `rate`.
void step(RecurrentSignWeight& quantizer, const at::Tensor& w, const at::Tensor& task,
          double rate) {
  const at::Tensor on = quantizer.fake_quant(w, true);
  ((on * task).sum() + quantizer.penalty()).backward();
  {
    const at::NoGradGuard no_grad;
    at::Tensor(w).sub_(w.grad() * rate);
  }
  quantizer.after_step();
}

TEST(RbonnGate, FlagsTheSmallestScales) {
  const at::Tensor alpha = at::tensor({0.5F, 0.1F, 0.4F, 0.2F, 0.3F});
  RbonnSettings settings;
  EXPECT_TRUE(
      at::equal(rbonn_gate(alpha, alpha, settings), at::tensor({0.0F, 1.0F, 0.0F, 1.0F, 0.0F})));
  settings.released_gate = true;
  EXPECT_TRUE(
      at::equal(rbonn_gate(alpha, alpha, settings), at::tensor({1.0F, 0.0F, 0.0F, 0.0F, 1.0F})));
}

TEST(RbonnGate, OfEqualsTakesTheFirst) {
  RbonnSettings settings;
  EXPECT_TRUE(at::equal(rbonn_gate(at::ones({16}), at::ones({16}), settings),
                        at::arange(16).lt(6).to(at::kFloat)));
}

TEST(RbonnGate, CountsInExactArithmetic) {
  RbonnSettings settings;
  for (const RbonnMode mode : {RbonnMode::kCodeFixed, RbonnMode::kPaper}) {
    settings.mode = mode;
    settings.tau = 0.8;  // 5 * (1 - 0.8) is 0.99.. in binary
    EXPECT_EQ(rbonn_gate(at::arange(5.0F), -at::arange(5.0F), settings).sum().item<float>(),
              mode == RbonnMode::kPaper ? 0.0F : 1.0F);
    settings.tau = 1;
    EXPECT_EQ(rbonn_gate(at::arange(5.0F), at::arange(5.0F), settings).sum().item<float>(), 0.0F);
  }
}

TEST(RbonnGate, CanLeaveOutTheDensestChannels) {
  const at::Tensor alpha = at::tensor({0.5F, 0.1F, 0.4F, 0.2F, 0.3F});
  const at::Tensor norms = at::tensor({1.0F, 9.0F, 8.0F, 2.0F, 3.0F});
  RbonnSettings settings;
  settings.sparse_gate = true;
  EXPECT_TRUE(
      at::equal(rbonn_gate(alpha, norms, settings), at::tensor({0.0F, 0.0F, 0.0F, 1.0F, 0.0F})));
}

TEST(Rbonn, TheFirstStepIsOneWithoutRecurrence) {
  const at::Tensor w = weights_of(5, 1);
  const at::Tensor task = at::randn_like(w);
  RecurrentSignWeight quantizer({0, 5}, {});
  train::LearnedSignWeight plain({.channels = {0, 5}, .gamma = 1e-4});
  const at::Tensor on = quantizer.fake_quant(w, true);
  EXPECT_TRUE(at::equal(on, plain.fake_quant(w, true)));
  EXPECT_TRUE(at::equal(quantizer.penalty(), plain.penalty()));
  EXPECT_FALSE(quantizer.reach().defined());
  ((on * task).sum() + quantizer.penalty()).backward();
  EXPECT_FALSE(named(quantizer, "u").grad().defined());
}

TEST(Rbonn, LooksAheadAlongTheLastGradientOfGatedChannels) {
  const at::Tensor w = weights_of(5, 2);
  RecurrentSignWeight quantizer({0, 5}, {});
  step(quantizer, w, at::randn_like(w) * 10, 0.001);
  const at::Tensor last = w.grad().clone();
  const_cast<at::Tensor&>(w).mutable_grad().reset();
  const at::Tensor alpha = at::tensor({0.5F, 0.1F, 0.4F, 0.2F, 0.3F});
  assign(named(quantizer, "alpha"), alpha);
  const at::Tensor gate = at::tensor({0.0F, 1.0F, 0.0F, 1.0F, 0.0F}).reshape({5, 1, 1, 1});
  const at::Tensor ahead = w.detach() - 0.2 * last * gate;
  const at::Tensor signs = at::where(ahead < 0, -1.0F, 1.0F);
  const at::Tensor scale = alpha.reshape({5, 1, 1, 1});

  const at::Tensor task = at::randn_like(w);
  const at::Tensor on = quantizer.fake_quant(w, true);
  EXPECT_TRUE(at::equal(on, scale * signs));
  EXPECT_NEAR(quantizer.reach().item<double>(),
              ((0.2 * last * gate).norm() / w.detach().norm()).item<double>(), 1e-6);
  ((on * task).sum() + quantizer.penalty()).backward();
  const at::Tensor of_ahead = scale * task * ahead.abs().le(1) + 1e-4 * (ahead - scale * signs);
  EXPECT_TRUE(at::allclose(w.grad(), of_ahead, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(named(quantizer, "u").grad(), -(of_ahead * last * gate).sum({1, 2, 3}),
                           1e-4, 1e-5));
}

TEST(Rbonn, TheGradientOfULooksAtTheLossWithSignsHeld) {
  // The surrogate is the identity inside the window: loss(u) is linear and quadratic in w - u g.
  const at::Tensor w = weights_of(4, 3);
  RecurrentSignWeight quantizer({0, 4}, {.tau = 0.0, .lambda = 0.5});
  step(quantizer, w, at::randn_like(w) * 0.1, 0.01);
  const at::Tensor last = w.grad().to(at::kDouble);
  const_cast<at::Tensor&>(w).mutable_grad().reset();
  const at::Tensor task = at::randn_like(w);
  const at::Tensor on = quantizer.fake_quant(w, true);
  ((on * task).sum() + quantizer.penalty()).backward();
  const at::Tensor alpha = named(quantizer, "alpha").detach().to(at::kDouble).reshape({4, 1, 1, 1});
  const at::Tensor signs = at::where(on.detach() < 0, -1.0, 1.0);
  const auto loss = [&](const at::Tensor& u) {
    const at::Tensor ahead = w.detach().to(at::kDouble) - u.reshape({4, 1, 1, 1}) * last;
    return (alpha * ahead * task).sum() + 0.25 * (ahead - alpha * signs).square().sum();
  };
  constexpr double kStep = 1e-4;
  for (int64_t i = 0; i < 4; ++i) {
    at::Tensor up = at::full({4}, 0.2, at::kDouble);
    at::Tensor down = up.clone();
    up[i] += kStep;
    down[i] -= kStep;
    const double slope = (loss(up) - loss(down)).item<double>() / (2 * kStep);
    EXPECT_NEAR(named(quantizer, "u").grad()[i].item<double>(), slope, 1e-4) << i;
  }
}

TEST(Rbonn, OutsideOfTrainingTheWeightsThemselvesCount) {
  for (const RbonnMode mode : {RbonnMode::kCodeFixed, RbonnMode::kPaper}) {
    const at::Tensor w = weights_of(5, 4);
    RecurrentSignWeight quantizer({0, 5}, {.mode = mode});
    for (int i = 0; i < 2; ++i) step(quantizer, w, at::randn_like(w) * 10, 0.001);
    EXPECT_GT(quantizer.reach().item<double>(), 0.0);
    const at::Tensor scale = std::get<train::SignGrid>(quantizer.freeze(w)).scale;
    const at::Tensor signs = at::where(w.detach() < 0, -1.0F, 1.0F);
    EXPECT_TRUE(at::equal(quantizer.fake_quant(w, false), signs * scale.reshape({5, 1, 1, 1})));
  }
}

TEST(Rbonn, PaperModeAddsGatedWeightsToThemselves) {
  const at::Tensor w = weights_of(5, 5);
  RecurrentSignWeight quantizer({0, 5}, {.mode = RbonnMode::kPaper});
  quantizer.fake_quant(w, true);
  const at::Tensor norms = at::tensor({0.2F, 0.1F, 0.5F, 0.4F, 0.3F});
  assign(w, w / w.abs().sum({1, 2, 3}, true) * norms.reshape({5, 1, 1, 1}));
  assign(named(quantizer, "alpha"), at::tensor({0.1F, 0.4F, 0.2F, 0.5F, 0.3F}));
  quantizer.fake_quant(w, true);
  const at::Tensor before = w.detach().clone();
  assign(named(quantizer, "u"), at::tensor({-5e-4F, 1e-4F, 1e-4F, 1e-4F, 0.2F}));
  assign(w, w + 0.01);
  quantizer.after_step();
  // Smallest alpha: channels 0 and 2; the second has the largest norm.
  at::Tensor expected = before + 0.01;
  expected[0] += 5e-4 * before[0];
  EXPECT_TRUE(at::allclose(w.detach(), expected, 0, 1e-8));
  EXPECT_TRUE(at::allclose(named(quantizer, "u"), at::tensor({5e-4F, 1e-4F, 1e-4F, 1e-4F, 1e-3F})));
  // What u is told next: the gradient along what moved.
  const at::Tensor task = at::randn_like(w);
  const at::Tensor on = quantizer.fake_quant(w, true);
  (on * task).sum().backward();
  const at::Tensor slope = (w.grad() * before).sum({1, 2, 3});
  EXPECT_TRUE(at::allclose(named(quantizer, "u").grad(),
                           slope * at::tensor({1.0F, 0.0F, 0.0F, 0.0F, 0.0F}), 1e-4, 1e-6));
}

TEST(Rbonn, ULearnsAtATenthOfTheRate) {
  const auto method = method_of("rbonn");
  train::Module module = binary_module(*method);
  train::OptimizerOptions options;
  options.kind = train::OptimizerKind::kSgd;
  options.momentum = 0;
  train::GroupedOptimizer optimizer(module.parameters(), options);
  optimizer.set_learning_rate(0.5);
  std::map<std::string, at::Tensor> before;
  for (const train::Parameter& parameter : module.parameters()) {
    before[parameter.name] = parameter.tensor.detach().clone();
    at::Tensor(parameter.tensor).mutable_grad() = at::ones_like(parameter.tensor);
  }
  optimizer.step();
  for (const train::Parameter& parameter : module.parameters()) {
    const double rate = parameter.name.ends_with(".u") ? 0.05 : 0.5;
    EXPECT_TRUE(at::allclose(parameter.tensor, before[parameter.name] - rate)) << parameter.name;
  }
}

TEST(Rbonn, TauOneIsNoRecurrenceToTheBit) {
  const auto without = method_of("rebnn", "gamma = \"constant\"");
  const auto off = method_of("rbonn", "tau = 1.0\nlambda = 2e-4");
  const auto on = method_of("rbonn", "tau = 0.6\nlambda = 2e-4");
  const auto trained = [&](TrainedMethod& method) {
    train::Module module = binary_module(method);
    train_on_pictures(module, small_options(1, 3e-3), &method);
    return module;
  };
  const train::Module expected = trained(*without);
  const train::Module actual = trained(*off);
  const train::Module other = trained(*on);
  bool differs = false;
  for (const train::Parameter& parameter : expected.parameters()) {
    EXPECT_TRUE(at::equal(parameter.tensor, actual.tensor(parameter.name))) << parameter.name;
    differs = differs || !at::equal(parameter.tensor, other.tensor(parameter.name));
  }
  EXPECT_TRUE(differs);
}

TEST(Rbonn, NoLastGradientIsLeftBehindACheckpoint) {
  const TemporaryFolder folder;
  const auto method = method_of("rbonn");
  train::TrainerOptions options = small_options(1, 3e-3);
  options.checkpoint = folder.path() / "run.safetensors";
  train::Module module = binary_module(*method);
  ASSERT_FALSE(
      train_on_pictures(module, options, method.get(),
                        [](const train::Progress& progress) { return progress.step < 5; }));
  // Beside the network: alpha, u, gamma and the flag of each layer.
  train::Module fresh = binary_module(*method);
  for (const auto& [name, quantizer] : fresh.quantizers()) {
    const auto* recurrent = dynamic_cast<const RecurrentSignWeight*>(quantizer.get());
    if (recurrent == nullptr) continue;
    EXPECT_EQ(quantizer->parameters().size(), 2U) << name;
    EXPECT_EQ(quantizer->buffers().size(), 2U) << name;
  }
  bool is_first = true;
  const auto watch = [&](const train::Progress& progress) {
    if (is_first) {
      EXPECT_EQ(progress.step, 6);
    }
    is_first = false;
    return progress.step < 6;
  };
  // The step that a resumed run takes first: u gets no gradient, as nothing is looked ahead along.
  ASSERT_FALSE(train_on_pictures(fresh, options, method.get(), watch));
  for (const train::Parameter& parameter : fresh.parameters()) {
    if (!parameter.name.ends_with(".u")) continue;
    EXPECT_FALSE(parameter.tensor.grad().defined()) << parameter.name;
  }
}

TEST(Rbonn, ThePapersGateIsFixed) {
  EXPECT_THROW(method_of("rbonn", "mode = \"paper\"\nsparse_gate = false"), Error);
  EXPECT_THROW(method_of("rbonn", "mode = \"paper\"\ngate = \"released\""), Error);
  EXPECT_NO_THROW(method_of("rbonn", "mode = \"paper\"\ntau = 0.5"));
}

class RbonnArm : public ::testing::TestWithParam<const char*> {};

TEST_P(RbonnArm, LearnsAndRunsOnBits) {
  expect_learns_and_runs_on_bits("rbonn", GetParam());
}
INSTANTIATE_TEST_SUITE_P(Arms, RbonnArm,
                         ::testing::Values("", "mode = \"paper\"", "sparse_gate = true",
                                           "gate = \"released\"\ngradient = \"released\""));

}  // namespace
}  // namespace ounce::methods
