#include "recipes/run.h"

#include <gtest/gtest.h>

#include <fstream>

#include "formats/formats.h"
#include "graph/error.h"
#include "recipes/plan.h"
#include "recipes/run_lock.h"
#include "tasks/task.h"
#include "tests/methods_trained/small_pictures.h"
#include "tests/support/test_data.h"

namespace ounce::recipes {
namespace {

constexpr const char* kRecipe = R"(
[data]
train = "train.safetensors"
test = "test.safetensors"
size = 16
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
[model]
width = 8
blocks = 1
[[stage]]
name = "float"
epochs = 5
batch = 32
learning_rate = 3e-3
[[stage]]
name = "low"
method = "lsq"
weights = 4
activations = 4
epochs = 2
batch = 32
learning_rate = 1e-3
distillation = "soft"
)";

class RecipeRun : public ::testing::Test {
 protected:
  RecipeRun() {
    train::write_image_set(ounce::testing::small_pictures(512, 1), file("train.safetensors"));
    train::write_image_set(ounce::testing::small_pictures(200, 2), file("test.safetensors"));
    std::ofstream(file("recipe.toml")) << kRecipe;
  }
  std::filesystem::path file(const char* name) const { return folder_.path() / name; }
  Recipe recipe(const std::vector<std::string>& overrides = {}) const {
    return read_recipe(file("recipe.toml"), overrides);
  }
  static std::string bytes(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  ounce::testing::TemporaryFolder folder_;
};

TEST_F(RecipeRun, PlansTellBitsParametersAndTimesOfEveryStage) {
  const std::vector<StagePlan> stages = plan(recipe(), 1);
  ASSERT_EQ(stages.size(), 2U);
  const StagePlan& low = stages[1];
  EXPECT_EQ(low.name, "low");
  EXPECT_EQ(low.method, "lsq");
  EXPECT_EQ(low.steps_per_epoch, 512 / 32);
  EXPECT_EQ(low.parameters, stages[0].parameters);
  EXPECT_EQ(stages[0].quantizer_parameters, 0);
  EXPECT_GT(low.quantizer_parameters, 0);
  EXPECT_GT(low.seconds_per_step, 0.0);
  EXPECT_GT(low.memory, 0);
  ASSERT_EQ(low.layers.size(), stages[0].layers.size());
  for (const PlannedLayer& layer : stages[0].layers) {
    EXPECT_EQ(layer.first, "float");
    EXPECT_EQ(layer.second, "float");
    EXPECT_TRUE(layer.has_weights);
  }
  // The ends keep eight bits.
  EXPECT_EQ(low.layers.front().second, "8 bits");
  EXPECT_EQ(low.layers[1].first, "4 bits");
  EXPECT_EQ(low.layers[1].second, "4 bits");
}

TEST_F(RecipeRun, LeavesModelsThatTheEngineRunsAsTheTrainerDid) {
  RunOptions options;
  options.output = file("run");
  const RunResult result = run(recipe(), options);
  ASSERT_TRUE(result.finished);
  ASSERT_EQ(result.stages.size(), 2U);
  for (const StageResult& stage : result.stages) {
    EXPECT_GT(stage.accuracy, 0.9) << stage.name;
    EXPECT_EQ(stage.parity.other_class, 0) << stage.name;
    EXPECT_LE(stage.parity.largest_difference, 1e-3) << stage.name;
  }
  for (const char* name : {"model.ounce", "model.onnx", "float.ounce", "low.ounce"}) {
    EXPECT_FALSE(formats::read_model(options.output / name).nodes.empty()) << name;
  }
  // The file needs no options: it knows its pictures and classes.
  const auto task = tasks::make_task(formats::read_model(options.output / "model.onnx"), {});
  EXPECT_EQ(task->name(), "classification");
  EXPECT_EQ(task->preprocessing().resize_short, 16);
  EXPECT_EQ(task->preprocessing().crop, (tasks::PictureSize{16, 16}));
  EXPECT_NEAR(task->preprocessing().std[2], 0.25, 1e-6);
  EXPECT_EQ(task->class_names(), ounce::testing::small_pictures(1, 1).classes);
  // What rounding alone does stands before the first epoch of a stage that rounds, and of no other.
  const std::string log = bytes(options.output / "log.jsonl");
  EXPECT_NE(log.find(R"({"stage":"low","epoch":0,)"), std::string::npos) << log;
  EXPECT_EQ(log.find(R"({"stage":"float","epoch":0,)"), std::string::npos) << log;
  EXPECT_FALSE(bytes(options.output / "recipe.toml").empty());
  EXPECT_FALSE(bytes(options.output / "log.jsonl").empty());
}

TEST_F(RecipeRun, GoesOnWhereItWasStopped) {
  RunOptions options;
  options.output = file("whole");
  ASSERT_TRUE(run(recipe(), options).finished);
  options.output = file("halves");
  options.report = [](const std::string& what, int64_t done, int64_t, const std::string&) {
    return !(what == "low" && done == 9);
  };
  EXPECT_FALSE(run(recipe(), options).finished);
  options.report = nullptr;
  ASSERT_TRUE(run(recipe(), options).finished);
  EXPECT_EQ(bytes(file("whole") / "model.ounce"), bytes(file("halves") / "model.ounce"));
  EXPECT_THROW(run(recipe({"stage.1.epochs=6"}), options), Error);  // another run's folder
}

TEST_F(RecipeRun, OneProcessAtATimeTrainsInAFolder) {
  RunOptions options;
  options.output = file("run");
  std::filesystem::create_directories(options.output);
  {
    const RunLock other(options.output);
    try {
      run(recipe(), options);
      FAIL() << "trained beside another process";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("another process"), std::string::npos);
    }
    EXPECT_FALSE(std::filesystem::exists(options.output / "recipe.toml"));
  }
  options.report = [](const std::string&, int64_t, int64_t, const std::string&) { return false; };
  EXPECT_FALSE(run(recipe(), options).finished);
  EXPECT_TRUE(std::filesystem::exists(options.output / "recipe.toml"));
}

TEST_F(RecipeRun, ClassesThatDoNotFitAreRefused) {
  train::ImageSet other = ounce::testing::small_pictures(200, 2);
  other.classes.pop_back();
  train::write_image_set(other, file("test.safetensors"));
  RunOptions options;
  options.output = file("run");
  EXPECT_THROW(run(recipe(), options), Error);
}

}  // namespace
}  // namespace ounce::recipes
