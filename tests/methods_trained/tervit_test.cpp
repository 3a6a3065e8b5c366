#include "methods/trained/tervit.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "graph/error.h"
#include "graph/operator.h"
#include "tests/methods_trained/small_attention.h"
#include "train/freeze.h"
#include "train/quantizers/running_range.h"
#include "train/quantizers/symmetric.h"
#include "train/quantizers/ternary.h"

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

/// The frozen `small_deit` of a stage with these keys, ranges set by one batch.
Graph frozen_of(const std::string& toml) {
  const train::Student student = method_of("tervit", toml)->student(small_deit());
  train::Module module(student.graph, student.quantizers);
  module(train::normalize(small_pictures(8, 1).images, kSmallNormalization));
  return train::freeze(module);
}

const Value& frozen_value(const Graph& frozen, const std::string& name) {
  return frozen.value(frozen.find_value(name));
}

TEST(Tervit, GivesEndsEightBitsAndBlocksTernaryWeights) {
  const Graph frozen = frozen_of("");
  for (const char* end : {"patch_embed.proj", "head", "head_dist"}) {
    EXPECT_EQ(frozen_value(frozen, end + std::string(".weight_quantized")).dtype, DType::i8) << end;
  }
  for (const char* layer : {"attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"}) {
    const std::string weight = "blocks.1." + std::string(layer) + ".weight";
    const Value& codes = frozen_value(frozen, weight + "_quantized");
    EXPECT_EQ(codes.dtype, DType::i2) << layer;
    const at::Tensor numbers = train::to_torch(codes.constant);
    EXPECT_EQ(numbers.min().item<int>(), -1);
    EXPECT_EQ(numbers.max().item<int>(), 1);
    EXPECT_EQ(frozen_value(frozen, weight + "_scale").constant.size(), codes.constant.shape()[1]);
  }
}

TEST(Tervit, KeysChooseTheArm) {
  const Graph layer = frozen_of("scales = \"layer\"");
  EXPECT_EQ(frozen_value(layer, "blocks.0.mlp.fc1.weight_scale").constant.size(), 1);
  const Graph first_stage = frozen_of("weights = 8");
  EXPECT_EQ(frozen_value(first_stage, "blocks.0.mlp.fc1.weight_quantized").dtype, DType::i8);
  const Graph float_ends = frozen_of("ends = \"float\"");
  EXPECT_EQ(float_ends.find_value("head.weight_quantized"), kNoValue);
  EXPECT_THROW(method_of("tervit", "weights = 4"), Error);
  EXPECT_THROW(method_of("tervit", "weights = \"binary\""), Error);
  EXPECT_THROW(method_of("tervit", "weights = 8\nscales = \"layer\""), Error);
}

TEST(Tervit, ActivationsAroundZeroGetSymmetricGrids) {
  const train::Student student = tervit(small_deit(), {});
  train::Module module(student.graph, student.quantizers);
  module(train::normalize(small_pictures(8, 1).images, kSmallNormalization));
  // Symmetric ones have signed codes.
  const auto lowest = [&](const std::string& value) {
    const train::Grid grid = student.quantizers.at(value + ".quant")->freeze({});
    return std::get<train::AffineGrid>(grid).lowest;
  };
  for (const char* value : {"norm1", "norm2", "attn.softmax", "mlp.act"}) {
    const bool is_norm = std::string(value).starts_with("norm");
    EXPECT_EQ(lowest(std::string("blocks.0.") + value), is_norm ? -128 : 0) << value;
  }
  // 2 blocks of 4 layers and 4 operands of attention, 3 ends (which read pixels and 2 tokens);
  // weights of the 11 layers.
  EXPECT_EQ(student.quantizers.size(), 2U * 8 + 3 + 11);
  int64_t with_signs = 0;
  for (const auto& [name, quantizer] : student.quantizers) {
    if (dynamic_cast<train::RunningRange*>(quantizer.get()) == nullptr) continue;
    with_signs += std::get<train::AffineGrid>(quantizer->freeze({})).lowest < 0 ? 1 : 0;
  }
  // All but the map and the input of fc2 of each block.
  EXPECT_EQ(with_signs, 2 * 6 + 3);
}

TEST(Tervit, AttentionRunsOnCodes) {
  for (const Output output : {Output::kScores, Output::kMix}) {
    const train::Student student = tervit(one_attention(output), {});
    train::Module module(student.graph, student.quantizers);
    module.forward(operands());
    EXPECT_LT(deviation(module, operands()), 1e-5);
    expect_integer_products(train::freeze(module));
  }
}

