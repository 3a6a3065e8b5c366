#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "graph/error.h"
#include "graph/operator.h"
#include "tasks/super_resolution/bicubic.h"
#include "tasks/super_resolution/fidelity.h"
#include "tasks/super_resolution/scale.h"
#include "tasks/task.h"
#include "tests/support/test_data.h"

namespace ounce::tasks {
namespace {

namespace fs = std::filesystem;

Image row(const std::vector<uint8_t>& greys) {
  Image image(static_cast<int64_t>(greys.size()), 1);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = greys[i / 3];
  return image;
}

Image column(const std::vector<uint8_t>& greys) {
  Image image = row(greys);
  std::swap(image.width, image.height);
  return image;
}

/// A picture whose pixels all differ from their neighbours.
Image patterned(int64_t width, int64_t height) {
  Image image(width, height);
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = static_cast<uint8_t>((i * 37 + i / 11 * 5) % 251);
  }
  return image;
}

/// x [batch, 3, height, width] -> nearest neighbour, `down` and `across` times as large.
Graph enlarger(float down, float across,
               SymbolicShape input = {Dim("batch"), 3, Dim("h"), Dim("w")}) {
  Graph graph;
  const ValueId x = graph.add_input("pixels", DType::f32, std::move(input));
  const ValueId scales = graph.add_constant("scales", Tensor::of<float>({1, 1, down, across}, {4}));
  AttributeMap attributes;
  attributes.set("mode", "nearest");
  attributes.set("coordinate_transformation_mode", "asymmetric");
  attributes.set("nearest_mode", "floor");
  graph.outputs = {graph.add_node("Resize", {x, kNoValue, scales}, attributes, "up")};
  infer_shapes(graph);
  return graph;
}

Tensor nearest_twice(const Tensor& x) {
  const int64_t height = x.shape()[2];
  const int64_t width = x.shape()[3];
  Tensor y(DType::f32, {1, 3, 2 * height, 2 * width});
  const auto from = x.data<float>();
  const auto to = y.mutable_data<float>();
  for (size_t i = 0; i < to.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    const int64_t column = at % (2 * width) / 2;
    const int64_t line = at / (2 * width) % (2 * height) / 2;
    const int64_t channel = at / (4 * width * height);
    to[i] = from[static_cast<size_t>((channel * height + line) * width + column)];
  }
  return y;
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& failure) {
    return failure.what();
  }
  return "no error";
}

// Halving widens the kernel by two: its eight taps are w(1/4), w(3/4), w(5/4), w(7/4) of
// w(x) = 1.5 x^3 - 2.5 x^2 + 1 and -0.5 x^3 + 2.5 x^2 - 4 x + 2, over their sum of 2:
// .43359, .11328, -.03516, -.01172 to each side.
TEST(ResizeBicubic, HalvingGivesTheValuesOfTheFormula) {
  const std::vector<uint8_t> greys = {100, 100, 100, 100, 100, 100, 200, 100, 100, 100, 100, 100};
  // The bright pixel is the fourth tap of the output at 1, the third at 2, the first at 3.
  EXPECT_EQ(resize_bicubic(row(greys), 6, 1), row({100, 99, 111, 143, 96, 100}));
  EXPECT_EQ(resize_bicubic(column(greys), 1, 6), column({100, 99, 111, 143, 96, 100}));
}

TEST(ResizeBicubic, EdgesAreMirrored) {
  // Seen from the first output, the bright pixel stands at 0 and, mirrored, at -1; from the second
  // one it is the last tap but one, and mirrored the last.
  EXPECT_EQ(resize_bicubic(row({200, 100, 100, 100, 100, 100, 100, 100}), 4, 1),
            row({155, 95, 100, 100}));
}

TEST(ResizeBicubic, EnlargingDoesNotWidenTheKernel) {
  // At a quarter between two pixels: w(1/4), w(3/4), w(5/4), w(7/4) themselves.
  EXPECT_EQ(resize_bicubic(row({100, 100, 200, 100, 100}), 10, 1),
            row({100, 98, 93, 123, 187, 187, 123, 93, 98, 100}));
}

