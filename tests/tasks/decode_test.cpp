#include "tasks/detection/decode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "graph/error.h"

namespace ounce::tasks {
namespace {

constexpr PictureSize kInput{64, 96};

HeadDescription head_of(const std::string& toml) {
  return head_from_toml(toml, "test.toml");
}

Tensor zeros(Shape shape, float fill = 0) {
  Tensor tensor(DType::f32, std::move(shape));
  for (float& value : tensor.mutable_data<float>()) value = fill;
  return tensor;
}

void expect_box(const Box& box, const Box& expected, double tolerance = 1e-4) {
  EXPECT_NEAR(box.left, expected.left, tolerance);
  EXPECT_NEAR(box.top, expected.top, tolerance);
  EXPECT_NEAR(box.right, expected.right, tolerance);
  EXPECT_NEAR(box.bottom, expected.bottom, tolerance);
}

// 64 x 96 at strides 8, 16, 32: grids of 8 x 12, 4 x 6, 2 x 3.
constexpr int64_t kCandidates = 96 + 24 + 6;

TEST(Decode, YoloxAddsTheGridAndScalesByStride) {
  const HeadDescription head = head_of("style = \"yolox\"\nclasses = 3\n");
  Tensor output = zeros({1, kCandidates, 8});
  // Level 1 (stride 16), row 2, column 5.
  float* row = output.mutable_data<float>().data() + (96 + 2 * 6 + 5) * 8;
  const float values[8] = {0.5f, 0.25f, std::log(2.0f), std::log(3.0f), 0.8f, 0.1f, 0.5f, 0.2f};
  std::copy(values, values + 8, row);
  const std::vector<Detection> found = decode(head, {&output, 1}, kInput);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].class_index, 1);
  EXPECT_NEAR(found[0].score, 0.4, 1e-6);
  // Centre (5.5, 2.25) * 16 = (88, 36), size (32, 48).
  expect_box(found[0].box, {72, 12, 104, 60});
}

TEST(Decode, EveryLayoutOfTheSameYoloxOutputAgrees) {
  const HeadDescription head = head_of("style = \"yolox\"\nclasses = 2\nactivated = false\n");
  const int64_t k = 7;
  Tensor rows(DType::f32, {1, kCandidates, k});
  const std::span<float> all = rows.mutable_data<float>();
  for (size_t i = 0; i < all.size(); ++i) all[i] = std::sin(static_cast<float>(i) * 0.7f);
  Tensor columns(DType::f32, {1, k, kCandidates});
  for (int64_t n = 0; n < kCandidates; ++n) {
    for (int64_t v = 0; v < k; ++v) {
      columns.mutable_data<float>()[static_cast<size_t>(v * kCandidates + n)] =
          all[static_cast<size_t>(n * k + v)];
    }
  }
  std::vector<Tensor> planes;  // one [1, K, H, W] a level, given in reverse order
  int64_t first = kCandidates;
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{2, 3}, {4, 6}, {8, 12}}) {
    first -= height * width;
    Tensor plane(DType::f32, {1, k, height, width});
    for (int64_t cell = 0; cell < height * width; ++cell) {
      for (int64_t v = 0; v < k; ++v) {
        plane.mutable_data<float>()[static_cast<size_t>(v * height * width + cell)] =
            all[static_cast<size_t>((first + cell) * k + v)];
      }
    }
    planes.push_back(plane);
  }
  const std::vector<Detection> expected = decode(head, {&rows, 1}, kInput);
  EXPECT_GT(expected.size(), 100u);
  for (const std::vector<Tensor>& outputs : {std::vector<Tensor>{columns}, planes}) {
    const std::vector<Detection> found = decode(head, outputs, kInput);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].class_index, expected[i].class_index);
      EXPECT_EQ(found[i].score, expected[i].score);
      expect_box(found[i].box, expected[i].box, 0);
    }
  }
}

