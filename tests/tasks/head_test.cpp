#include "tasks/detection/head.h"

#include <gtest/gtest.h>

#include <fstream>

#include "graph/error.h"
#include "tests/support/test_data.h"

namespace ounce::tasks {
namespace {

std::string error_of(const std::string& toml) {
  try {
    head_from_toml(toml, "model.toml");
  } catch (const Error& failure) {
    return failure.what();
  }
  return "no error";
}

TEST(Head, AStyleAndAClassCountAreEnough) {
  const HeadDescription head = head_from_toml("style = \"yolox\"\nclasses = 80\n", "m.toml");
  EXPECT_EQ(head.values_per_candidate(), 85);
  EXPECT_TRUE(head.activated);
  EXPECT_FALSE(head.decoded);
  EXPECT_EQ(head.strides, (std::vector<int64_t>{8, 16, 32}));
  EXPECT_EQ(head.input.letterbox, (PictureSize{416, 416}));
  EXPECT_EQ(head.input.channels, ChannelOrder::bgr);
  EXPECT_EQ(head.input.range, PixelRange::byte);
  EXPECT_EQ(head.input.antialias, Antialias::off);
}

TEST(Head, EveryKeyIsRead) {
  const HeadDescription head = head_from_toml(R"(
style = "yolov5"
classes = ["cat", "dog"]
strides = [16, 32]
activated = false
boxes = "raw"
anchors = [[10, 13, 16, 30], [30, 61, 62, 45]]
score_threshold = 0.05
show_threshold = 0.4
nms_iou = 0.5
max_detections = 50
multi_label = true
[input]
letterbox = [320, 640]
pad = 0
align = "top_left"
channels = "bgr"
range = "0..255"
mean = [1, 2, 3]
std = [4, 5, 6]
interpolation = "area"
)",
                                              "m.toml");
  EXPECT_EQ(head.classes, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(head.anchors_per_cell(), 2);
  EXPECT_FALSE(head.activated);
  EXPECT_FALSE(head.decoded);
  EXPECT_EQ(head.max_detections, 50);
  EXPECT_TRUE(head.multi_label);
  EXPECT_EQ(head.input.letterbox, (PictureSize{320, 640}));
  EXPECT_EQ(head.input.mean[1], 2);
  EXPECT_EQ(head.input.interpolation, Interpolation::area);
}

TEST(Head, ClassNamesMayStandInAFileBesideTheDescription) {
  const testing::TemporaryFolder folder;
  std::ofstream(folder.path() / "names.txt") << "cat\ndog\n\n";
  std::ofstream(folder.path() / "m.toml") << "style = \"yolov8\"\nclasses = \"names.txt\"\n";
  const HeadDescription head = read_head(folder.path() / "m.toml");
  EXPECT_EQ(head.classes, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(head.class_count, 2);
}

TEST(Head, ErrorsNameFileLineAndKey) {
  EXPECT_NE(error_of("style = \"yolox\"\nclasses = 80\nstrides = [8, 0]\n").find("model.toml:3"),
            std::string::npos);
  EXPECT_NE(error_of("style = \"yolox\"\nclasses = 80\nstrides = [8, 0]\n").find("'strides'"),
            std::string::npos);
  EXPECT_NE(error_of("\nstyle = \"yolo99\"\n").find("model.toml:2"), std::string::npos);
  EXPECT_NE(error_of("style = \"yolo99\"").find("yolox, yolov5, yolov8, nanodet"),
            std::string::npos);
  EXPECT_NE(error_of("classes = 3").find("'style' must be given"), std::string::npos);
  EXPECT_NE(error_of("style = \"yolox\"").find("'classes' must be given"), std::string::npos);
  EXPECT_NE(error_of("style = \"yolox\"\nclasses = 3\nnms = 0.5\n").find("'nms' is not a known"),
            std::string::npos);
  EXPECT_NE(error_of("style = \"yolox\"\nclasses = 3\nnms_iou = 1.5\n").find("from 0 to 1"),
            std::string::npos);
  EXPECT_NE(error_of("style = \"yolox\"\nclasses = 3\nactivated = 1\n").find("true or false"),
            std::string::npos);
  EXPECT_NE(error_of("style = \"yolox\"\nclasses = 3\n[input]\npad = 256\n").find("'input.pad'"),
            std::string::npos);
  EXPECT_NE(error_of("style = \"yolox\"\nclasses = 3\n[input]\nsize = 2\n").find("'input.size'"),
            std::string::npos);
  EXPECT_NE(error_of("style = \"yolov5\"\nclasses = 3\nboxes = \"raw\"\n").find("'anchors'"),
            std::string::npos);
  EXPECT_NE(error_of("style = \"yolox\"\nclasses = 3\nanchors = [[1, 2]]\n").find("'anchors'"),
            std::string::npos);
  EXPECT_NE(error_of("style = \"yolox\nclasses").find("model.toml:1"), std::string::npos);
  EXPECT_NE(error_of("style = \"yolox\"\nclasses = \"none.txt\"\n").find("'classes'"),
            std::string::npos);
}

TEST(Head, JsonRoundTripsAndOpensNoFiles) {
  HeadDescription head = head_from_toml(
      "style = \"nanodet\"\nclasses = [\"a\", \"b\"]\nbins = 12\n[input]\ncrop = 96\n", "m.toml");
  const std::string json = to_json(head);
  EXPECT_EQ(json.find('\n'), std::string::npos);
  const HeadDescription back = head_from_json(json);
  EXPECT_EQ(to_json(back), json);
  EXPECT_EQ(back.input, head.input);
  EXPECT_EQ(back.bins, 12);
  EXPECT_THROW(head_from_json(R"({"style": "yolox", "classes": "/etc/passwd"})"), Error);
  EXPECT_THROW(head_from_json("[]"), Error);
}

}  // namespace
}  // namespace ounce::tasks
