#include "quantize/transforms/window_trial.h"
#include "quantize/decibels.h"

#include <gtest/gtest.h>

#include "tests/quantize/transforms/checks.h"

namespace ounce::quantize {
namespace {

using testing::Builder;

/// Strided, padded and depthwise convolutions, then a linear layer.
Graph layers() {
  Builder b(41);
  const ValueId image = b.input("image", {1, 3, 9, 9});
  ValueId x = b.conv(image, 3, 6, 3, "strided", 2);
  x = b.conv(x, 6, 6, 3, "depthwise", 1, 6);
  x = b.op("Flatten", {b.op("GlobalAveragePool", {x}, "mean")}, "flat");
  return b.finish({b.linear(x, 6, 4, "linear")});
}

TensorSource source_for(const Graph& graph) {
  std::vector<std::vector<Tensor>> runs;
  for (unsigned i = 0; i < 4; ++i) runs.push_back(testing::random_inputs(graph, i));
  return TensorSource(std::move(runs));
}

TEST(WindowTrials, know_every_kind_of_layer_and_scales_that_are_undone_cost_nothing) {
  const Graph graph = layers();
  TensorSource source = source_for(graph);
  const WindowTrials trials(graph, {0, 1, 2, 3, 4, 5}, source, 1, {});
  LayerSettings exact;
  exact.float_activations = exact.float_weights = true;
  const std::vector<float> six = {0.1F, 1.0F, 3.0F, 7.0F, 0.5F, 20.0F};
  int seen = 0;
  for (int i = 0; i < static_cast<int>(graph.nodes.size()); ++i) {
    const auto plain = trials.strength(i, exact, {}, {});
    if (!plain) continue;
    ++seen;
    EXPECT_GT(plain->signal, 0.0);
    EXPECT_LT(plain->noise, 1e-10 * plain->signal);
    const bool first = graph.nodes[static_cast<size_t>(i)].name == "strided";
    const bool last = graph.nodes[static_cast<size_t>(i)].op == "MatMul";
    const std::span<const float> scales = six;
    const std::span<const float> none;
    const auto scaled = trials.strength(i, exact, first ? none : scales, last ? none : scales);
    EXPECT_LT(scaled->noise, 1e-10 * scaled->signal) << graph.nodes[static_cast<size_t>(i)].name;
  }
  EXPECT_EQ(seen, 3);
}

TEST(WindowTrials, fewer_bits_lose_more) {
  const Graph graph = layers();
  TensorSource source = source_for(graph);
  const WindowTrials trials(graph, {0}, source, 1, {});
  double before = 1e9;
  for (const int bits : {8, 6, 4}) {
    LayerSettings settings;
    settings.weights.bits = settings.activation_bits = bits;
    const Strength strength = *trials.strength(0, settings, {}, {});
    const double quality = decibels(strength.signal, strength.noise);
    EXPECT_LT(quality, before - 6.0) << bits;
    EXPECT_GT(quality, 4.0 * bits - 6.0) << bits;
    before = quality;
  }
}

}  // namespace
}  // namespace ounce::quantize
