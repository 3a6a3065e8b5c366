#include "methods/trained/bi_vit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "engine/reference/reference.h"
#include "formats/formats.h"
#include "graph/error.h"
#include "graph/passes/passes.h"
#include "methods/trained/ranking.h"
#include "tests/methods_trained/small_attention.h"
#include "tests/support/test_data.h"
#include "train/freeze.h"
#include "train/quantizers/sign_activation.h"

namespace ounce::methods {
namespace {

using ounce::testing::accuracy_on_pictures;
using ounce::testing::deviation;
using ounce::testing::kernels_named;
using ounce::testing::kSmallNormalization;
using ounce::testing::method_of;
using ounce::testing::one_attention;
using ounce::testing::operands;
using ounce::testing::Output;
using ounce::testing::random;
using ounce::testing::small_deit;
using ounce::testing::small_pictures;
using ounce::testing::trained_student;
using ounce::testing::trained_teacher;

// The arms of the experiments.
const std::string kFixed = "scale = \"none\"\nqk_norm = false\nrad = 0\n";
const std::string kLearnedScale = "qk_norm = false\nrad = 0\n";
const std::string kNormalised = "rad = 0\n";
const std::string kRanked = "rad = 1\n";

template <class Kind>
int64_t count_of(const train::Student& student) {
  return std::count_if(student.quantizers.begin(), student.quantizers.end(), [](const auto& entry) {
    return dynamic_cast<const Kind*>(entry.second.get()) != nullptr;
  });
}

TEST(BiVit, EveryBlockIsBinaryAndEndsAreFloat) {
  const train::Student student = method_of("bi-vit")->student(small_deit());
  // 2 blocks of 4 layers and 4 operands of attention.
  EXPECT_EQ(count_of<train::SignActivation>(student), 8);
  EXPECT_EQ(count_of<train::LearnedBinarizer>(student), 8);
  EXPECT_EQ(student.quantizers.size(), 8U + 8 + 8);
  for (const auto& [name, quantizer] : student.quantizers) {
    EXPECT_TRUE(name.starts_with("blocks.") || name.starts_with("Reshape")) << name;
    if (dynamic_cast<train::LearnedBinarizer*>(quantizer.get()) == nullptr) continue;
    EXPECT_EQ(quantizer->parameters().at(0).tensor.numel(), 4) << "a scale a head: " << name;
  }
}

TEST(BiVit, KeysChooseTheArm) {
  const train::Student weights_alone =
      method_of("bi-vit", "activations = 32")->student(small_deit());
  EXPECT_EQ(weights_alone.quantizers.size(), 8U);
  const train::Student plain = method_of("bi-vit", kFixed)->student(small_deit());
  EXPECT_EQ(count_of<train::LearnedBinarizer>(plain), 0);
  EXPECT_EQ(count_of<train::SignActivation>(plain), 16);
  const auto norms = [](const Graph& graph) {
    return std::count_if(graph.nodes.begin(), graph.nodes.end(),
                         [](const Node& node) { return node.op == "LayerNormalization"; });
  };
  const train::Student normalised = method_of("bi-vit", kNormalised)->student(small_deit());
  EXPECT_EQ(norms(normalised.graph), norms(plain.graph) + 4);
  EXPECT_THROW(method_of("bi-vit", "activations = 8"), Error);
  EXPECT_THROW(bi_vit(models::cifar_resnet("small", {.image = 16, .blocks = 1}, 1), {}), Error);
}

// --- One attention ---

train::Module attention_of(const std::string& toml) {
  const train::Student student = method_of("bi-vit", toml)->student(one_attention(Output::kMix));
  train::Module module(student.graph, student.quantizers);
  module.forward(operands());
  module.set_training(false);
  return module;
}

TEST(BiVitAttention, OfPlainSignsDoesNotSeeQueriesAndOfLearnedScalesDoes) {
  const at::NoGradGuard no_grad;
  const auto moves = [](train::Module& module) {
    std::vector<at::Tensor> inputs = operands();
    const at::Tensor before = module.forward(inputs).outputs.at(0);
    inputs[0] = inputs[0] + random(inputs[0].sizes(), 9);
    return !at::equal(before, module.forward(inputs).outputs.at(0));
  };
  train::Module plain = attention_of(kFixed);
  EXPECT_FALSE(moves(plain));
  EXPECT_DOUBLE_EQ(constant_rows(plain.forward(operands(), {"map.quant"}).taps.begin()->second), 1);
  train::Module learned = attention_of(kLearnedScale);
  EXPECT_TRUE(moves(learned));
  EXPECT_LT(constant_rows(learned.forward(operands(), {"map.quant"}).taps.begin()->second), 0.5);
}

TEST(BiVitAttention, RunsOnBitsAsItWasTrained) {
  for (const std::string& arm : {kLearnedScale, kNormalised}) {
    train::Module module = attention_of(arm);
    EXPECT_LT(deviation(module, operands()), 1e-5) << arm;
    engine::SessionOptions options;
    options.profile = true;
    engine::Session session(train::freeze(module), options);
    std::vector<Tensor> inputs;
    for (const at::Tensor& operand : operands()) inputs.push_back(train::from_torch(operand));
    session.run(inputs);
    int64_t bits = 0;
    for (const engine::StepProfile& step : session.profile()) {
      bits += step.kernel.starts_with("attention_bits") ? 1 : 0;
    }
    EXPECT_EQ(bits, 1) << arm;
  }
}

// --- A small DeiT ---

/// Two stages: binary weights first.
train::Module binary_student(TrainedMethod& method, int64_t epochs) {
  static const Graph kFirstStage = [] {
    const auto first = method_of("bi-vit", "activations = 32\nrad = 0\n");
    train::Module module = trained_student(*first, 2);
    EXPECT_GT(accuracy_on_pictures(module), 0.8);
    return train::without_fake_quant(module.graph());
  }();
  return trained_student(method, epochs, kFirstStage);
}

TEST(BiVit, LearnsInTwoStagesAndRunsOnBitsAsItWasTrained) {
  const auto method = method_of("bi-vit", kRanked);
  train::Module module = binary_student(*method, 6);
  EXPECT_GT(accuracy_on_pictures(module), 0.7);
  const Graph frozen = train::freeze(module);
  EXPECT_EQ(kernels_named(frozen, "gemm_bits"), 8);
  EXPECT_EQ(kernels_named(frozen, "attention_bits"), 2);
  // sign(GELU(x)) is sign(x).
  EXPECT_TRUE(std::none_of(frozen.nodes.begin(), frozen.nodes.end(),
                           [](const Node& node) { return node.op == "Gelu"; }));
  // Norms and sums are floats: one within rounding of 0 may get either sign.
  ounce::testing::expect_parity(module, frozen, 4);
}

/// Of a network trained by an arm, on pictures that nobody trained on.
std::map<std::string, double> measures_after(const std::string& toml) {
  const auto method = method_of("bi-vit", toml);
  train::Module module = binary_student(*method, 3);
  train::Module teacher(trained_teacher());
  return method->measures_of(train::normalize(small_pictures(50, 9).images, kSmallNormalization),
                             module, &teacher);
}

TEST(BiVit, LearnedScalesKeepAttentionAliveAndRankingBringsTheTeachersOrder) {
  auto plain = measures_after(kFixed);
  auto normalised = measures_after(kNormalised);
  auto ranked = measures_after("rad = 10\n");
  EXPECT_DOUBLE_EQ(plain["constant_rows"], 1.0);
  EXPECT_LT(normalised["constant_rows"], 0.2);
  EXPECT_GT(ranked["order_agreement"], normalised["order_agreement"] + 0.03);
  // One bit a head, whatever its scale.
  EXPECT_LE(normalised["code_entropy"], 1.0);
}

TEST(BiVit, DistillsTheScoresOfEveryAttention) {
  const auto method = method_of("bi-vit");
  const train::Student student = method->student(trained_teacher());
  const std::vector<std::string> scores = {"blocks.0.attn.scale", "blocks.1.attn.scale"};
  EXPECT_EQ(method->student_taps(student.graph), scores);
  EXPECT_EQ(method->teacher_taps(trained_teacher()), scores);
  train::Module module(student.graph, student.quantizers);
  const train::Module::Result result;
  EXPECT_THROW(method->loss(module, result, nullptr), Error);
  const Graph deeper = models::vit(
      "deeper", {.image = 16, .classes = 4, .patch = 4, .width = 32, .depth = 3, .heads = 4}, 3);
  EXPECT_EQ(method->teacher_taps(deeper).size(), 3U);
  EXPECT_THROW(method->loss(module, result, &result), Error);
  const auto without = method_of("bi-vit", "rad = 0\n");
  EXPECT_TRUE(without->teacher_taps(trained_teacher()).empty());
  EXPECT_FALSE(without->loss(module, result, nullptr).defined());
}

TEST(BiVit, RunsOnTheBitsOfAnExportedVit) {
  OUNCE_REQUIRE_DATA(data);
  Graph graph = formats::read_model(data / "vit_tiny_in1k/vit_tiny_patch16_224.onnx");
  fold_constants(graph, engine::reference::evaluator());
  const train::Student student = bi_vit(graph, {});
  train::Module module(student.graph, student.quantizers);
  const at::NoGradGuard no_grad;
  const at::Tensor picture = random({1, 3, 224, 224}, 1);
  module(picture);
  const Graph frozen = train::freeze(module);
  engine::SessionOptions options;
  options.profile = true;
  engine::Session session(frozen, options);
  const Tensor inputs[] = {train::from_torch(picture)};
  session.run(inputs);
  int64_t layers = 0, maps = 0;
  for (const engine::StepProfile& step : session.profile()) {
    layers += step.kernel.starts_with("gemm_bits") ? 1 : 0;
    maps += step.kernel.starts_with("attention_bits") ? 1 : 0;
  }
  EXPECT_EQ(layers, 48);
  EXPECT_EQ(maps, 12);
}

}  // namespace
}  // namespace ounce::methods
