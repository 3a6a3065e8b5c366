#include "recipes/recipe.h"

#include <gtest/gtest.h>

#include <fstream>

#include "graph/error.h"
#include "recipes/initial_network.h"
#include "tests/support/test_data.h"

namespace ounce::recipes {
namespace {

constexpr const char* kGood = R"(name = "small"
[data]
train = "train"
test = "/pictures/test"
[model]
blocks = 1
[[stage]]
method = "float"
epochs = 3
[[stage]]
method = "lsq"
weights = 2
epochs = 4
distillation = "soft"
)";

class RecipeFile : public ::testing::Test {
 protected:
  std::filesystem::path write(const std::string& text) const {
    const auto path = folder_.path() / "recipe.toml";
    std::ofstream(path) << text;
    return path;
  }
  /// The message of the error that reading `text` gives.
  std::string message(const std::string& text,
                      const std::vector<std::string>& overrides = {}) const {
    try {
      read_recipe(write(text), overrides);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  ounce::testing::TemporaryFolder folder_;
};

TEST_F(RecipeFile, IsReadWithPathsRelativeToIt) {
  const Recipe recipe = read_recipe(write(kGood), {});
  EXPECT_EQ(recipe.data.train, folder_.path() / "train");
  EXPECT_EQ(recipe.data.test, "/pictures/test");
  ASSERT_EQ(recipe.stages.size(), 2U);
  EXPECT_EQ(recipe.stages[1].name, "2-lsq");
  EXPECT_EQ(recipe.stages[1].method, "lsq");
}

TEST_F(RecipeFile, OverridesGoBeforeWhatItSays) {
  const Recipe recipe = read_recipe(
      write(kGood), {"stage.2.epochs=7", "model.width=8", "data.test=elsewhere", "seed=5"});
  EXPECT_EQ(recipe.stages[1].training.epochs, 7);
  EXPECT_EQ(recipe.model.width, 8);
  EXPECT_EQ(recipe.data.test, folder_.path() / "elsewhere");
  EXPECT_EQ(recipe.seed, 5U);
  EXPECT_NE(recipe.text.find("epochs = 7"), std::string::npos);
}

TEST_F(RecipeFile, ADeitIsAskedForByItsShape) {
  const std::string text = R"([data]
train = "train"
test = "test"
[model]
architecture = "deit"
width = 48
heads = 3
distilled = true
[[stage]]
epochs = 1
[[stage]]
method = "q-vit"
epochs = 1
distillation = "hard"
)";
  const Recipe recipe = read_recipe(write(text), {});
  const Graph network = initial_network(recipe, 10);
  EXPECT_NE(network.find_value("head_dist.logits"), kNoValue);
  EXPECT_EQ(network.value(network.outputs.at(0)).shape->at(1), Dim(10));
  EXPECT_EQ(recipe.stages[1].distillation, Distillation::kHard);
  EXPECT_NE(message(text, {"model.heads=5"}).find("'model.heads'"), std::string::npos);
  EXPECT_THROW(initial_network(read_recipe(write(text), {"model.patch=5"}), 10), Error);
}

TEST_F(RecipeFile, OtherArchitecturesAreAskedForByTheirStages) {
  const std::string data = "[data]\ntrain = \"train\"\ntest = \"test\"\n";
  const std::string end = "[[stage]]\nepochs = 1\n";
  const std::string swin = data + "[model]\narchitecture = \"swin\"\nwidth = 32\n" + end;
  const Graph windows = initial_network(read_recipe(write(swin), {}), 7);
  EXPECT_NE(windows.find_value("layers.1.blocks.1.attn.qkv.weight"), kNoValue);
  EXPECT_EQ(windows.value(windows.outputs.at(0)).shape->at(1), Dim(7));
  EXPECT_NE(message(swin, {"model.heads=[2]"}).find("'model.heads'"), std::string::npos);
  EXPECT_NE(message(swin, {"model.depths=[2, 0]"}).find("'model.depths'"), std::string::npos);
  EXPECT_THROW(initial_network(read_recipe(write(swin), {"model.window=3"}), 7), Error);
  const std::string resnet =
      data + "[model]\narchitecture = \"resnet\"\nreact = true\ndepths = [1, 2]\n" + end;
  const Graph network = initial_network(read_recipe(write(resnet), {"data.size=64"}), 7);
  EXPECT_NE(network.find_value("layer2.1.1.slope"), kNoValue);
  EXPECT_EQ(network.find_value("layer3.0.0.slope"), kNoValue);
}

TEST_F(RecipeFile, MistakesAreNamedWithLineAndKey) {
  const auto with = [](const std::string& line) { return std::string(kGood) + line + "\n"; };
  EXPECT_NE(message(with("lerning_rate = 1")).find("recipe.toml:15"), std::string::npos);
  EXPECT_NE(message(with("lerning_rate = 1")).find("lerning_rate"), std::string::npos);
  EXPECT_NE(message(with("batch = 0")).find("'stage.batch'"), std::string::npos);
  EXPECT_NE(message(with("optimizer = \"adamx\"")).find("adamw"), std::string::npos);
  EXPECT_NE(message(with("= 3")).find("recipe.toml:15"), std::string::npos);
  EXPECT_NE(message("name = \"x\"").find("data"), std::string::npos);
  EXPECT_NE(message(kGood, {"stage.3.epochs=1"}).find("--set stage.3.epochs=1"), std::string::npos);
  EXPECT_NE(message(kGood, {"epochs"}).find("key=value"), std::string::npos);
  EXPECT_NE(message(kGood, {"stage.1.method=lsq"}).find("distillation"), std::string::npos);
}

TEST(Recipes, ThoseOfTheProjectAreRead) {
  int64_t count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(OUNCE_RECIPES)) {
    if (entry.path().extension() != ".toml") continue;
    SCOPED_TRACE(entry.path());
    ++count;
    const Recipe recipe = read_recipe(entry.path(), {});
    EXPECT_EQ(recipe.name, entry.path().stem());
    if (recipe.model.file.empty() && recipe.model.weights.empty()) {
      EXPECT_FALSE(initial_network(recipe, 10).nodes.empty());
    }
  }
  EXPECT_GE(count, 15);
}

}  // namespace
}  // namespace ounce::recipes
