#include "tasks/preprocess.h"

#include <gtest/gtest.h>

#include "graph/error.h"

namespace ounce::tasks {
namespace {

Image two_colors() {
  Image image(2, 1);
  image.pixels = {255, 0, 51, 0, 102, 204};
  return image;
}

std::vector<float> values_of(const Preprocessing& preprocessing, const Image& image) {
  return apply(preprocessing, image).pixels.to_f32();
}

TEST(Preprocess, PlanesAreNormalisedInChannelOrder) {
  Preprocessing preprocessing;
  preprocessing.mean = {0.5, 0.2, 0.0};
  preprocessing.std = {0.5, 0.1, 2.0};
  const std::vector<float> rgb = values_of(preprocessing, two_colors());
  const std::vector<float> expected = {1.0f, -1.0f, -2.0f, 2.0f, 0.1f, 0.4f};
  ASSERT_EQ(rgb.size(), expected.size());
  for (size_t i = 0; i < rgb.size(); ++i) EXPECT_NEAR(rgb[i], expected[i], 1e-6f) << i;

  preprocessing.channels = ChannelOrder::bgr;  // mean and std stay with their colours
  const std::vector<float> bgr = values_of(preprocessing, two_colors());
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(bgr[i], rgb[4 + i]);
    EXPECT_EQ(bgr[4 + i], rgb[i]);
  }
}

TEST(Preprocess, ByteRangeKeepsPixelValues) {
  Preprocessing preprocessing;
  preprocessing.range = PixelRange::byte;
  EXPECT_EQ(values_of(preprocessing, two_colors()), (std::vector<float>{255, 0, 0, 102, 51, 204}));
}

TEST(Preprocess, ShortSideAndCentreCrop) {
  const Preprocessing preprocessing =
      with_options({}, {.resize = "248", .crop = "224", .mean = "0.5", .std = "0.5"});
  const PreparedInput wide = apply(preprocessing, Image(500, 333, 255));
  EXPECT_EQ(wide.pixels.shape(), (Shape{1, 3, 224, 224}));
  EXPECT_EQ(wide.pixels.data<float>()[0], 1.0f);
  // 248 * 500 / 333 = 372 (cut); left of the crop: (372 - 224) / 2 = 74.
  EXPECT_EQ(wide.geometry.offset_x, -74);
  EXPECT_EQ(wide.geometry.offset_y, -12);
  EXPECT_DOUBLE_EQ(wide.geometry.scale_x, 372.0 / 500.0);
  EXPECT_EQ(apply(preprocessing, Image(333, 500)).pixels.shape(), (Shape{1, 3, 224, 224}));
}

TEST(Preprocess, SmallPicturesArePaddedByTheCrop) {
  const Preprocessing preprocessing = with_options({}, {.crop = "4x6"});
  const PreparedInput input = apply(preprocessing, Image(2, 2, 255));
  EXPECT_EQ(input.pixels.shape(), (Shape{1, 3, 4, 6}));
  EXPECT_EQ(input.pixels.data<float>()[0], 0.0f);
  EXPECT_EQ(input.pixels.data<float>()[6 + 2], 1.0f);
}

TEST(Preprocess, LetterboxFitsPadsAndMapsBack) {
  Preprocessing preprocessing = with_options({}, {.letterbox = "416"});
  preprocessing.range = PixelRange::byte;
  const PreparedInput corner = apply(preprocessing, Image(640, 480, 200));
  EXPECT_EQ(corner.pixels.shape(), (Shape{1, 3, 416, 416}));
  EXPECT_EQ(corner.pixels.data<float>()[0], 200.0f);
  EXPECT_EQ(corner.pixels.data<float>()[416 * 416 - 1], 114.0f);
  EXPECT_EQ(corner.geometry.offset_y, 0);

  preprocessing.align = LetterboxAlign::center;
  const PreparedInput centred = apply(preprocessing, Image(640, 480, 200));
  EXPECT_EQ(centred.pixels.data<float>()[0], 114.0f);
  EXPECT_EQ(centred.geometry.offset_y, 52);  // (416 - 312) / 2

  preprocessing.keep_ratio = false;
  const PreparedInput stretched = apply(preprocessing, Image(640, 480, 200));
  EXPECT_EQ(stretched.pixels.data<float>()[416 * 416 - 1], 200.0f);

  for (const PreparedInput* input : {&corner, &centred, &stretched}) {
    const Box box{100, 50, 300.5, 479};
    const Box back = input->geometry.to_picture(input->geometry.to_input(box));
    EXPECT_NEAR(back.left, box.left, 1e-9);
    EXPECT_NEAR(back.top, box.top, 1e-9);
    EXPECT_NEAR(back.right, box.right, 1e-9);
    EXPECT_NEAR(back.bottom, box.bottom, 1e-9);
    EXPECT_EQ(input->geometry.to_picture({-1e6, -1e6, 1e6, 1e6}), (Box{0, 0, 640, 480}));
  }
}

TEST(Preprocess, ExtremeShapesStayInTheCanvas) {
  const Preprocessing preprocessing = with_options({}, {.letterbox = "32"});
  EXPECT_EQ(apply(preprocessing, Image(1, 4000)).pixels.shape(), (Shape{1, 3, 32, 32}));
  EXPECT_EQ(apply(preprocessing, Image(4000, 1)).pixels.shape(), (Shape{1, 3, 32, 32}));
  Preprocessing cut = with_options({}, {.resize = "1000", .crop = "8"});
  EXPECT_THROW(apply(cut, Image(4000, 1)), Error) << "would be 4 million pixels wide";
}

TEST(Preprocess, JsonRoundTrips) {
  Preprocessing letterbox = with_options({}, {.channels = "bgr", .letterbox = "416x640"});
  letterbox.align = LetterboxAlign::center;
  letterbox.keep_ratio = false;
  letterbox.pad_value = 0;
  letterbox.range = PixelRange::byte;
  for (const Preprocessing& preprocessing :
       {Preprocessing{}, imagenet_preprocessing(224), letterbox}) {
    EXPECT_EQ(preprocessing_from_json(to_json(preprocessing)), preprocessing);
  }
}

TEST(Preprocess, BadJsonNamesTheKey) {
  const auto message = [](const std::string& text) -> std::string {
    try {
      preprocessing_from_json(text);
    } catch (const Error& failure) {
      return failure.what();
    }
    return "no error";
  };
  EXPECT_NE(message("not json").find("not a JSON object"), std::string::npos);
  EXPECT_NE(message(R"({"crop": [1, 2, 3]})").find("crop"), std::string::npos);
  EXPECT_NE(message(R"({"crop": -5})").find("crop"), std::string::npos);
  EXPECT_NE(message(R"({"std": [1, 0, 1]})").find("std"), std::string::npos);
  EXPECT_NE(message(R"({"channels": "grb"})").find("rgb, bgr"), std::string::npos);
  EXPECT_NE(message(R"({"sise": 3})").find("sise"), std::string::npos);
  EXPECT_NE(message(R"({"mean": null})").find("null"), std::string::npos);
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  EXPECT_NE(message(deep), "no error");
  std::string nested = "1";
  for (int i = 0; i < 1000; ++i) nested = "[" + nested + "]";
  EXPECT_NE(message("{\"mean\": " + nested + "}").find("deeply"), std::string::npos);
}

TEST(Preprocess, BadOptionsNameTheOption) {
  const auto where = [](const PreprocessOptions& options) -> std::string {
    try {
      with_options({}, options);
    } catch (const Error& failure) {
      return failure.where();
    }
    return "no error";
  };
  EXPECT_EQ(where({.resize = "big"}), "--resize");
  EXPECT_EQ(where({.crop = "224x"}), "--crop");
  EXPECT_EQ(where({.crop = "0"}), "--crop");
  EXPECT_EQ(where({.mean = "1,2"}), "--mean");
  EXPECT_EQ(where({.std = "nan"}), "--std");
  EXPECT_EQ(where({.std = "0"}), "preprocessing, std");
  EXPECT_EQ(where({.channels = "RGB"}), "--channels");
  EXPECT_EQ(where({.resize = "256", .letterbox = "416"}), "--letterbox");
}

TEST(Preprocess, OptionsSpeakOfUnitRangeEvenOverStoredBytes) {
  Preprocessing stored;
  stored.range = PixelRange::byte;
  stored.mean = {255, 255, 255};
  stored.std = {51, 51, 51};
  const Preprocessing changed = with_options(stored, {.mean = "0.5"});
  EXPECT_EQ(changed.range, PixelRange::unit);
  EXPECT_DOUBLE_EQ(changed.std[1], 0.2);
  EXPECT_EQ(changed.mean[2], 0.5);
}

TEST(Preprocess, FixedInputSizeComesFromTheGraph) {
  Graph graph;
  graph.add_input("pixels", DType::f32, {Dim("batch"), Dim(3), Dim(224), Dim(192)});
  EXPECT_EQ(fixed_input_size(graph), (PictureSize{224, 192}));
  Graph open;
  open.add_input("pixels", DType::f32, {Dim(1), Dim(3), Dim("h"), Dim("w")});
  EXPECT_FALSE(fixed_input_size(open).set());
}

}  // namespace
}  // namespace ounce::tasks