TEST(Decode, Yolov5RawUsesItsAnchors) {
  const HeadDescription head = head_of(
      "style = \"yolov5\"\nclasses = 1\nboxes = \"raw\"\nactivated = false\nstrides = [32]\n"
      "anchors = [[10, 20, 30, 40]]\n");
  Tensor output = zeros({1, 2 * 6, 2, 3}, -20.0f);  // [1, A * K, H, W]
  const auto set = [&](int64_t k, float value) {    // anchor 1, row 1, column 2
    output.mutable_data<float>()[static_cast<size_t>(((6 + k) * 2 + 1) * 3 + 2)] = value;
  };
  for (int64_t k = 0; k < 4; ++k) set(k, 0);  // sigmoid 0.5: the middle of the cell, anchor size
  set(4, 20);
  set(5, 20);
  const std::vector<Detection> found = decode(head, {&output, 1}, kInput);
  ASSERT_EQ(found.size(), 1u);
  expect_box(found[0].box, {80 - 15, 48 - 20, 80 + 15, 48 + 20});
  Tensor five = zeros({1, 2, 2, 3, 6}, -20.0f);  // [1, A, H, W, K]
  for (int64_t k = 0; k < 6; ++k) {
    five.mutable_data<float>()[static_cast<size_t>(((1 * 2 + 1) * 3 + 2) * 6 + k)] =
        k < 4 ? 0.0f : 20.0f;
  }
  expect_box(decode(head, {&five, 1}, kInput).at(0).box, found[0].box);
}

TEST(Decode, Yolov8DecodedBoxesAreColumns) {
  const HeadDescription head = head_of("style = \"yolov8\"\nclasses = 2\n");
  Tensor output = zeros({1, 6, 10});
  const float values[6] = {40, 30, 20, 10, 0.2f, 0.9f};
  for (size_t v = 0; v < 6; ++v) output.mutable_data<float>()[v * 10 + 3] = values[v];
  const std::vector<Detection> found = decode(head, {&output, 1}, kInput);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].class_index, 1);
  expect_box(found[0].box, {30, 25, 50, 35});
  const HeadDescription corners =
      head_of("style = \"yolov8\"\nclasses = 2\nbox_format = \"corners\"\n");
  expect_box(decode(corners, {&output, 1}, kInput).at(0).box, {40, 30, 20, 10});
}

/// Logits whose softmax puts everything on `bin`.
void one_bin(float* logits, int64_t step, int64_t bins, int64_t bin) {
  for (int64_t i = 0; i < bins; ++i) logits[i * step] = i == bin ? 50.0f : 0.0f;
}

TEST(Decode, DistancesAreMeansOfTheirDistributions) {
  const HeadDescription nanodet =
      head_of("style = \"nanodet\"\nclasses = 2\nbins = 4\nstrides = [32]\n");
  Tensor output = zeros({1, 6, 2 + 16});
  float* row = output.mutable_data<float>().data() + (1 * 3 + 2) * 18;  // row 1, column 2
  row[0] = 0.7f;
  for (int64_t side = 0; side < 4; ++side) one_bin(row + 2 + side * 4, 1, 4, side);
  const std::vector<Detection> found = decode(nanodet, {&output, 1}, kInput);
  ASSERT_EQ(found.size(), 1u);
  // Reference point (64, 32), distances 0, 1, 2, 3 cells of 32.
  expect_box(found[0].box, {64, 0, 128, 128});

  const HeadDescription yolov8 = head_of(
      "style = \"yolov8\"\nclasses = 1\nboxes = \"raw\"\nactivated = false\nbins = 4\n"
      "strides = [32]\n");
  Tensor planes = zeros({1, 17, 2, 3}, -20.0f);
  float* cell = planes.mutable_data<float>().data() + 1 * 3 + 2;
  for (int64_t side = 0; side < 4; ++side) {
    for (int64_t i = 0; i < 4; ++i) cell[(side * 4 + i) * 6] = 0;  // uniform: mean 1.5
  }
  cell[16 * 6] = 0;
  const std::vector<Detection> raw = decode(yolov8, {&planes, 1}, kInput);
  ASSERT_EQ(raw.size(), 1u);
  EXPECT_NEAR(raw[0].score, 0.5, 1e-9);
  expect_box(raw[0].box, {80 - 48, 48 - 48, 80 + 48, 48 + 48});
}

