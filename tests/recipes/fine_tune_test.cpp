#include "recipes/fine_tune.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "formats/ounce_file/safetensors.h"
#include "graph/error.h"
#include "models/models.h"
#include "tests/support/test_data.h"

namespace ounce::recipes {
namespace {

constexpr int64_t kWidth = 8;

Graph small_vit(int64_t image, int64_t classes, bool distilled, uint64_t seed) {
  return models::vit("small",
                     {.image = image,
                      .classes = classes,
                      .patch = 4,
                      .width = kWidth,
                      .depth = 1,
                      .heads = 2,
                      .distilled = distilled},
                     seed);
}

const Tensor& weight(const Graph& graph, const std::string& name) {
  return graph.value(graph.find_value(name)).constant;
}

class FineTune : public ::testing::Test {
 protected:
  FineTune() { source_.weights = folder_.path() / "weights.safetensors"; }
  /// The weights of a network as PyTorch keeps them.
  void write(const Graph& graph, const std::string& prefix = "") {
    std::map<std::string, Tensor> tensors;
    for (const Value& value : graph.values) {
      if (!value.is_constant() || value.dtype != DType::f32 || value.constant.size() < 2) continue;
      const bool is_matrix = value.constant.rank() == 2;
      tensors[prefix + value.name] = is_matrix ? transposed(value.constant) : value.constant;
    }
    std::vector<formats::SafetensorsEntry> entries;
    for (const auto& [name, tensor] : tensors) {
      entries.push_back({name, tensor.dtype(), tensor.shape(), {tensor.raw(), tensor.bytes()}});
    }
    formats::write_safetensors({}, entries, source_.weights);
  }
  static Tensor transposed(const Tensor& matrix) {
    Tensor result(DType::f32, {matrix.shape()[1], matrix.shape()[0]});
    for (int64_t i = 0; i < matrix.size(); ++i) {
      const int64_t row = i / matrix.shape()[1];
      const int64_t column = i % matrix.shape()[1];
      result.mutable_data<float>()[static_cast<size_t>(column * matrix.shape()[0] + row)] =
          matrix.data<float>()[static_cast<size_t>(i)];
    }
    return result;
  }
  std::string message(Graph graph, int64_t classes) {
    try {
      take_weights(graph, source_, classes);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  ounce::testing::TemporaryFolder folder_;
  ModelSource source_;
};

TEST_F(FineTune, TheSameNetworkHasTheSameWeights) {
  const Graph from = small_vit(16, 5, false, 1);
  write(from);
  Graph to = small_vit(16, 5, false, 2);
  take_weights(to, source_, 5);
  for (const char* name : {"pos_embed", "head.weight", "blocks.0.attn.qkv.weight", "norm.bias"}) {
    EXPECT_EQ(weight(to, name).to_f32(), weight(from, name).to_f32()) << name;
  }
}

TEST_F(FineTune, OtherClassesKeepWhatTheyWereBuiltWith) {
  const Graph from = small_vit(16, 5, false, 1);
  write(from);
  const Graph built = small_vit(16, 7, false, 2);
  Graph to = built;
  take_weights(to, source_, 7);
  EXPECT_EQ(weight(to, "head.weight").to_f32(), weight(built, "head.weight").to_f32());
  EXPECT_EQ(weight(to, "head.bias").to_f32(), weight(built, "head.bias").to_f32());
  EXPECT_EQ(weight(to, "norm.weight").to_f32(), weight(from, "norm.weight").to_f32());
}

TEST_F(FineTune, PositionsAreResizedAsAPicture) {
  Graph from = small_vit(32, 5, false, 1);
  // A class token of 7; patches whose first channel grows from left to right, the others constant.
  Tensor& positions = from.value(from.find_value("pos_embed")).constant;
  const std::span<float> values = positions.mutable_data<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    const auto token = static_cast<int64_t>(i) / kWidth;
    const auto column = static_cast<float>((token - 1) % 8);
    values[i] = token == 0 ? 7.0F : i % kWidth == 0 ? column : 3.0F;
  }
  write(from);
  Graph to = small_vit(16, 5, false, 2);
  take_weights(to, source_, 5);
  const std::vector<float> resized = weight(to, "pos_embed").to_f32();
  ASSERT_EQ(resized.size(), size_t{17 * kWidth});
  for (size_t token = 0; token < 17; ++token) {
    const float* row = resized.data() + token * kWidth;
    EXPECT_NEAR(row[1], token == 0 ? 7.0F : 3.0F, 1e-5F);
    // Places of the smaller grid lie between two of the larger one.
    const size_t column = (token - 1) % 4;
    if (token > 0 && (column == 1 || column == 2)) {
      EXPECT_NEAR(row[0], 2.0F * static_cast<float>(column) + 0.5F, 0.1F);
    }
  }
}

TEST_F(FineTune, ADistillationTokenBeginsAsTheClassToken) {
  const Graph from = small_vit(16, 5, false, 1);
  write(from, "model.");
  source_.weights_prefix = "model.";
  const Graph built = small_vit(16, 5, true, 2);
  Graph to = built;
  take_weights(to, source_, 5);
  EXPECT_EQ(weight(to, "dist_token").to_f32(), weight(from, "cls_token").to_f32());
  EXPECT_EQ(weight(to, "head_dist.weight").to_f32(), weight(built, "head_dist.weight").to_f32());
  const std::vector<float> before = weight(from, "pos_embed").to_f32();
  const std::vector<float> after = weight(to, "pos_embed").to_f32();
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + kWidth, after.begin() + kWidth));
  EXPECT_TRUE(std::equal(before.begin() + kWidth, before.end(), after.begin() + 2 * kWidth));
}

TEST_F(FineTune, WhatDoesNotFitIsNamed) {
  write(small_vit(16, 5, false, 1));
  const Graph deeper = models::vit(
      "deeper", {.image = 16, .classes = 5, .patch = 4, .width = kWidth, .depth = 2, .heads = 2},
      2);
  EXPECT_NE(message(deeper, 5).find("blocks.1."), std::string::npos);
  EXPECT_NE(message(deeper, 5).find("weights.safetensors"), std::string::npos);
  const Graph other_patches = models::vit(
      "patches", {.image = 16, .classes = 5, .patch = 2, .width = kWidth, .depth = 1, .heads = 2},
      2);
  EXPECT_NE(message(other_patches, 5).find("patch_embed.proj.weight"), std::string::npos);
  source_.weights = folder_.path() / "none.safetensors";
  EXPECT_NE(message(deeper, 5).find("none.safetensors"), std::string::npos);
}

}  // namespace
}  // namespace ounce::recipes
