#include "methods/trained/synthesis/synthesis.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/session.h"
#include "graph/error.h"
#include "methods/trained/synthesis/picture_losses.h"
#include "tests/quantize/graphs.h"
#include "train/module.h"
#include "train/tensor.h"

namespace ounce::methods {
namespace {

/// Convolution, BatchNormalization of statistics far from those of noise, classifier.
Graph normed_network() {
  quantize::testing::Builder b(1);
  const ValueId x = b.input("x", {1, 3, 16, 16});
  const ValueId features = b.conv(x, 3, 4, 3, "conv");
  const auto constant = [&](const char* name, std::vector<float> values) {
    return b.graph.add_constant(name, Tensor::of(values, {4}));
  };
  const ValueId normed =
      b.op("BatchNormalization",
           {features, constant("gamma", {1, 1, 1, 1}), constant("beta", {0, 0, 0, 0}),
            constant("mean", {0.5F, -0.5F, 0.3F, 0.0F}),
            constant("variance", {0.1F, 0.2F, 0.05F, 0.1F})},
           "norm");
  const ValueId mean = b.op("GlobalAveragePool", {normed}, "pool");
  const ValueId flat = b.op("Flatten", {mean}, "flatten");
  return b.finish({b.linear(flat, 4, 10, "classifier")});
}

SynthesisOptions options_of(const char* goals, int64_t steps) {
  SynthesisOptions options;
  options.goals = picture_goals_from_name(goals);
  options.pictures = 4;
  options.steps = steps;
  options.black = {-2, -2, -2};
  options.white = {2, 2, 2};
  return options;
}

/// Mean over pictures of the highest probability.
double confidence(const Graph& graph, const std::vector<Tensor>& pictures) {
  engine::Session session(graph);
  double sum = 0.0;
  for (const Tensor& picture : pictures) {
    const std::vector<float> logits = session.run({&picture, 1})[0].to_f32();
    double total = 0.0;
    for (const float logit : logits) total += std::exp(static_cast<double>(logit));
    sum += std::exp(*std::max_element(logits.begin(), logits.end())) / total;
  }
  return sum / static_cast<double>(pictures.size());
}

TEST(Synthesis, pictures_show_the_classes_that_they_are_asked_for) {
  const Graph graph = quantize::testing::vit_block();
  const auto noise = synthesize(graph, options_of("noise", 1), {});
  const auto shown = synthesize(graph, options_of("one-hot", 60), {});
  EXPECT_GT(confidence(graph, shown), confidence(graph, noise) + 0.2);
  for (const Tensor& picture : shown) {
    for (const float pixel : picture.to_f32()) {
      EXPECT_LE(std::abs(pixel), 2.0F) << "between black and white";
    }
  }
}

TEST(Synthesis, all_goals_run_and_repeat_for_the_same_seed) {
  const Graph graph = quantize::testing::vit_block();
  for (const char* goals : {"sardfq", "apa", "msr", "apa+sl", "psaq", "one-hot", "noise"}) {
    SynthesisOptions options = options_of(goals, 3);
    const auto first = synthesize(graph, options, {});
    ASSERT_EQ(first.size(), 4U);
    const auto second = synthesize(graph, options, {});
    options.seed = 2;
    const auto other = synthesize(graph, options, {});
    for (size_t i = 0; i < first.size(); ++i) {
      EXPECT_EQ(first[i].to_f32(), second[i].to_f32()) << goals;
      EXPECT_NE(first[i].to_f32(), other[i].to_f32()) << goals;
    }
  }
}

TEST(Synthesis, statistics_of_normalizations_are_approached) {
  const Graph graph = normed_network();
  EXPECT_EQ(goals_for(graph), picture_goals_from_name("batch-norm"));
  const auto mismatch = [&](const char* goals, int64_t steps) {
    train::Module module(graph);
    module.set_training(false);
    const auto norms = norm_statistics(graph);
    std::vector<at::Tensor> pictures;
    for (const Tensor& picture : synthesize(graph, options_of(goals, steps), {})) {
      pictures.push_back(train::to_torch(picture));
    }
    double sum = 0.0;
    for (const at::Tensor& picture : pictures) {
      const auto seen = module.forward({&picture, 1}, {norms[0].input});
      sum += statistics_mismatch(seen.taps, norms).item<double>();
    }
    return sum;
  };
  EXPECT_LT(mismatch("batch-norm", 150), 0.5 * mismatch("noise", 1));
}

TEST(Synthesis, refuses_what_the_network_has_not) {
  const Graph plain = quantize::testing::relu_network();
  EXPECT_THROW(goals_for(plain), Error);
  EXPECT_THROW(synthesize(plain, options_of("apa", 1), {}), Error);
  EXPECT_THROW(synthesize(plain, options_of("batch-norm", 1), {}), Error);
  EXPECT_EQ(goals_for(quantize::testing::vit_block()), picture_goals_from_name("sardfq"));
  quantize::testing::Builder b(1);
  const Graph rows = b.finish({b.linear(b.input("x", {2, 8}), 8, 4, "layer")});
  EXPECT_THROW(synthesize(rows, options_of("one-hot", 1), {}), Error) << "no pictures";
}

TEST(Synthesis, names_of_goals) {
  EXPECT_EQ(picture_goals_from_name("sardfq"), picture_goals_from_name("apa+msr+sl"));
  EXPECT_TRUE(picture_goals_from_name("sl+apa")->soft_labels);
  for (const char* wrong : {"", "auto", "apa+", "apa+psaq", "nothing"}) {
    EXPECT_FALSE(picture_goals_from_name(wrong).has_value()) << wrong;
  }
}

}  // namespace
}  // namespace ounce::methods
