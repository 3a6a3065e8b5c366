#include "methods/trained/q_vit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/reference/reference.h"
#include "formats/formats.h"
#include "graph/error.h"
#include "graph/operator.h"
#include "graph/passes/passes.h"
#include "methods/trained/attention.h"
#include "tests/methods_trained/small_attention.h"
#include "tests/support/test_data.h"
#include "train/freeze.h"
#include "train/quantizers/lsq.h"

namespace ounce::methods {
namespace {

using ounce::testing::accuracy_on_pictures;
using ounce::testing::deviation;
using ounce::testing::expect_integer_products;
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

TEST(Irm, GivesEveryTokenOfAHeadTheLearnedMeanAndDeviation) {
  const Graph graph = insert_irm(one_attention(Output::kMix));
  train::Module module(graph);
  const std::vector<std::string> taps = {"scores.q_irm", "scores.k_irm"};
  {
    const at::NoGradGuard no_grad;
    for (const std::string& tap : taps) {
      module.tensor(tap + ".weight").fill_(1.5);
      module.tensor(tap + ".bias").fill_(0.3);
    }
  }
  std::vector<at::Tensor> inputs = operands();
  const auto before = module.forward(inputs, taps).taps;
  for (const std::string& tap : taps) {
    const at::Tensor y = before.at(tap);
    EXPECT_LT((y.mean(-1) - 0.3).abs().max().item<double>(), 1e-6);
    // Variances of 8 normal numbers: eps = 1e-5 takes less than 1e-3 of them.
    EXPECT_LT((y.std(-1, /*unbiased=*/false) - 1.5).abs().max().item<double>(), 1e-3);
  }
  inputs[0] = inputs[0] * 2.5 + 4.0;
  inputs[1] = inputs[1] * 1.7 - 3.0;
  const auto after = module.forward(inputs, taps).taps;
  for (const std::string& tap : taps) {
    EXPECT_LT((after.at(tap) - before.at(tap)).abs().max().item<double>(), 1e-3);
  }
}

TEST(Irm, IsInsertedOnce) {
  const Graph once = insert_irm(one_attention(Output::kMix));
  EXPECT_EQ(insert_irm(once).nodes.size(), once.nodes.size());
}

TEST(Irm, NormalisesRowsOfKeysThatComeTransposed) {
  Graph graph;
  const ValueId q = graph.add_input("q", DType::f32, {Dim(1), Dim(2), Dim(5), Dim(8)});
  const ValueId k = graph.add_input("k", DType::f32, {Dim(1), Dim(2), Dim(8), Dim(5)});
  const ValueId v = graph.add_input("v", DType::f32, {Dim(1), Dim(2), Dim(5), Dim(8)});
  const ValueId scores = graph.add_node("MatMul", {q, k}, {}, "scores");
  const ValueId map = graph.add_node("Softmax", {scores}, {}, "map");
  graph.outputs = {graph.add_node("MatMul", {map, v}, {}, "mix")};
  infer_shapes(graph);
  train::Module module(insert_irm(graph));
  const std::vector<at::Tensor> inputs = {random({1, 2, 5, 8}, 1), random({1, 2, 8, 5}, 2),
                                          random({1, 2, 5, 8}, 3)};
  const at::Tensor keys = module.forward(inputs, {"scores.k_irm.columns"}).taps.begin()->second;
  EXPECT_EQ(keys.sizes(), (at::IntArrayRef{1, 2, 8, 5}));
  EXPECT_LT(keys.mean(-2).abs().max().item<double>(), 1e-6);
}

TEST(Irm, NeedsAnAttention) {
  const Graph resnet = models::cifar_resnet("small", {.image = 16, .blocks = 1}, 1);
  EXPECT_THROW(q_vit(resnet, {}), Error);
}

// --- Codes in the engine ---

/// Every zero point that is learned becomes `value` (which its grid brings into its codes).
void set_zero_points(train::Module& module, double value) {
  const at::NoGradGuard no_grad;
  for (const train::Parameter& parameter : module.parameters()) {
    if (parameter.name.ends_with(".zero_point")) parameter.tensor.fill_(value);
  }
}

struct EngineCase {
  Output output;
  bool per_head;
};

class QVitInTheEngine : public ::testing::TestWithParam<EngineCase> {};

TEST_P(QVitInTheEngine, ComputesWhatTheTrainerDoes) {
  QVitSettings settings;
  settings.per_head = GetParam().per_head;
  train::Student student = q_vit(one_attention(GetParam().output), settings);
  train::Module module(student.graph, student.quantizers);
  const std::vector<at::Tensor> inputs = operands();
  module.forward(inputs);
  set_zero_points(module, 1.0);
  EXPECT_LT(deviation(module, inputs), 1e-4);
  if (!settings.per_head) expect_integer_products(train::freeze(module));
}
INSTANTIATE_TEST_SUITE_P(Products, QVitInTheEngine,
                         ::testing::Values(EngineCase{Output::kScores, false},
                                           EngineCase{Output::kMix, false},
                                           EngineCase{Output::kScores, true},
                                           EngineCase{Output::kMix, true}));

TEST(QVitLinear, RunsOnCodesWithAZeroPoint) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim("rows"), Dim(32)});
  const ValueId w = graph.add_constant("w", train::from_torch(random({32, 16}, 1)));
  graph.outputs = {graph.add_node("MatMul", {x, w}, {}, "linear")};
  train::FakeQuantInserter inserter(graph);
  train::LsqOptions weights{.bits = 4, .slices = {1, 16}};
  train::LsqOptions activations{.bits = 4, .learn_zero_point = true};
  inserter.quantize(0, 0, "x.quant",
                    [&] { return std::make_shared<train::LsqActivation>(activations); });
  inserter.quantize(0, 1, "w.quant", [&] { return std::make_shared<train::LsqWeight>(weights); });
  const train::Student student = inserter.finish();
  train::Module module(student.graph, student.quantizers);
  const std::vector<at::Tensor> inputs = {random({7, 32}, 2)};
  module.forward(inputs);
  set_zero_points(module, -3.0);
  EXPECT_LT(deviation(module, inputs), 1e-4);
  expect_integer_products(train::freeze(module));
}

