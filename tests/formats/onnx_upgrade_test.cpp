// Files of older opsets, read and run: what their operators meant then must come out.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/reference/reference.h"
#include "formats/onnx/onnx.h"
#include "tests/formats/expect_error.h"
#include "tests/formats/onnx_model.h"
#include "tests/support/tensors.h"

namespace ounce::formats {
namespace {

using ::ounce::testing::close;
using ::ounce::testing::random_tensor;

std::vector<Tensor> run(const OnnxModel& model, const Tensor& x) {
  const Graph graph = model.read();
  return engine::reference::run(graph, std::span(&x, 1));
}

Tensor iota(Shape shape) {
  Tensor tensor(DType::f32, std::move(shape));
  float value = 0;
  for (float& element : tensor.mutable_data<float>()) element = value++;
  return tensor;
}

onnx::NodeProto& node_of(OnnxModel& model) {
  return *model.graph().mutable_node(0);
}

TEST(OnnxUpgrade, SqueezeAndUnsqueezeAxesBecomeInputs) {
  OnnxModel model(11);
  model.input("x", {1, 3}).output("y", {3, 1});
  OnnxModel::set(model.node("Squeeze", {"x"}, {"t"}), "axes", std::vector<int64_t>{0});
  OnnxModel::set(model.node("Unsqueeze", {"t"}, {"y"}), "axes", std::vector<int64_t>{1});
  EXPECT_EQ(run(model, iota({1, 3}))[0].shape(), (Shape{3, 1}));
}

class OnnxReductions : public ::testing::TestWithParam<const char*> {};

TEST_P(OnnxReductions, AxesBecomeAnInput) {
  OnnxModel model = one_node_model(11, GetParam(), {2, 3});
  OnnxModel::set(node_of(model), "axes", std::vector<int64_t>{1});
  const Graph graph = model.read();
  EXPECT_FALSE(graph.nodes[0].attributes.has("axes"));
  ASSERT_NE(graph.constant(graph.nodes[0].input(1)), nullptr);
  EXPECT_EQ(run(model, iota({2, 3}))[0].shape(), (Shape{2, 1}));
}

INSTANTIATE_TEST_SUITE_P(All, OnnxReductions,
                         ::testing::Values("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin",
                                           "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
                                           "ReduceLogSum", "ReduceLogSumExp"));

TEST(OnnxUpgrade, SplitSizesBecomeAnInputAndEqualPartsTheirNumber) {
  OnnxModel sized(11);
  sized.input("x", {2, 5}).output("a", {2, 2}).output("b", {2, 3});
  auto& node = sized.node("Split", {"x"}, {"a", "b"});
  OnnxModel::set(node, "axis", int64_t{1});
  OnnxModel::set(node, "split", std::vector<int64_t>{2, 3});
  const auto parts = run(sized, iota({2, 5}));
  EXPECT_EQ(parts[1].to_f32(), (std::vector<float>{2, 3, 4, 7, 8, 9}));

  OnnxModel equal(13);
  equal.input("x", {4}).output("a", {2}).output("b", {2});
  equal.node("Split", {"x"}, {"a", "b"});
  EXPECT_EQ(run(equal, iota({4}))[1].to_f32(), (std::vector<float>{2, 3}));
}

TEST(OnnxUpgrade, OldSliceTopKPadAndClipTakeTheirAttributes) {
  OnnxModel slice = one_node_model(9, "Slice", {2, 4});
  OnnxModel::set(node_of(slice), "starts", std::vector<int64_t>{1});
  OnnxModel::set(node_of(slice), "ends", std::vector<int64_t>{3});
  OnnxModel::set(node_of(slice), "axes", std::vector<int64_t>{1});
  EXPECT_EQ(run(slice, iota({2, 4}))[0].to_f32(), (std::vector<float>{1, 2, 5, 6}));

  OnnxModel top(9);
  top.input("x", {4}).output("v", {2}).output("i", {2}, 7);
  OnnxModel::set(top.node("TopK", {"x"}, {"v", "i"}), "k", int64_t{2});
  EXPECT_EQ(run(top, iota({4}))[0].to_f32(), (std::vector<float>{3, 2}));

  OnnxModel pad = one_node_model(10, "Pad", {2});
  OnnxModel::set(node_of(pad), "pads", std::vector<int64_t>{1, 2});
  OnnxModel::set(node_of(pad), "value", 9.0f);
  EXPECT_EQ(run(pad, iota({2}))[0].to_f32(), (std::vector<float>{9, 0, 1, 9, 9}));

  OnnxModel clip = one_node_model(10, "Clip", {4});
  OnnxModel::set(node_of(clip), "max", 2.0f);
  EXPECT_EQ(run(clip, iota({4}))[0].to_f32(), (std::vector<float>{0, 1, 2, 2}));
}

TEST(OnnxUpgrade, OldDropoutPassesThrough) {
  OnnxModel model = one_node_model(10, "Dropout", {4});
  OnnxModel::set(node_of(model), "ratio", 0.9f);
  EXPECT_EQ(run(model, iota({4}))[0].to_f32(), (std::vector<float>{0, 1, 2, 3}));
}

/// The definition of opset 11: rows of the matrix cut before `axis`.
Tensor softmax_11(const Tensor& x, int64_t axis) {
  int64_t columns = 1;
  for (int64_t i = axis; i < x.rank(); ++i) columns *= x.shape()[static_cast<size_t>(i)];
  Tensor y = x;
  const auto values = y.mutable_data<float>();
  for (int64_t row = 0; row < x.size() / columns; ++row) {
    double sum = 0;
    for (int64_t i = 0; i < columns; ++i) {
      sum += std::exp(static_cast<double>(values[static_cast<size_t>(row * columns + i)]));
    }
    for (int64_t i = 0; i < columns; ++i) {
      float& value = values[static_cast<size_t>(row * columns + i)];
      value = static_cast<float>(std::exp(static_cast<double>(value)) / sum);
    }
  }
  return y;
}

TEST(OnnxUpgrade, OldSoftmaxNormalisesRowsOfTheFlattenedMatrix) {
  const Tensor x = random_tensor({2, 3, 4}, 1);
  for (const int64_t axis : {0, 1, 2}) {
    OnnxModel model = one_node_model(11, "Softmax", {2, 3, 4});
    OnnxModel::set(node_of(model), "axis", axis);
    EXPECT_TRUE(close(run(model, x)[0], softmax_11(x, axis), 1e-6)) << "axis " << axis;
    EXPECT_EQ(run(model, x)[0].shape(), x.shape());
  }
}

TEST(OnnxUpgrade, OldSoftmaxDefaultsToAxisOne) {
  const Tensor x = random_tensor({2, 3, 4}, 2);
  EXPECT_TRUE(close(run(one_node_model(11, "Softmax", {2, 3, 4}), x)[0], softmax_11(x, 1), 1e-6));
  const Graph graph = one_node_model(11, "Softmax", {2, 3}).read();
  EXPECT_EQ(graph.nodes.size(), 1u) << "the last axis needs no flattening";
}

TEST(OnnxUpgrade, OldSoftmaxWorksWhenTheRankIsUnknown) {
  OnnxModel model = one_node_model(11, "Softmax", {2, 3, 4});
  model.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->clear_shape();
  const Tensor x = random_tensor({2, 3, 4}, 3);
  EXPECT_TRUE(close(run(model, x)[0], softmax_11(x, 1), 1e-6));
}

TEST(OnnxUpgrade, UpsampleRepeatsPixels) {
  OnnxModel seven = one_node_model(7, "Upsample", {1, 1, 1, 2});
  OnnxModel::set(node_of(seven), "scales", std::vector<float>{1, 1, 2, 2});
  const std::vector<float> expected = {0, 0, 1, 1, 0, 0, 1, 1};
  EXPECT_EQ(run(seven, iota({1, 1, 1, 2}))[0].to_f32(), expected);

  OnnxModel nine = one_node_model(9, "Upsample", {1, 1, 1, 2}, {"x", "s"});
  nine.floats("s", {4}, {1, 1, 2, 2});
  EXPECT_EQ(run(nine, iota({1, 1, 1, 2}))[0].to_f32(), expected);
}

TEST(OnnxUpgrade, Resize10TakesTheNextPixelWhereItShrinks) {
  // The example of the opset-10 operator: [1..8] as 2 x 4, both sides by 0.6, gives [1, 3].
  OnnxModel model = one_node_model(10, "Resize", {1, 1, 2, 4}, {"x", "s"});
  model.floats("s", {4}, {1, 1, 0.6f, 0.6f});
  EXPECT_EQ(run(model, iota({1, 1, 2, 4}))[0].to_f32(), (std::vector<float>{0, 2}));
}

TEST(OnnxUpgrade, Resize10MayShrinkOneSideAndEnlargeTheOther) {
  OnnxModel model = one_node_model(10, "Resize", {1, 1, 2, 4}, {"x", "s"});
  model.floats("s", {4}, {1, 1, 2, 0.6f});
  EXPECT_EQ(run(model, iota({1, 1, 2, 4}))[0].to_f32(),
            (std::vector<float>{0, 2, 0, 2, 4, 6, 4, 6}));
}

TEST(OnnxUpgrade, ResizeOmitsEmptyOperands) {
  OnnxModel model = one_node_model(11, "Resize", {1, 1, 1, 2}, {"x", "none", "s"});
  model.floats("none", {0}, {}).floats("s", {4}, {1, 1, 1, 2});
  OnnxModel::set(node_of(model), "coordinate_transformation_mode", "asymmetric");
  OnnxModel::set(node_of(model), "nearest_mode", "floor");
  const Graph graph = model.read();
  EXPECT_EQ(graph.nodes[0].input(1), kNoValue);
  EXPECT_EQ(run(model, iota({1, 1, 1, 2}))[0].to_f32(), (std::vector<float>{0, 0, 1, 1}));
}

TEST(OnnxUpgrade, ScatterIsScatterElements) {
  OnnxModel model = one_node_model(9, "Scatter", {3}, {"x", "i", "u"});
  model.ints("i", {1}).floats("u", {1}, {7});
  EXPECT_EQ(run(model, iota({3}))[0].to_f32(), (std::vector<float>{0, 7, 2}));
}

TEST(OnnxUpgrade, GroupNormalizationScalesBecomePerChannel) {
  const auto build = [](int64_t declared_channels) {
    OnnxModel model =
        one_node_model(18, "GroupNormalization", {1, declared_channels, 2}, {"x", "scale", "bias"});
    model.floats("scale", {2}, {1, 10}).floats("bias", {2}, {0, 5});
    OnnxModel::set(node_of(model), "num_groups", int64_t{2});
    return model;
  };
  const Tensor x = random_tensor({1, 4, 2}, 4);
  OnnxModel newer = one_node_model(21, "GroupNormalization", {1, 4, 2}, {"x", "scale", "bias"});
  newer.floats("scale", {4}, {1, 1, 10, 10}).floats("bias", {4}, {0, 0, 5, 5});
  OnnxModel::set(node_of(newer), "num_groups", int64_t{2});
  const Tensor expected = run(newer, x)[0];
  EXPECT_TRUE(run(build(4), x)[0].identical_to(expected)) << "known channels";
  EXPECT_TRUE(run(build(-1), x)[0].identical_to(expected)) << "unknown channels";
}

TEST(OnnxUpgrade, BatchNormalizationInTrainingModeIsRefused) {
  OnnxModel model(11);
  model.input("x", {1, 2, 3}).output("y", {1, 2, 3});
  for (const char* name : {"s", "b", "m", "v"}) model.floats(name, {2}, {1, 1});
  model.node("BatchNormalization", {"x", "s", "b", "m", "v"}, {"y", "mean"});
  expect_error([&] { model.read(); }, {"training mode", "the_BatchNormalization"});
}

TEST(OnnxUpgrade, GridSampleModesGetTheirNewNames) {
  OnnxModel model = one_node_model(16, "GridSample", {1, 1, 4, 4}, {"x", "g"});
  model.input("g", {1, 2, 2, 2});
  const Graph graph = model.read();
  EXPECT_EQ(graph.nodes[0].attributes.get_string("mode", ""), "linear");
}

}  // namespace
}  // namespace ounce::formats
