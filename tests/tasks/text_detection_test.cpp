#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "graph/error.h"
#include "tasks/task.h"
#include "tasks/text_detection/region_matches.h"
#include "tests/support/test_data.h"

namespace ounce::tasks {
namespace {

Polygon rectangle(double left, double top, double right, double bottom) {
  return {{left, top}, {right, top}, {right, bottom}, {left, bottom}};
}

TEST(Polygon, AreasAndIntersections) {
  const Polygon square = rectangle(0, 0, 4, 4);
  EXPECT_DOUBLE_EQ(area(square), 16.0);
  EXPECT_DOUBLE_EQ(area({{0, 0}, {0, 4}, {4, 4}, {4, 0}}), 16.0);
  EXPECT_NEAR(intersection(square, rectangle(2, 1, 8, 3)), 4.0, 1e-4);
  // The diamond with corners in the middle of the square's sides is half of it.
  const Polygon diamond = {{2, 0}, {4, 2}, {2, 4}, {0, 2}};
  EXPECT_NEAR(intersection(square, diamond), 8.0, 1e-4);
  EXPECT_EQ(intersection(square, rectangle(5, 0, 6, 4)), 0.0);
  EXPECT_EQ(intersection(square, Polygon{{1, 1}, {2, 2}}), 0.0);
  EXPECT_EQ(bounds(diamond), (Box{0, 0, 4, 4}));
  EXPECT_NEAR(area(convex_hull({{0, 0}, {4, 0}, {2, 1}, {4, 4}, {0, 4}})), 16.0, 1e-4);
}

Tensor no_text(int64_t height, int64_t width) {
  return Tensor::of(std::vector<float>(static_cast<size_t>(height * width)), {1, 1, height, width});
}

/// A map of 64 x 128 with a block of `value` at rows 20..29 and columns 30..69.
Tensor block(float value) {
  Tensor map = no_text(64, 128);
  for (int64_t y = 20; y < 30; ++y) {
    for (int64_t x = 30; x < 70; ++x) {
      map.mutable_data<float>()[static_cast<size_t>(y * 128 + x)] = value;
    }
  }
  return map;
}

Geometry half_size() {
  Geometry geometry;
  geometry.scale_x = 0.5;
  geometry.scale_y = 0.5;
  geometry.picture = {120, 240};
  geometry.input = {64, 128};
  return geometry;
}

TEST(TextRegions, AreGrownRectanglesInPicturePixels) {
  const std::vector<TextRegion> regions = text_regions(block(0.9F), half_size());
  ASSERT_EQ(regions.size(), 1U);
  EXPECT_NEAR(regions[0].score, 0.9, 1e-5);
  // Pixels' centres span 39 by 9; grown by their area over their perimeter times 1.5 on each side.
  const double grown = 39.0 * 9 * 1.5 / (2 * (39 + 9));
  const Box box = bounds(regions[0].outline);
  EXPECT_NEAR(box.left, 2 * (30 - grown), 0.1);
  EXPECT_NEAR(box.right, 2 * (69 + grown), 0.1);
  EXPECT_NEAR(box.top, 2 * (20 - grown), 0.1);
  EXPECT_NEAR(box.bottom, 2 * (29 + grown), 0.1);
}

TEST(TextRegions, FaintAndTinyOnesAreNone) {
  EXPECT_TRUE(text_regions(block(0.5F), half_size()).empty());
  EXPECT_TRUE(text_regions(block(0.2F), half_size()).empty());
  TextRegionOptions thick;
  thick.shortest_side = 12;
  EXPECT_TRUE(text_regions(block(0.9F), half_size(), thick).empty());
  EXPECT_TRUE(text_regions(block(std::nanf("")), half_size()).empty());
}

TEST(RegionMatches, CountAsTheCompetitionDoes) {
  const std::vector<TextLabel> labels = {
      {rectangle(0, 0, 10, 4)}, {rectangle(20, 0, 30, 4)}, {rectangle(40, 0, 60, 10), true}};
  RegionMatches matches;
  matches.add(labels, std::vector<TextRegion>{{rectangle(0, 0, 9, 4), 0.9},      // found
                                              {rectangle(0, 0, 10, 4), 0.8},     // once only
                                              {rectangle(24, 0, 40, 4), 0.8},    // a bit of it
                                              {rectangle(41, 1, 50, 5), 0.7}});  // unreadable
  const auto metrics = matches.metrics();
  EXPECT_DOUBLE_EQ(metrics.at("precision"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(metrics.at("recall"), 1.0 / 2);
  EXPECT_DOUBLE_EQ(metrics.at("hmean"), 0.4);
  EXPECT_EQ(RegionMatches().metrics().at("hmean"), 0.0);
}

class TextDataset : public ::testing::Test {
 protected:
  Dataset open(const std::string& text) {
    std::ofstream(folder_.path() / "text.json") << text;
    return open_dataset(folder_.path() / "text.json");
  }
  std::string message(const std::string& text) {
    try {
      open(text);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  ounce::testing::TemporaryFolder folder_;
};

TEST_F(TextDataset, HasOutlines) {
  const Dataset dataset = open(R"({"data_list": [
    {"img_path": "b.jpg", "instances": []},
    {"img_path": "sub/a.jpg", "instances": [
      {"polygon": [0, 0, 4, 0, 4.5, 2, 0, 2], "ignore": true}, {"polygon": [1, 1, 2, 2, 3, 1]}]}]})");
  EXPECT_TRUE(dataset.has_regions());
  ASSERT_EQ(dataset.size(), 2);
  EXPECT_EQ(dataset.samples[1].path, folder_.path() / "sub/a.jpg");
  ASSERT_EQ(dataset.samples[1].regions.size(), 2U);
  EXPECT_TRUE(dataset.samples[1].regions[0].ignored);
  EXPECT_EQ(dataset.samples[1].regions[0].outline[2], (Point{4.5, 2}));
  EXPECT_FALSE(dataset.samples[1].regions[1].ignored);
  EXPECT_TRUE(dataset.samples[0].regions.empty());
}

TEST_F(TextDataset, MistakesAreNamed) {
  const auto with = [](const std::string& polygon) {
    return R"({"data_list": [{"img_path": "a.jpg", "instances": [{"polygon": )" + polygon + "}]}]}";
  };
  EXPECT_NE(message(with("[1, 2, 3, 4]")).find("data_list[0], instances[0]"), std::string::npos);
  EXPECT_NE(message(with("[1, 2, 3, 4, 5, 6, 7]")).find("three corners"), std::string::npos);
  EXPECT_NE(message(with("[1, 2, 3, 4, 5, \"x\"]")).find("numbers"), std::string::npos);
  EXPECT_NE(message(with("[1, 2, 3, 4, 5, 1e300]")).find("numbers"), std::string::npos);
  EXPECT_NE(message(R"({"data_list": [{"img_path": "a.jpg"}]})").find("'instances'"),
            std::string::npos);
  EXPECT_NE(message(R"({"data_list": [{"instances": []}]})").find("'img_path'"), std::string::npos);
  EXPECT_NE(message(R"({"data_list": [{"img_path": "../../etc/a.jpg", "instances": []}]})").size(),
            0U);
  EXPECT_NE(message(R"({"data_list": 3})").find("data_list"), std::string::npos);
}

TEST(TextDetectionTask, WantsASizeAndAMapOfTheInput) {
  EXPECT_THROW(make_text_detection({}), Error);
  Preprocessing preprocessing;
  preprocessing.letterbox = {64, 128};
  const auto task = make_text_detection(preprocessing);
  EXPECT_EQ(task->main_metric(), "hmean");
  const PreparedInput input = task->prepare(Image(240, 120, 40));
  const Tensor map = block(0.9F);
  const Prediction prediction = task->interpret({&map, 1}, input.geometry);
  ASSERT_EQ(task->findings(prediction).size(), 1U);
  EXPECT_EQ(task->findings(prediction)[0].label, "text");
  const Image marked = task->draw(Image(240, 120, 40), prediction);
  EXPECT_NE(marked, Image(240, 120, 40));
  const Tensor small = no_text(16, 32);
  EXPECT_THROW(task->interpret({&small, 1}, input.geometry), Error);
  EXPECT_THROW(task->interpret({}, input.geometry), Error);
  Dataset pictures;
  EXPECT_THROW(task->begin(pictures), Error);
}

}  // namespace
}  // namespace ounce::tasks
