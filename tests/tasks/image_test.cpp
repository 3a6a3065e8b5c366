#include "tasks/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>

#include "graph/error.h"
#include "tasks/read_file.h"
#include "tests/support/test_data.h"

namespace ounce::tasks {
namespace {

Image random_image(int64_t width, int64_t height, uint32_t seed) {
  Image image(width, height);
  std::mt19937 random(seed);
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random() & 255);
  return image;
}

/// A smooth picture survives JPEG well.
Image gradient(int64_t width, int64_t height) {
  Image image(width, height);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      image.at(x, y)[0] = static_cast<uint8_t>(x * 255 / width);
      image.at(x, y)[1] = static_cast<uint8_t>(y * 255 / height);
      image.at(x, y)[2] = 80;
    }
  }
  return image;
}

std::string error_of(const std::vector<uint8_t>& bytes) {
  try {
    decode_image(bytes, "picture.jpg");
  } catch (const Error& failure) {
    EXPECT_EQ(failure.where(), "picture.jpg");
    return failure.message();
  }
  return "no error";
}

std::vector<uint8_t> encoded(const Image& image, const std::string& extension) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / ("picture" + extension);
  write_image(image, path);
  return read_file(path);
}

TEST(Image, PngKeepsEveryPixel) {
  const Image image = random_image(37, 23, 1);
  EXPECT_EQ(decode_image(encoded(image, ".png"), "a"), image);
}

TEST(Image, JpegKeepsColoursInOrder) {
  const Image image = gradient(64, 48);
  const Image back = decode_image(encoded(image, ".jpg"), "a");
  ASSERT_EQ(back.width, 64);
  ASSERT_EQ(back.height, 48);
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    EXPECT_NEAR(back.pixels[i], image.pixels[i], 12) << "byte " << i;
  }
}

TEST(Image, ExifOrientationTurnsThePictureUpright) {
  std::vector<uint8_t> jpeg = encoded(gradient(64, 48), ".jpg");
  // APP1 with one big-endian TIFF directory that holds orientation 6: turn 90 degrees clockwise.
  const std::vector<uint8_t> exif = {
      0xff, 0xe1, 0x00, 0x22, 'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8,
      0,    1,    0x01, 0x12, 0,   3,   0,   0,   0, 1, 0,   6,   0, 0,  0, 0, 0, 0};
  jpeg.insert(jpeg.begin() + 2, exif.begin(), exif.end());
  const Image image = decode_image(jpeg, "a");
  ASSERT_EQ(image.width, 48);
  ASSERT_EQ(image.height, 64);
  // The left edge (red 0) is now the top edge, the bottom (green high) the left edge.
  EXPECT_LT(image.at(24, 1)[0], 30);
  EXPECT_GT(image.at(24, 62)[0], 225);
  EXPECT_GT(image.at(1, 32)[1], 225);
}

TEST(Image, BrokenFilesAreErrorsThatNameTheFile) {
  EXPECT_NE(error_of({}).find("empty"), std::string::npos);
  EXPECT_NE(error_of({'h', 'e', 'l', 'l', 'o'}).find("not a picture"), std::string::npos);
  std::vector<uint8_t> jpeg = encoded(gradient(64, 48), ".jpg");
  for (const size_t kept : {3, 20, 200, static_cast<int>(jpeg.size()) - 2}) {
    const std::vector<uint8_t> cut(jpeg.begin(), jpeg.begin() + static_cast<std::ptrdiff_t>(kept));
    EXPECT_NE(error_of(cut).find("truncated"), std::string::npos) << kept << " bytes";
  }
  std::vector<uint8_t> png = encoded(random_image(64, 48, 2), ".png");
  png[png.size() / 2] ^= 1;
  EXPECT_NE(error_of(png).find("checksum"), std::string::npos);
  png.resize(png.size() / 2);
  EXPECT_NE(error_of(png).find("truncated"), std::string::npos);
}

TEST(Image, RandomDamageNeverCrashes) {
  const std::vector<std::vector<uint8_t>> files = {encoded(gradient(40, 30), ".jpg"),
                                                   encoded(gradient(40, 30), ".png")};
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<uint8_t> bytes = files[static_cast<size_t>(round % 2)];
    for (int hit = 0; hit < 5; ++hit) {
      bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    }
    try {
      decode_image(bytes, "a");
    } catch (const Error&) {
    }
  }
}

TEST(Image, HeadersThatClaimTooMuchAreRefusedBeforeAllocation) {
  std::vector<uint8_t> jpeg = encoded(Image(8, 8), ".jpg");
  const std::vector<uint8_t> frame_header = {0xff, 0xc0};
  const auto found =
      std::search(jpeg.begin(), jpeg.end(), frame_header.begin(), frame_header.end());
  ASSERT_NE(found, jpeg.end());
  for (std::ptrdiff_t i = 5; i < 9; ++i) found[i] = 0xff;  // 65535 x 65535
  EXPECT_NE(error_of(jpeg).find("claims"), std::string::npos);
  EXPECT_THROW(Image(0, 4), Error);
  EXPECT_THROW(Image(60'000, 60'000), Error);
}