TEST(ResizeBicubic, FlatPicturesAndEqualSizesStay) {
  EXPECT_EQ(resize_bicubic(Image(9, 7, 201), 4, 2), Image(4, 2, 201));
  EXPECT_EQ(resize_bicubic(patterned(6, 5), 6, 5), patterned(6, 5));
  EXPECT_EQ(resize_bicubic(Image(1, 1, 9), 3, 3), Image(3, 3, 9));
  EXPECT_THROW(resize_bicubic(Image(), 2, 2), Error);
  EXPECT_THROW(resize_bicubic(Image(4, 4), 0, 2), Error);
}

TEST(LumaPsnr, KnownPairs) {
  // Grey 100 and 101 have a luma of 102 and 103; black and white 16 and 235.
  EXPECT_NEAR(luma_psnr(Image(8, 8, 100), Image(8, 8, 101), 0), 20 * std::log10(255.0), 1e-9);
  EXPECT_NEAR(luma_psnr(Image(8, 8, 0), Image(8, 8, 255), 2), 20 * std::log10(255.0 / 219.0), 1e-9);
  EXPECT_EQ(luma_psnr(patterned(8, 6), patterned(8, 6), 1), kIdenticalDb);
}

TEST(LumaPsnr, ColoursWeighAsBt601Says) {
  Image red(4, 4, 0);
  for (int64_t i = 0; i < 16; ++i) red.pixels[static_cast<size_t>(i) * 3] = 255;
  EXPECT_NEAR(luma_psnr(red, Image(4, 4, 0), 0), 20 * std::log10(255.0 / 65.0), 1e-9);
}

TEST(LumaPsnr, TheBorderDoesNotCount) {
  Image framed(8, 8, 50);
  for (int64_t i = 0; i < 8; ++i) {
    for (int64_t c = 0; c < 3; ++c) framed.at(i, 0)[c] = framed.at(7, i)[c] = 250;
  }
  EXPECT_LT(luma_psnr(framed, Image(8, 8, 50), 0), 30);
  EXPECT_EQ(luma_psnr(framed, Image(8, 8, 50), 1), kIdenticalDb);
}

TEST(LumaSsim, KnownPairs) {
  EXPECT_NEAR(luma_ssim(patterned(16, 14), patterned(16, 14), 1), 1.0, 1e-12);
  // Flat pictures differ in their means alone.
  const double c = (0.01 * 255) * (0.01 * 255);
  EXPECT_NEAR(luma_ssim(Image(12, 12, 0), Image(12, 12, 255), 0),
              (2 * 16.0 * 235 + c) / (16.0 * 16 + 235.0 * 235 + c), 1e-9);
  EXPECT_LT(luma_ssim(patterned(16, 16), Image(16, 16, 120), 0), 0.1);
}

TEST(Fidelity, WrongSizesAreErrors) {
  EXPECT_THROW(luma_psnr(Image(8, 8), Image(8, 9), 0), Error);
  EXPECT_THROW(luma_psnr(Image(8, 8), Image(8, 8), 4), Error);
  EXPECT_THROW(luma_ssim(Image(8, 8), Image(9, 8), 0), Error);
  EXPECT_THROW(luma_ssim(Image(14, 14), Image(14, 14), 2), Error);
}

TEST(Enlargement, IsOutputOverInput) {
  EXPECT_EQ(enlargement(enlarger(2, 2)), 2);
  EXPECT_EQ(enlargement(enlarger(3, 3, {1, 3, 20, 24})), 3);
  EXPECT_EQ(enlargement(enlarger(1, 1)), std::nullopt);
  EXPECT_EQ(enlargement(enlarger(2, 3)), std::nullopt);
  EXPECT_EQ(enlargement(enlarger(1.5F, 1.5F)), std::nullopt);
  EXPECT_EQ(enlargement(enlarger(2, 2, {1, 8, 20, 24})), std::nullopt);
  EXPECT_EQ(enlargement(Graph()), std::nullopt);
}

