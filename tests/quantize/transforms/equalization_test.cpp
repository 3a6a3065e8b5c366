#include "quantize/transforms/equalization.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "quantize/plan/plan.h"
#include "quantize/quantizer.h"
#include "tests/quantize/transforms/checks.h"

namespace ounce::quantize {
namespace {

using testing::Builder;

/// Two convolutions with a depthwise one between, ranges of channels up to `spread` apart, and a
/// classifier behind a mean. `function` stands between the first two.
Graph chain(float spread, std::string_view function = "Relu") {
  constexpr int64_t kChannels = 8;
  Builder b(17);
  const ValueId image = b.input("image", {1, 3, 12, 12});
  ValueId x = b.conv(image, 3, kChannels, 3, "first");
  if (function == "Clip") {
    x = b.op("Clip",
             {x, b.graph.add_constant("low", Tensor::scalar(0.0F)),
              b.graph.add_constant("high", Tensor::scalar(6.0F))},
             "act1");
  } else if (function == "PRelu") {
    x = b.op("PRelu", {x, b.graph.add_constant("slope", b.random({kChannels, 1, 1}, 0.3F))},
             "act1");
  } else {
    x = b.op(function, {x}, "act1");
  }
  x = b.op("Relu", {b.conv(x, kChannels, kChannels, 3, "depthwise", 1, kChannels)}, "act2");
  x = b.op("Relu", {b.conv(x, kChannels, 6, 1, "point")}, "act3");
  x = b.op("Flatten", {b.op("GlobalAveragePool", {x}, "mean")}, "flat");
  const ValueId w = b.graph.add_constant("fc.weight", b.random({5, 6}, 0.4F));
  AttributeMap gemm;
  gemm.set("transB", int64_t{1});
  Graph graph = b.finish({b.op("Gemm", {x, w}, "fc", gemm)});
  // Channel c of the first layer is larger by a factor, and read with weights that are smaller.
  const auto scale = [&](std::string_view name, int64_t channels, bool up) {
    Tensor& weights = graph.value(graph.find_value(name)).constant;
    const int64_t each = weights.size() / channels;
    for (int64_t i = 0; i < weights.size(); ++i) {
      const float factor = std::pow(spread, static_cast<float>(i / each) / 7.0F);
      weights.mutable_data<float>()[static_cast<size_t>(i)] *= up ? factor : 1.0F / factor;
    }
  };
  scale("first.weight", kChannels, true);
  scale("depthwise.weight", kChannels, false);
  return graph;
}

TEST(EqualizedPairs, are_joined_by_functions_that_scale) {
  const auto pairs_of = [](const Graph& graph) {
    std::vector<std::string> names;
    for (const EqualizedPair& pair : equalized_pairs(graph)) {
      names.push_back(graph.nodes[static_cast<size_t>(pair.first)].name + "-" +
                      graph.nodes[static_cast<size_t>(pair.second)].name);
    }
    return names;
  };
  const std::vector<std::string> all = {"first-depthwise", "depthwise-point", "point-fc"};
  const std::vector<std::string> later = {"depthwise-point", "point-fc"};
  for (const auto* function : {"Relu", "LeakyRelu", "PRelu", "Identity"}) {
    EXPECT_EQ(pairs_of(chain(1.0F, function)), all) << function;
  }
  for (const auto* function : {"Clip", "Sigmoid", "HardSwish"}) {
    EXPECT_EQ(pairs_of(chain(1.0F, function)), later) << function;
  }
}

TEST(EqualizedPairs, have_one_reader_each) {
  // A residual addition reads what the stem makes, too; inside of blocks there are pairs.
  const Graph graph = testing::relu_network();
  std::vector<std::string> firsts;
  for (const EqualizedPair& pair : equalized_pairs(graph)) {
    firsts.push_back(graph.nodes[static_cast<size_t>(pair.first)].name);
  }
  EXPECT_EQ(firsts, (std::vector<std::string>{"block1.conv1", "block2.conv1", "depthwise"}));
}

TEST(Equalization, ranges_of_both_layers_become_alike) {
  Graph graph = chain(100.0F);
  const std::vector<EqualizedPair> pairs = equalized_pairs(graph);
  const auto scales = equalizing_scales(graph, pairs);
  const Graph before = graph;
  for (size_t i = 0; i < pairs.size(); ++i) scale_pair(graph, pairs[i], scales[i]);
  EXPECT_LT(testing::largest_difference(before, graph), 1e-5);
  // Settled: another round finds nothing to do.
  for (const auto& again : equalizing_scales(graph, pairs)) {
    for (const float scale : again) EXPECT_NEAR(scale, 1.0F, 0.01F);
  }
  // In the paper's own words: r1 = r2 in every channel.
  const auto first = graph.value(graph.find_value("first.weight")).constant.to_f32();
  const auto second = graph.value(graph.find_value("depthwise.weight")).constant.to_f32();
  const auto largest = [](const std::vector<float>& weights, size_t channel, size_t each) {
    float most = 0.0F;
    for (size_t i = 0; i < each; ++i) most = std::max(most, std::abs(weights[channel * each + i]));
    return most;
  };
  for (size_t c = 0; c < 8; ++c) {
    EXPECT_NEAR(largest(first, c, 27) / largest(second, c, 9), 1.0F, 0.01F) << c;
  }
}

QuantizeResult quantized(const Graph& graph, bool equalize, Granularity granularity) {
  std::vector<std::vector<Tensor>> runs;
  for (unsigned i = 0; i < 8; ++i) runs.push_back(testing::random_inputs(graph, i));
  TensorSource source(std::move(runs));
  Options options;
  options.layer.weights.granularity = granularity;
  options.transforms.equalize = equalize;
  return quantize(graph, options, source);
}

double output_sqnr(const Graph& exact, const Graph& other) {
  double signal = 0.0;
  double noise = 0.0;
  for (unsigned seed = 50; seed < 54; ++seed) {
    const auto inputs = testing::random_inputs(exact, seed);
    const Tensor expected = engine::reference::run(exact, inputs)[0];
    const Tensor actual = engine::reference::run(other, inputs)[0];
    const auto a = expected.data<float>();
    const auto b = actual.data<float>();
    for (size_t i = 0; i < a.size(); ++i) {
      signal += static_cast<double>(a[i]) * a[i];
      noise += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    }
  }
  return 10.0 * std::log10(signal / noise);
}

TEST(Equalization, saves_weights_with_one_scale_a_tensor) {
  const Graph graph = chain(300.0F);
  const QuantizeResult plain = quantized(graph, false, Granularity::kTensor);
  const QuantizeResult equal = quantized(graph, true, Granularity::kTensor);
  ASSERT_EQ(equal.transforms.size(), 3U);
  EXPECT_TRUE(equal.transforms[0].kept);
  EXPECT_EQ(equal.transforms[0].kind, "equalization");
  EXPECT_LT(testing::largest_difference(graph, equal.prepared), 1e-5);
  EXPECT_GT(output_sqnr(graph, equal.graph), output_sqnr(graph, plain.graph) + 6.0);
}

TEST(Equalization, is_undone_where_it_does_not_pay) {
  const Graph graph = chain(1.0F);
  const QuantizeResult equal = quantized(graph, true, Granularity::kChannel);
  for (const TransformRecord& record : equal.transforms) {
    EXPECT_EQ(record.kept, record.after_db > record.before_db) << record.node;
  }
}

}  // namespace
}  // namespace ounce::quantize