TEST(Tervit, TernaryProductsAreSumsAndDifferencesOfCodes) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim("rows"), Dim(100)});
  at::Tensor weights = random({100, 24}, 1);
  weights.select(1, 5).zero_();
  const ValueId w = graph.add_constant("w", train::from_torch(weights));
  graph.outputs = {graph.add_node("MatMul", {x, w}, {}, "linear")};
  train::FakeQuantInserter inserter(graph);
  const train::Slices channels = {1, 24};
  const auto range = std::make_shared<train::RunningRange>(train::RunningRangeOptions{});
  const auto ternary =
      std::make_shared<train::Ternary>(train::TernaryOptions{.channels = channels});
  inserter.quantize(0, 0, "x.quant", [&] { return range; });
  inserter.quantize(0, 1, "w.quant", [&] { return ternary; });
  const train::Student student = inserter.finish();
  train::Module module(student.graph, student.quantizers);
  const at::Tensor input = random({7, 100}, 2) + 0.3;
  module(input);

  const at::Tensor codes = ternary->fake_quant(weights, false).sign().to(at::kLong);
  const auto grid = std::get<train::AffineGrid>(range->freeze({}));
  const at::Tensor steps =
      ((input / grid.scale).round().to(at::kLong) + grid.zero_point).clamp(0, 255);
  const at::Tensor sums = at::matmul(steps, codes) - grid.zero_point * codes.sum(0);
  const auto scale = std::get<train::AffineGrid>(ternary->freeze(weights)).scale;
  const at::Tensor expected = sums.to(at::kDouble) * scale * grid.scale;

  const Graph frozen = train::freeze(module);
  expect_integer_products(frozen);
  engine::Session session(frozen);
  const Tensor inputs[] = {train::from_torch(input)};
  const at::Tensor actual = train::to_torch(session.run(inputs).at(0)).to(at::kDouble);
  // Integers are exact; scales are multiplied in f32.
  EXPECT_LT((actual - expected).abs().max().item<double>(),
            1e-6 * expected.abs().max().item<double>());
  EXPECT_EQ(actual.select(1, 5).abs().max().item<double>(), 0.0);
}

TEST(Tervit, TheSecondStageBeginsWithLatentWeights) {
  const auto method = method_of("tervit", "weights = 8");
  const train::Student student = method->student(trained_teacher());
  const train::Module module(student.graph, student.quantizers);
  const Graph carried = train::without_fake_quant(module.graph());
  const std::string name = "blocks.0.mlp.fc1.weight";
  const auto weights = [&](const Graph& graph) {
    return train::to_torch(frozen_value(graph, name).constant);
  };
  EXPECT_TRUE(at::equal(weights(carried), weights(trained_teacher())));
}

TEST(Tervit, RangesStayForTheLastShareOfTheSteps) {
  const auto method = method_of("tervit", "weights = 8\nhold = 0.5");
  const train::Student student = method->student(trained_teacher());
  train::Module module(student.graph, student.quantizers);
  const std::string range = "blocks.0.mlp.act.quant.high";
  std::vector<double> ends;
  const auto report = [&](const train::Progress& /*progress*/) {
    ends.push_back(module.tensor(range).item<double>());
    return true;
  };
  ASSERT_TRUE(
      ounce::testing::train_on_pictures(module, ounce::testing::adamw(1), method.get(), report));
  ASSERT_EQ(ends.size(), 16U);
  EXPECT_NE(ends[6], ends[7]);
  for (size_t step = 8; step < ends.size(); ++step) EXPECT_EQ(ends[step], ends[7]);
  // What a resumed run reads.
  EXPECT_TRUE(module.tensor("blocks.0.mlp.act.quant.held").item<bool>());
}

TEST(Tervit, LearnsInTwoStagesAndRunsInTheEngineAsItWasTrained) {
  const auto first = method_of("tervit", "weights = 8");
  train::Module eight_bits = trained_student(*first, 1);
  EXPECT_GT(accuracy_on_pictures(eight_bits), 0.9);
  const auto second = method_of("tervit");
  train::Module ternary =
      trained_student(*second, 4, train::without_fake_quant(eight_bits.graph()));
  EXPECT_GT(accuracy_on_pictures(ternary), 0.9);

  const Graph frozen = train::freeze(ternary);
  expect_integer_products(frozen);
  // Norms, softmax and sums are floats: one within rounding of the border between two codes may
  // fall to either side.
  // One in fifty may, over so many pictures that chance does not decide.
  constexpr int64_t kPictures = 4000;
  ounce::testing::expect_parity(ternary, frozen, kPictures / 50, kPictures);
}

}  // namespace
}  // namespace ounce::methods
