// Published checkpoints on published pictures: figures that papers and tables state.
#include <gtest/gtest.h>

#include "engine/session.h"
#include "formats/formats.h"
#include "models/load_weights.h"
#include "models/models.h"
#include "tasks/super_resolution/bicubic.h"
#include "tasks/super_resolution/fidelity.h"
#include "tasks/task.h"
#include "tests/support/test_data.h"

namespace ounce::models {
namespace {

namespace fs = std::filesystem;

struct Published {
  const char* name;
  const char* checkpoint;
  double psnr;  // luma, four times, Set5
};

class SuperResolutionFigures : public ::testing::TestWithParam<Published> {};

TEST_P(SuperResolutionFigures, AreReproduced) {
  OUNCE_REQUIRE_DATA(data);
  Graph graph;
  for (const Architecture& one : architectures()) {
    if (one.name != GetParam().name) continue;
    graph = one.build(1);
    load_weights(graph, formats::read_checkpoint(data / "sr_models" / GetParam().checkpoint),
                 {std::string(one.prefix), {}});
  }
  engine::Session session(graph);
  const auto task = tasks::make_task(graph, {});
  EXPECT_EQ(task->name(), "super-resolution");
  const auto result =
      tasks::evaluate(*task, tasks::open_dataset(data / "sr_images" / "CSet5"),
                      [&](std::span<const Tensor> inputs) { return session.run(inputs); });
  EXPECT_EQ(result.pictures, 5);
  EXPECT_NEAR(result.metrics.at("psnr"), GetParam().psnr, 0.005);
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, SuperResolutionFigures,
                         ::testing::Values(Published{"imdn", "imdn_baseline.pth", 32.23},
                                           Published{"rfdn", "rfdn_baseline.pth", 32.13},
                                           Published{"imdtn", "team09_imdtn.pth", 32.13},
                                           Published{"mobilesr", "team20_mobilesr.pth", 32.02}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(SuperResolutionFigures, BicubicIsWhatTablesState) {
  OUNCE_REQUIRE_DATA(data);
  double sum = 0;
  const tasks::Dataset dataset = tasks::open_dataset(data / "sr_images" / "CSet5");
  for (const tasks::Sample& sample : dataset.samples) {
    const tasks::Image original = tasks::read_image(sample.path);
    const tasks::Image small =
        tasks::resize_bicubic(original, original.width / 4, original.height / 4);
    sum += tasks::luma_psnr(tasks::resize_bicubic(small, original.width, original.height), original,
                            4);
  }
  EXPECT_NEAR(sum / static_cast<double>(dataset.size()), 28.42, 0.005);
}

}  // namespace
}  // namespace ounce::models