TEST(MakeTask, APictureLargerThanTheInputIsSuperResolution) {
  Graph graph = enlarger(2, 2);
  const auto task = make_task(graph, {.preprocess = {.channels = "bgr"}});
  EXPECT_EQ(task->name(), "super-resolution");
  EXPECT_EQ(task->unit_of(task->main_metric()), "dB");
  EXPECT_EQ(task->unit_of("ssim"), "");
  EXPECT_EQ(make_task(enlarger(1, 1), {.preprocess = {.crop = "8"}})->name(), "classification");
  task->store(graph);
  EXPECT_EQ(make_task(graph, {})->name(), "super-resolution");
  EXPECT_EQ(make_task(graph, {})->preprocessing(), task->preprocessing());
  EXPECT_EQ(make_task(graph, {.task = "classification"})->name(), "classification");
}

TEST(MakeTask, SuperResolutionThatCannotBeIsAnError) {
  const auto message = [](const Graph& graph, const TaskOptions& options) {
    return error_of([&] { make_task(graph, options); });
  };
  EXPECT_NE(message(enlarger(1, 1), {.task = "super-resolution"}).find("no larger picture"),
            std::string::npos);
  EXPECT_NE(message(enlarger(2, 2), {.preprocess = {.crop = "8"}}).find("own size"),
            std::string::npos);
  Graph graph = enlarger(2, 2);
  for (const char* damaged : {"", "super-resolution", "\"cooking\"", "{}", "3"}) {
    graph.metadata[kTaskKey] = damaged;
    EXPECT_NE(message(graph, {}).find(kTaskKey), std::string::npos) << damaged;
  }
}

TEST(SuperResolution, OutputsBecomePicturesInTheRangeOfTheInput) {
  Preprocessing bytes;
  bytes.range = PixelRange::byte;
  bytes.channels = ChannelOrder::bgr;
  for (const Preprocessing& preprocessing : {Preprocessing(), bytes}) {
    const auto task = make_super_resolution(preprocessing, 2);
    const Image small = patterned(5, 4);
    const PreparedInput input = task->prepare(small);
    const Tensor large = nearest_twice(input.pixels);
    const Prediction prediction = task->interpret({&large, 1}, input.geometry);
    EXPECT_EQ(prediction.picture, resize(small, 10, 8, Interpolation::nearest, Antialias::off));
    EXPECT_EQ(task->draw(small, prediction), prediction.picture);
    EXPECT_TRUE(task->findings(prediction).empty());
    EXPECT_THROW(task->interpret({&input.pixels, 1}, input.geometry), Error);
    EXPECT_THROW(task->interpret({}, input.geometry), Error);
  }
}

TEST(SuperResolution, ValuesBeyondBlackAndWhiteAreClipped) {
  const auto task = make_super_resolution({}, 2);
  const PreparedInput input = task->prepare(Image(1, 1));
  const Tensor output =
      Tensor::of<float>({-9, 2, 0.5F, 0, 1, 1, 1, 1, 0.499F, 0, 0, 0}, {1, 3, 2, 2});
  const Image picture = task->interpret({&output, 1}, input.geometry).picture;
  EXPECT_EQ(picture.pixels,
            (std::vector<uint8_t>{0, 255, 127, 255, 255, 0, 128, 255, 0, 0, 255, 0}));
}

class SuperResolutionData : public ::testing::Test {
 protected:
  fs::path folder(const std::string& name) const {
    fs::create_directories(temporary_.path() / name);
    return temporary_.path() / name;
  }
  void write(const std::string& name, const Image& image) const {
    write_image(image, folder("large") / name);
  }

  testing::TemporaryFolder temporary_;
};