TEST(Decode, ExtraOutputsAreIgnoredAndWrongShapesAreNamed) {
  const HeadDescription head = head_of("style = \"yolox\"\nclasses = 3\n");
  const std::vector<Tensor> outputs = {zeros({1, 4}), zeros({1, kCandidates, 8}, 0.5f)};
  EXPECT_EQ(decode(head, outputs, kInput).size(), static_cast<size_t>(kCandidates));
  const Tensor wrong = zeros({1, kCandidates, 9});
  try {
    decode(head, {&wrong, 1}, kInput);
    FAIL() << "no error";
  } catch (const Error& failure) {
    EXPECT_NE(failure.message().find("[1, 126, 8]"), std::string::npos) << failure.what();
    EXPECT_NE(failure.message().find("[1, 126, 9]"), std::string::npos) << failure.what();
  }
  EXPECT_THROW(decode(head, {}, kInput), Error);
}

TEST(Decode, NanIsNamedAndOverflowIsNoBox) {
  const HeadDescription head = head_of("style = \"yolox\"\nclasses = 3\n");
  Tensor output = zeros({1, kCandidates, 8}, 0.5f);
  output.mutable_data<float>()[2] = 1e30f;  // a width of exp(1e30)
  EXPECT_EQ(decode(head, {&output, 1}, kInput).size(), static_cast<size_t>(kCandidates - 1));
  output.mutable_data<float>()[2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(decode(head, {&output, 1}, kInput), Error);
}

TEST(Decode, ManyLabelsOnlyWhenAsked) {
  HeadDescription head = head_of("style = \"yolov8\"\nclasses = 3\n");
  Tensor output = zeros({1, 7, 4});
  for (size_t v = 0; v < 7; ++v) output.mutable_data<float>()[v * 4] = v < 4 ? 10.0f : 0.5f;
  EXPECT_EQ(decode(head, {&output, 1}, kInput).size(), 1u);
  head.multi_label = true;
  EXPECT_EQ(decode(head, {&output, 1}, kInput).size(), 3u);
}

TEST(Suppress, DropsTheWorseOfTwoWithinAClassOnly) {
  const Box box{0, 0, 10, 10};
  const Box shifted{0, 1, 10, 11};  // IoU 9/11
  const Box far{50, 50, 60, 60};
  const std::vector<Detection> kept =
      suppress({{shifted, 0, 0.5}, {box, 0, 0.9}, {shifted, 1, 0.4}, {far, 0, 0.3}}, 0.65, 100);
  ASSERT_EQ(kept.size(), 3u);
  EXPECT_EQ(kept[0].score, 0.9);
  EXPECT_EQ(kept[1].class_index, 1);
  EXPECT_EQ(kept[2].box, far);
  EXPECT_EQ(suppress({{shifted, 0, 0.5}, {box, 0, 0.9}}, 0.9, 100).size(), 2u);
  EXPECT_EQ(suppress({{far, 0, 0.5}, {box, 0, 0.9}}, 0.5, 1).size(), 1u);
}

TEST(Detect, MapsBoxesBackToThePicture) {
  const HeadDescription head = head_of("style = \"yolov8\"\nclasses = 1\n");
  Tensor output = zeros({1, 5, 3});
  const float values[5] = {48, 32, 32, 16, 0.9f};
  for (size_t v = 0; v < 5; ++v) output.mutable_data<float>()[v * 3] = values[v];
  const Geometry geometry{0.5, 0.5, 16, 8, {96, 160}, kInput};
  const std::vector<Detection> found = detect(head, {&output, 1}, geometry);
  ASSERT_EQ(found.size(), 1u);
  expect_box(found[0].box, {32, 32, 96, 64});
}

}  // namespace
}  // namespace ounce::tasks
