#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "graph/error.h"
#include "models/models.h"
#include "tests/support/tensors.h"

namespace ounce::models {
namespace {

const SwinSpec kMini = {.image = 16,
                        .classes = 5,
                        .patch = 2,
                        .window = 4,
                        .width = 8,
                        .depths = {2, 1},
                        .heads = {2, 4}};

/// A constant by name, as doubles.
std::vector<double> weights(const Graph& graph, const std::string& name) {
  const ValueId id = graph.find_value(name);
  EXPECT_NE(id, kNoValue) << name;
  const std::vector<float> values = graph.constant(id)->to_f32();
  return {values.begin(), values.end()};
}

using Tokens = std::vector<std::vector<double>>;  // [tokens][features]

Tokens linear(const Graph& graph, const std::string& name, const Tokens& x, size_t out) {
  const std::vector<double> weight = weights(graph, name + ".weight");
  const std::vector<double> bias = weights(graph, name + ".bias");
  Tokens y(x.size(), bias);
  for (size_t t = 0; t < x.size(); ++t) {
    for (size_t i = 0; i < x[t].size(); ++i) {
      for (size_t o = 0; o < out; ++o) y[t][o] += x[t][i] * weight[i * out + o];
    }
  }
  return y;
}

/// Attention of the shifted-window block `name` over a picture of `side` x `side` tokens, token by
/// token: a token sees those that its window holds once the picture is rolled by `shift`, unless
/// the roll brought them there from across a border; biases go by distance. No picture is rolled
/// and no window cut out.
Tokens attention(const Graph& graph, const std::string& name, const Tokens& x, int64_t side,
                 int64_t window, int64_t shift, size_t heads) {
  const size_t width = x[0].size();
  const size_t head_dim = width / heads;
  const Tokens qkv = linear(graph, name + ".qkv", x, 3 * width);
  const std::vector<double> table = weights(graph, name + ".relative_position_bias_table");
  const auto count = static_cast<int64_t>(x.size());
  const auto rolled = [&](int64_t at) { return (at - shift + side) % side; };
  const auto together = [&](int64_t a, int64_t b) {
    return rolled(a) / window == rolled(b) / window &&
           std::abs(a - b) < window;  // else a border lies between them
  };
  Tokens y(x.size(), std::vector<double>(width));
  for (int64_t t = 0; t < count; ++t) {
    for (size_t h = 0; h < heads; ++h) {
      std::vector<double> map(x.size());
      for (int64_t s = 0; s < count; ++s) {
        const int64_t down = t / side - s / side;
        const int64_t right = t % side - s % side;
        if (!together(t / side, s / side) || !together(t % side, s % side)) continue;
        const int64_t row = (down + window - 1) * (2 * window - 1) + right + window - 1;
        double score = 0;
        for (size_t d = h * head_dim; d < (h + 1) * head_dim; ++d) {
          score += qkv[static_cast<size_t>(t)][d] * qkv[static_cast<size_t>(s)][width + d];
        }
        map[static_cast<size_t>(s)] = std::exp(score / std::sqrt(static_cast<double>(head_dim)) +
                                               table[static_cast<size_t>(row) * heads + h]);
      }
      const double sum = std::accumulate(map.begin(), map.end(), 0.0);
      for (size_t s = 0; s < map.size(); ++s) {
        for (size_t d = h * head_dim; d < (h + 1) * head_dim; ++d) {
          y[static_cast<size_t>(t)][d] += map[s] / sum * qkv[s][2 * width + d];
        }
      }
    }
  }
  return linear(graph, name + ".proj", y, width);
}

/// What `name` makes of its normalised input in the network, and what the formula says. The tokens
/// are those of the first picture.
void expect_attention(const std::string& block, int64_t side, int64_t shift, size_t heads) {
  Graph graph = swin("mini", kMini, 3);
  const auto output_of = [&](const std::string& node_name) {
    for (const Node& node : graph.nodes) {
      if (node.name == node_name) return node.output(0);
    }
    ADD_FAILURE() << node_name;
    return kNoValue;
  };
  // The sum behind attention, less what was added to: the block's input, another sum or the norm.
  const ValueId before = output_of(block + ".norm1");
  const ValueId sum = output_of(block + ".add1");
  ValueId added_to = kNoValue;
  for (const Node& node : graph.nodes) {
    if (node.name == block + ".add1") added_to = node.input(0);
  }
  graph.outputs = {before, sum, added_to};
  const std::vector<Tensor> inputs = {ounce::testing::random_tensor({2, 3, 16, 16}, 8)};
  const std::vector<Tensor> seen = engine::reference::run(graph, inputs);
  const auto width = static_cast<size_t>(seen[0].shape()[2]);
  const auto count = static_cast<size_t>(side * side);
  const std::vector<float> x = seen[0].to_f32(), y = seen[1].to_f32(), base = seen[2].to_f32();
  Tokens tokens(count);
  for (size_t t = 0; t < count; ++t) {
    tokens[t].assign(x.begin() + static_cast<std::ptrdiff_t>(t * width),
                     x.begin() + static_cast<std::ptrdiff_t>((t + 1) * width));
  }
  const Tokens expected = attention(graph, block + ".attn", tokens, side, 4, shift, heads);
  for (size_t t = 0; t < count; ++t) {
    for (size_t d = 0; d < width; ++d) {
      const double actual = double{y[t * width + d]} - base[t * width + d];
      ASSERT_NEAR(actual, expected[t][d], 2e-5) << block << " token " << t << " feature " << d;
    }
  }
}

TEST(Swin, AttentionStaysWithinWindows) {
  expect_attention("layers.0.blocks.0", 8, 0, 2);
}

TEST(Swin, ShiftedWindowsDoNotSeeAcrossTheBorder) {
  expect_attention("layers.0.blocks.1", 8, 2, 2);
}

TEST(Swin, MergingPutsFourNeighboursSideBySide) {
  Graph graph =
      swin("mini",
           {.image = 8, .patch = 2, .window = 2, .width = 4, .depths = {1, 1}, .heads = {1, 1}}, 3);
  ValueId merged = kNoValue, tokens = kNoValue;
  for (const Node& node : graph.nodes) {
    if (node.name == "layers.0.downsample.norm") merged = node.input(0);
    if (node.name == "layers.0.blocks.0.add2") tokens = node.output(0);
  }
  graph.outputs = {tokens, merged};
  const std::vector<Tensor> inputs = {ounce::testing::random_tensor({1, 3, 8, 8}, 8)};
  const std::vector<Tensor> seen = engine::reference::run(graph, inputs);
  ASSERT_EQ(seen[1].shape(), (Shape{1, 4, 16}));
  const std::vector<float> x = seen[0].to_f32(), y = seen[1].to_f32();
  // Token (1, 1) of four: the rows 2 and 3, columns 2 and 3; down before right.
  const size_t neighbours[] = {2 * 4 + 2, 3 * 4 + 2, 2 * 4 + 3, 3 * 4 + 3};
  for (size_t i = 0; i < 16; ++i) EXPECT_EQ(y[3 * 16 + i], x[neighbours[i / 4] * 4 + i % 4]) << i;
}

TEST(Swin, EngineGivesWhatTheGraphMeansOnAttentionKernels) {
  const Graph graph = swin("mini", kMini, 3);
  const std::vector<Tensor> inputs = {ounce::testing::random_tensor({2, 3, 16, 16}, 8)};
  engine::SessionOptions options;
  options.profile = true;
  engine::Session session(graph, options);
  EXPECT_TRUE(ounce::testing::close(session.run(inputs)[0],
                                    engine::reference::run(graph, inputs)[0], 1e-5));
  int64_t fused = 0;
  for (const engine::StepProfile& step : session.profile()) {
    EXPECT_FALSE(step.kernel.starts_with("reference")) << step.name;
    fused += step.kernel.starts_with("attention_f32") ? 1 : 0;
  }
  EXPECT_EQ(fused, 3);
}

TEST(Swin, WhatDoesNotFitIsNamed) {
  const auto message = [](const SwinSpec& spec) {
    try {
      swin("wrong", spec, 1);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  SwinSpec spec = kMini;
  spec.window = 5;
  EXPECT_NE(message(spec).find("window"), std::string::npos);
  spec = kMini;
  spec.patch = 5;
  EXPECT_NE(message(spec).find("patch"), std::string::npos);
  spec = kMini;
  spec.heads = {2};
  EXPECT_NE(message(spec).find("heads"), std::string::npos);
  spec = kMini;
  spec.depths = spec.heads = {1, 1, 1, 1, 1};
  EXPECT_NE(message(spec).find("merged"), std::string::npos);
}

}  // namespace
}  // namespace ounce::models