// --- A small DeiT ---

class QVitBits : public ::testing::TestWithParam<int> {};

TEST_P(QVitBits, LearnsAndRunsInTheEngineAsItWasTrained) {
  train::Module teacher(trained_teacher());
  EXPECT_GT(accuracy_on_pictures(teacher), 0.9);

  const std::string bits = std::to_string(GetParam());
  const auto method =
      method_of("q-vit", "weights = " + bits + "\nactivations = " + bits + "\ndgd = 0.05\n");
  train::Module module = trained_student(*method, 5);
  EXPECT_GT(accuracy_on_pictures(module), 0.85);

  const Graph frozen = train::freeze(module);
  expect_integer_products(frozen);
  // Norms, softmax and sums are floats: one within rounding of the border between two codes may
  // fall to either side, which at few bits is seen in that picture's logits.
  ounce::testing::expect_parity(module, frozen, 2);
}
INSTANTIATE_TEST_SUITE_P(Bits, QVitBits, ::testing::Values(4, 2));

TEST(QVit, GivesEndsEightBitsAndTheRestItsOwn) {
  QVitSettings settings;
  settings.weight_bits = settings.activation_bits = 2;
  train::Student student = q_vit(small_deit(), settings);
  train::Module module(student.graph, student.quantizers);
  module(train::normalize(small_pictures(8, 1).images, kSmallNormalization));
  const Graph frozen = train::freeze(module);
  const auto dtype = [&](const std::string& name) {
    return frozen.value(frozen.find_value(name + "_quantized")).dtype;
  };
  for (const char* end : {"patch_embed.proj.weight", "head.weight", "head_dist.weight"}) {
    EXPECT_EQ(dtype(end), DType::i8) << end;
  }
  for (const char* layer : {"attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"}) {
    EXPECT_EQ(dtype("blocks.1." + std::string(layer) + ".weight"), DType::i2) << layer;
  }
  // 2 blocks of 4 layers and 4 operands of attention, 3 ends; weights of the 11 layers.
  EXPECT_EQ(student.quantizers.size(), 2U * 8 + 3 + 11);
  const auto& map = *student.quantizers.at("blocks.0.attn.softmax.quant");
  EXPECT_EQ(std::get<train::AffineGrid>(map.freeze({})).lowest, 0);
}

