#include "methods/trained/synthesis/attention_priors.h"

#include <gtest/gtest.h>

#include "tests/quantize/graphs.h"

namespace ounce::methods {
namespace {

/// Six blocks of which only the deep half counts.
std::vector<PatchAttention> blocks(int count, int64_t side, int64_t others) {
  std::vector<PatchAttention> list;
  for (int l = 0; l < count; ++l) {
    list.push_back({"map" + std::to_string(l), side * side + others, side,
                    static_cast<double>(l + 1) / count});
  }
  return list;
}

at::Tensor random_map(int64_t pictures, int64_t heads, int64_t tokens, uint64_t seed) {
  at::manual_seed(seed);
  return at::softmax(at::randn({pictures, heads, tokens, tokens}), -1);
}

TEST(AttentionPriors, mixtures_are_positive_sum_to_one_and_differ) {
  std::mt19937_64 random(3);
  const at::Tensor first = random_mixture(14, random);
  const at::Tensor second = random_mixture(14, random);
  EXPECT_NEAR(first.sum().item<double>(), 1.0, 1e-5);
  EXPECT_GT(first.min().item<double>(), 0.0);
  EXPECT_GT((first - second).abs().max().item<double>(), 1e-4);
}

TEST(AttentionPriors, read_the_row_of_the_class_token_or_the_mean_of_all) {
  const at::Tensor map = random_map(2, 3, 10, 1);
  const PatchAttention with_class = {"map", 10, 3, 1.0};
  EXPECT_TRUE(at::allclose(attention_to_patches(map, with_class),
                           map.select(2, 0).narrow(2, 1, 9).reshape({6, 9})));
  const at::Tensor windows = random_map(8, 3, 9, 2);
  const PatchAttention without = {"map", 9, 3, 1.0};
  EXPECT_TRUE(
      at::allclose(attention_to_patches(windows, without), windows.mean(2).reshape({24, 9})));
}

TEST(AttentionPriors, only_the_deep_half_counts_each_with_its_weight) {
  AttentionPriors priors(blocks(6, 3, 1), 2, 1);
  EXPECT_EQ(priors.taps(), (std::vector<std::string>{"map2", "map3", "map4", "map5"}));
  // l = 3 .. 6 of 6: half of the depth and more.
}

TEST(AttentionPriors, loss_and_gradient_vanish_where_maps_are_the_priors) {
  AttentionPriors priors(blocks(1, 3, 1), 1, 5);
  std::map<std::string, at::Tensor> maps = {{"map0", random_map(1, 2, 10, 3)}};
  const double before = priors.loss(maps, 0, 1).item<double>();
  EXPECT_GT(before, 0.0);
  // The priors are drawn by now: descend to them along the gradient, whose rows are linear.
  at::Tensor map = maps.at("map0").clone().set_requires_grad(true);
  for (int step = 0; step < 200; ++step) {
    maps["map0"] = map;
    const at::Tensor loss = priors.loss(maps, 0, 1);
    map.mutable_grad() = at::Tensor();
    loss.backward();
    map = (map - 0.03 * map.grad()).detach().set_requires_grad(true);
  }
  maps["map0"] = map;
  const at::Tensor after = priors.loss(maps, 0, 1);
  map.mutable_grad() = at::Tensor();
  after.backward();
  EXPECT_LT(after.item<double>(), 1e-6 * before);
  EXPECT_LT(map.grad().abs().max().item<double>(), 1e-3);
}

TEST(AttentionPriors, gradient_is_two_p_times_the_difference_on_the_class_row) {
  AttentionPriors priors(blocks(1, 2, 1), 1, 5);
  at::Tensor map = random_map(1, 1, 5, 4).set_requires_grad(true);
  priors.loss({{"map0", map}}, 0, 1).backward();
  const at::Tensor gradient = map.grad()[0][0];
  EXPECT_EQ(gradient.narrow(0, 1, 4).abs().max().item<float>(), 0.0F) << "other queries";
  EXPECT_EQ(gradient[0][0].item<float>(), 0.0F) << "attention to the class token itself";
  // Priors have the mass of the row, so that differences add up to nothing.
  EXPECT_NEAR(gradient[0].narrow(0, 1, 4).sum().item<double>(), 0.0, 1e-5);
}

TEST(AttentionPriors, finds_the_attention_of_a_transformer) {
  const Graph graph = quantize::testing::vit_block();
  const auto names = attention_maps(graph);
  ASSERT_EQ(names.size(), 1U);
  const auto found = patch_attentions(graph, {{names[0], random_map(1, 2, 17, 1)}});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].side, 4);
  EXPECT_EQ(found[0].others(), 1);
  EXPECT_DOUBLE_EQ(found[0].weight, 1.0);
  const at::Tensor cross = at::zeros({1, 2, 5, 17});
  EXPECT_TRUE(patch_attentions(graph, {{names[0], cross}}).empty()) << "not between patches";
}

}  // namespace
}  // namespace ounce::methods
