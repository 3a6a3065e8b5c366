#include <gtest/gtest.h>

#include "methods/trained/attention.h"
#include "models/models.h"
#include "tests/methods_trained/small_attention.h"
#include "train/freeze.h"

// Methods for transformers on windows: attention with biases and masks before its softmax.
namespace ounce::methods {
namespace {

Graph small_swin() {
  return models::swin("small",
                      {.image = 16,
                       .classes = 4,
                       .patch = 2,
                       .window = 4,
                       .width = 16,
                       .depths = {2, 1},
                       .heads = {2, 4},
                       .zero_biases = true},
                      3);
}

TEST(Swin, AttentionsAreFoundWithTheirBiases) {
  const Graph graph = small_swin();
  const std::vector<Attention> found = attentions(graph);
  ASSERT_EQ(found.size(), 3U);
  for (const Attention& one : found) {
    EXPECT_EQ(graph.nodes[static_cast<size_t>(one.q.reader)].op, "MatMul");
    EXPECT_FALSE(one.k.transposed);
  }
  int64_t ends = 0;
  for (const bool end : end_layers(graph)) ends += end ? 1 : 0;
  EXPECT_EQ(ends, 2);
}

TEST(Swin, PositionBiasesAreTrainedAndMasksAreNot) {
  train::Module module(small_swin());
  std::vector<std::string> names;
  for (const train::Parameter& parameter : module.parameters()) names.push_back(parameter.name);
  const auto has = [&](const std::string& part) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return name.find(part) != std::string::npos;
    });
  };
  EXPECT_TRUE(has("layers.0.blocks.1.attn.relative_position_bias_table"));
  EXPECT_FALSE(has("mask"));
  const at::Tensor pixels = ounce::testing::random({4, 3, 16, 16}, 5);
  module({pixels}).square().sum().backward();
  for (const train::Parameter& parameter : module.parameters()) {
    ASSERT_TRUE(parameter.tensor.grad().defined()) << parameter.name;
    EXPECT_TRUE(parameter.tensor.grad().isfinite().all().item<bool>()) << parameter.name;
  }
}

TEST(Swin, QVitTrainsItToIntegersThatTheEngineComputes) {
  at::manual_seed(1);
  train::Module teacher(small_swin());
  ASSERT_TRUE(ounce::testing::train_on_pictures(teacher, ounce::testing::adamw(6)));
  const double in_float = ounce::testing::accuracy_on_pictures(teacher);
  teacher.freeze_parameters();
  const auto method =
      ounce::testing::method_of("q-vit", "weights = 4\nactivations = 4\ndgd = 1.0\n");
  const train::Student student = method->student(teacher.graph());
  train::Module module(student.graph, student.quantizers);
  ASSERT_TRUE(ounce::testing::train_on_pictures(module, ounce::testing::adamw(4), method.get(),
                                                nullptr, &teacher));
  EXPECT_GT(in_float, 0.6);
  EXPECT_GT(ounce::testing::accuracy_on_pictures(module), in_float - 0.2);
  const Graph frozen = train::freeze(module);
  ounce::testing::expect_integer_products(frozen);
  ounce::testing::expect_parity(module, frozen, 4);
  // Scores and mix of each attention: biases lie between the first and its softmax.
  EXPECT_EQ(ounce::testing::kernels_named(frozen, "matmul_u8"), 6);
}

TEST(Swin, BiVitRunsItsWindowsOnBits) {
  at::manual_seed(1);
  train::Module teacher(small_swin());
  ASSERT_TRUE(ounce::testing::train_on_pictures(teacher, ounce::testing::adamw(6)));
  teacher.freeze_parameters();
  const auto method = ounce::testing::method_of("bi-vit", "rad = 1.0\n");
  const train::Student student = method->student(teacher.graph());
  train::Module module(student.graph, student.quantizers);
  ASSERT_TRUE(ounce::testing::train_on_pictures(module, ounce::testing::adamw(4), method.get(),
                                                nullptr, &teacher));
  const Graph frozen = train::freeze(module);
  ounce::testing::expect_parity(module, frozen, 4);
  // Biases, and masks where windows are shifted, join the scores.
  EXPECT_EQ(ounce::testing::kernels_named(frozen, "attention_bits"), 3);
}

}  // namespace
}  // namespace ounce::methods