TEST(QVit, GivesAttentionBitsOfItsOwn) {
  QVitSettings settings;
  settings.weight_bits = settings.activation_bits = 2;
  settings.attention_bits = 8;
  const train::Student student = q_vit(small_deit(), settings);
  const auto highest = [&](const std::string& value) {
    const auto grid = student.quantizers.at(value + ".quant")->freeze({});
    return std::get<train::AffineGrid>(grid).highest - std::get<train::AffineGrid>(grid).lowest;
  };
  train::Module module(student.graph, student.quantizers);
  module(train::normalize(small_pictures(8, 1).images, kSmallNormalization));
  EXPECT_EQ(highest("blocks.0.attn.softmax"), 255);
  EXPECT_EQ(highest("blocks.0.mlp.act"), 3);
}

TEST(QVit, DistillsWhatItSaysItDoes) {
  const auto method = method_of("q-vit", "dgd = 2\n");
  const Graph& network = trained_teacher();
  const train::Student student = method->student(network);
  const std::vector<std::string> own = method->student_taps(student.graph);
  EXPECT_EQ(own,
            (std::vector<std::string>{"blocks.0.attn.scores.q_irm", "blocks.0.attn.scores.k_irm",
                                      "blocks.1.attn.scores.q_irm", "blocks.1.attn.scores.k_irm"}));
  ASSERT_EQ(method->teacher_taps(network).size(), 4U);
  train::Module module(student.graph, student.quantizers);
  const train::Module::Result result;
  EXPECT_THROW(method->loss(module, result, nullptr), Error);
  const auto without = method_of("q-vit", "dgd = 0\n");
  EXPECT_TRUE(without->teacher_taps(network).empty());
  EXPECT_FALSE(without->loss(module, result, nullptr).defined());
}

/// Distance of q and k from the teacher's on pictures that nobody trained on.
double distance_after(const std::string& dgd) {
  const auto method = method_of("q-vit", "weights = 2\nactivations = 2\ndgd = " + dgd + '\n');
  train::Module module = trained_student(*method, 3);
  module.set_training(false);
  const at::NoGradGuard no_grad;
  const auto measure = method_of("q-vit", "dgd = 1\n");
  const at::Tensor pictures[] = {
      train::normalize(small_pictures(100, 9).images, kSmallNormalization)};
  train::Module teacher(trained_teacher());
  const auto own = module.forward(pictures, measure->student_taps(module.graph()));
  const auto taught = teacher.forward(pictures, measure->teacher_taps(trained_teacher()));
  return measure->loss(module, own, &taught).item<double>();
}

TEST(QVit, DistillationBringsSimilaritiesCloserToTheTeachers) {
  EXPECT_LT(distance_after("0.1"), 0.9 * distance_after("0"));
}

TEST(QVit, FindsTheAttentionOfAnExportedVit) {
  OUNCE_REQUIRE_DATA(data);
  Graph graph = formats::read_model(data / "vit_tiny_in1k/vit_tiny_patch16_224.onnx");
  fold_constants(graph, engine::reference::evaluator());
  ASSERT_EQ(attentions(graph).size(), 12U);
  const std::vector<bool> ends = end_layers(graph);
  EXPECT_EQ(std::count(ends.begin(), ends.end(), true), 2);

  const Graph normalised = insert_irm(graph);
  for (const Attention& attention : attentions(normalised)) {
    const GraphIndex index(normalised);
    for (const AttentionOperand& operand : {attention.q, attention.k}) {
      const Node& node = normalised.nodes[static_cast<size_t>(index.producer(operand.value))];
      EXPECT_EQ(node.op, "LayerNormalization");
      EXPECT_FALSE(operand.transposed);
    }
  }

  train::Student student = q_vit(graph, {});
  // 12 blocks of 4 layers and 4 operands of attention, 2 ends; weights of 50 layers.
  EXPECT_EQ(student.quantizers.size(), 12U * 8 + 2 + 50);
  train::Module module(student.graph, student.quantizers);
  const at::NoGradGuard no_grad;
  const at::Tensor logits = module(random({1, 3, 224, 224}, 1));
  EXPECT_TRUE(logits.isfinite().all().item<bool>());
  const Graph frozen = train::freeze(module);
  expect_integer_products(frozen);
}

}  // namespace
}  // namespace ounce::methods
