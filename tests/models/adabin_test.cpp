#include "models/adabin.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "formats/formats.h"
#include "graph/error.h"
#include "models/load_weights.h"
#include "tasks/image.h"
#include "tests/support/tensors.h"
#include "tests/support/test_data.h"

namespace ounce::models {
namespace {

std::map<std::string, Tensor> published(const std::filesystem::path& data) {
  const auto file = data / "adabin_resnet20_1w1a/cifar10/checkpoints/resnet20_1w1a/model.th";
  return renamed_checkpoint(formats::read_checkpoint(file), {"state_dict.module.", {}});
}

/// Row `first` and those behind it of a file of pictures, one a row, as the network wants them.
Tensor pictures(const tasks::Image& rows, int64_t first, int64_t count) {
  constexpr float kMean[] = {0.485F, 0.456F, 0.406F};
  constexpr float kDeviation[] = {0.229F, 0.224F, 0.225F};
  Tensor batch(DType::f32, {count, 3, 32, 32});
  float* out = batch.mutable_data<float>().data();
  for (int64_t i = 0; i < count; ++i) {
    for (int c = 0; c < 3; ++c) {
      for (int64_t pixel = 0; pixel < 1024; ++pixel) {
        const auto value = static_cast<float>(rows.at(pixel, first + i)[c]);
        *out++ = (value / 255.0F - kMean[c]) / kDeviation[c];
      }
    }
  }
  return batch;
}

TEST(AdaBin, PublishedNetworkRunsOnBitsAndGivesWhatItsGraphMeans) {
  OUNCE_REQUIRE_DATA(data);
  const Graph graph = adabin_resnet20(published(data));
  const std::vector<Tensor> inputs = {ounce::testing::random_tensor({2, 3, 32, 32}, 4)};
  engine::SessionOptions options;
  options.profile = true;
  engine::Session session(graph, options);
  const Tensor logits = session.run(inputs)[0];
  // A sign whose value is within rounding of its threshold would turn, and did not here.
  EXPECT_TRUE(ounce::testing::close(logits, engine::reference::run(graph, inputs)[0], 1e-3));
  const std::vector<engine::StepProfile> steps = session.profile();
  EXPECT_EQ(std::count_if(steps.begin(), steps.end(),
                          [](const auto& step) { return step.kernel.starts_with("conv_bits"); }),
            18);
}

TEST(AdaBin, PublishedNetworkHasItsAccuracy) {
  OUNCE_REQUIRE_DATA(data);
  const auto folder = data / "cifar10_png_lossless";
  std::ifstream labels(folder / "labels.txt");
  engine::Session session(adabin_resnet20(published(data)));
  int64_t right = 0;
  for (const char* name : {"cifar10_batch_0.png", "cifar10_batch_1.png"}) {
    const tasks::Image rows = tasks::read_image(folder / name);
    ASSERT_EQ(rows.width, 1024);
    ASSERT_EQ(rows.height, 1000);
    for (int64_t first = 0; first < 1000; first += 100) {
      const std::vector<Tensor> inputs = {pictures(rows, first, 100)};
      const std::vector<float> logits = session.run(inputs)[0].to_f32();
      for (size_t i = 0; i < 100; ++i) {
        int64_t label = -1;
        labels >> label;
        const auto row = logits.begin() + static_cast<int64_t>(i) * 10;
        right += std::max_element(row, row + 10) - row == label ? 1 : 0;
      }
    }
  }
  // 1862 in PyTorch 1.13; a picture on the border of two classes may fall to either side.
  EXPECT_NEAR(right, 1862, 2);
}

TEST(AdaBin, MissingTensorsAreNamed) {
  try {
    adabin_resnet20({{"conv1.weight", Tensor(DType::f32, {16, 3, 3, 3})}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("bn1.weight"), std::string::npos);
  }
}

}  // namespace
}  // namespace ounce::models