TEST_F(SuperResolutionData, SmallPicturesAreMadeAndTheOriginalsJudge) {
  write("a.png", patterned(27, 26));
  write("flat.png", Image(30, 28, 90));
  const auto task = make_super_resolution({}, 2);
  std::vector<Shape> shapes;
  const auto result =
      evaluate(*task, open_dataset(folder("large")), [&](std::span<const Tensor> inputs) {
        shapes.push_back(inputs[0].shape());
        return std::vector<Tensor>{nearest_twice(inputs[0])};
      });
  EXPECT_EQ(result.pictures, 2);
  EXPECT_EQ(shapes, (std::vector<Shape>{{1, 3, 13, 13}, {1, 3, 14, 15}}));
  const Image original = crop(patterned(27, 26), 0, 0, 26, 26);
  const Image small = resize_bicubic(original, 13, 13);
  const Image large = resize(small, 26, 26, Interpolation::nearest, Antialias::off);
  EXPECT_NEAR(result.metrics.at("psnr"), (luma_psnr(large, original, 2) + kIdenticalDb) / 2, 1e-9);
  EXPECT_NEAR(result.metrics.at("ssim"), (luma_ssim(large, original, 2) + 1) / 2, 1e-9);
}

TEST_F(SuperResolutionData, SmallPicturesThatAreGivenAreTaken) {
  for (const char* name : {"bird.png", "owl2.png"}) write(name, Image(32, 30, 90));
  write_image(Image(16, 15, 10), folder("small") / "birdx2.jpg");
  write_image(Image(16, 15, 20), folder("small") / "owl2.png");
  const auto task = make_super_resolution({}, 2);
  const Dataset dataset = open_dataset(folder("large"), {.low_resolution = folder("small")});
  std::vector<float> seen;
  evaluate(*task, dataset, [&](std::span<const Tensor> inputs) {
    seen.push_back(inputs[0].data<float>()[0] * 255);
    return std::vector<Tensor>{nearest_twice(inputs[0])};
  });
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_NEAR(seen[0], 10, 1e-3);
  EXPECT_NEAR(seen[1], 20, 1e-3);
  EXPECT_NE(data_hash(dataset), data_hash(open_dataset(folder("large"))));
}

TEST_F(SuperResolutionData, SmallPicturesThatAreMissingOrOfWrongSizeAreNamed) {
  write("bird.png", Image(32, 30, 90));
  const auto open = [&] {
    return open_dataset(folder("large"), {.low_resolution = folder("small")});
  };
  EXPECT_NE(error_of([&] { open(); }).find("bird.png"), std::string::npos);
  EXPECT_THROW(open_dataset(folder("large"), {.low_resolution = folder("large") / "none"}), Error);
  write_image(Image(15, 16), folder("small") / "bird.png");
  const auto task = make_super_resolution({}, 2);
  const Dataset dataset = open();
  const std::string text =
      error_of([&] { task->prepare(dataset.samples[0], read_image(dataset.samples[0].path)); });
  EXPECT_NE(text.find("16x15"), std::string::npos) << text;
  EXPECT_NE(text.find("15x16"), std::string::npos) << text;
}

TEST_F(SuperResolutionData, PicturesTooSmallToJudgeAreNamed) {
  write("dot.png", Image(13, 1));
  const auto judge = [&](int64_t scale) {
    const auto task = make_super_resolution({}, scale);
    return error_of([&] {
      evaluate(*task, open_dataset(folder("large")), [](std::span<const Tensor> inputs) {
        return std::vector<Tensor>{nearest_twice(inputs[0])};
      });
    });
  };
  EXPECT_NE(judge(2).find("dot.png"), std::string::npos);
  write("dot.png", Image(8, 8));
  EXPECT_NE(judge(2).find("dot.png"), std::string::npos);
  EXPECT_NE(judge(2).find("too small"), std::string::npos);
}

}  // namespace
}  // namespace ounce::tasks