TEST(Image, MissingFileAndUnknownExtensionAreErrors) {
  const testing::TemporaryFolder folder;
  EXPECT_THROW(read_image(folder.path() / "none.png"), Error);
  EXPECT_THROW(read_image(folder.path()), Error);
  EXPECT_THROW(write_image(Image(2, 2), folder.path() / "a.xyz"), Error);
  EXPECT_THROW(write_image(Image(2, 2), folder.path() / "none" / "a.png"), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

constexpr Interpolation kAll[] = {Interpolation::nearest, Interpolation::bilinear,
                                  Interpolation::bicubic, Interpolation::area};

TEST(Resize, AConstantPictureStaysConstant) {
  const Image image(31, 17, 137);
  for (const Interpolation kind : kAll) {
    for (const Antialias antialias : {Antialias::off, Antialias::on}) {
      for (const auto& [width, height] : {std::pair{7, 40}, {31, 17}, {100, 3}, {1, 1}}) {
        const Image resized = resize(image, width, height, kind, antialias);
        EXPECT_EQ(resized, Image(width, height, 137)) << to_string(kind);
      }
    }
  }
}

TEST(Resize, SameSizeIsIdentity) {
  const Image image = random_image(9, 5, 4);
  for (const Interpolation kind : kAll) EXPECT_EQ(resize(image, 9, 5, kind, Antialias::on), image);
}

Image row(const std::vector<uint8_t>& values) {
  Image image(static_cast<int64_t>(values.size()), 1);
  for (size_t i = 0; i < values.size(); ++i) {
    for (size_t c = 0; c < 3; ++c) image.pixels[i * 3 + c] = values[i];
  }
  return image;
}

std::vector<int> reds(const Image& image) {
  std::vector<int> values;
  for (size_t i = 0; i < image.pixels.size(); i += 3) values.push_back(image.pixels[i]);
  return values;
}

TEST(Resize, HalvingByHand) {
  const Image four = row({0, 70, 140, 210});
  // Triangle of radius 2 around 1: weights .75 .75 .25 of 1.75; mirrored around 3.
  EXPECT_EQ(reds(resize(four, 2, 1, Interpolation::bilinear, Antialias::on)),
            (std::vector<int>{50, 160}));
  // Without antialias only the two neighbours of each centre count.
  EXPECT_EQ(reds(resize(four, 2, 1, Interpolation::bilinear, Antialias::off)),
            (std::vector<int>{35, 175}));
  EXPECT_EQ(reds(resize(four, 2, 1, Interpolation::area, Antialias::on)),
            (std::vector<int>{35, 175}));
  EXPECT_EQ(reds(resize(four, 2, 1, Interpolation::nearest, Antialias::on)),
            (std::vector<int>{70, 210}));
}

TEST(Resize, AreaWeighsPartlyCoveredPixels) {
  // 3 -> 2: each output covers one and a half pixels.
  EXPECT_EQ(reds(resize(row({0, 90, 240}), 2, 1, Interpolation::area, Antialias::on)),
            (std::vector<int>{30, 190}));
}

TEST(Resize, BicubicAgreesWithTheFormulaInDoubles) {
  const Image image = random_image(40, 1, 5);
  const int64_t out = 13;
  const Image resized = resize(image, out, 1, Interpolation::bicubic, Antialias::on);
  const double scale = 40.0 / static_cast<double>(out);
  for (int64_t i = 0; i < out; ++i) {
    double sum = 0;
    double weights = 0;
    for (int64_t x = 0; x < 40; ++x) {
      const double center = (static_cast<double>(i) + 0.5) * scale;
      const double t = std::abs((static_cast<double>(x) + 0.5 - center) / scale);
      double w = 0;
      if (t < 1)
        w = 1.5 * t * t * t - 2.5 * t * t + 1;
      else if (t < 2)
        w = -0.5 * t * t * t + 2.5 * t * t - 4 * t + 2;
      sum += w * image.at(x, 0)[1];
      weights += w;
    }
    const double expected = std::clamp(sum / weights, 0.0, 255.0);
    // Half a step of rounding, and taps beyond the filter's rounded support have tiny weights.
    EXPECT_NEAR(resized.at(i, 0)[1], expected, 1.0) << "pixel " << i;
  }
}

TEST(Crop, OutsideIsFilled) {
  const Image image(2, 2, 9);
  const Image window = crop(image, -1, -1, 4, 3, 7);
  EXPECT_EQ(window.at(0, 0)[0], 7);
  EXPECT_EQ(window.at(1, 1)[0], 9);
  EXPECT_EQ(window.at(2, 2)[0], 9);
  EXPECT_EQ(window.at(3, 2)[0], 7);
  EXPECT_EQ(crop(image, 50, 50, 2, 2, 3), Image(2, 2, 3));
}

TEST(Draw, BoxesAndTextLeaveTheSizeAndChangeThePixels) {
  const Image image(200, 150, 20);
  const std::vector<BoxMark> marks = {{{20, 30, 120, 100}, "dog 91%", 3},
                                      {{-50, -50, 1e9, 1e9}, "huge", -7}};
  const Image drawn = draw_boxes(image, marks);
  EXPECT_EQ(drawn.width, 200);
  EXPECT_EQ(drawn.height, 150);
  EXPECT_NE(drawn, image);
  const Image lined = draw_boxes(image, std::vector<BoxMark>{{{20, 30, 120, 100}, "", 3}});
  EXPECT_EQ(lined.at(70, 65)[0], 20) << "the inside stays";
  EXPECT_NE(lined.at(20, 65)[0], 20) << "the edge is drawn";
  EXPECT_NE(draw_text(image, std::vector<std::string>{"99% tench"}), image);
}

}  // namespace
}  // namespace ounce::tasks
