#include "models/load_weights.h"

#include <gtest/gtest.h>

#include "engine/session.h"
#include "formats/formats.h"
#include "graph/error.h"
#include "models/models.h"
#include "tests/models/checkpoints.h"
#include "tests/support/tensors.h"
#include "tests/support/test_data.h"

namespace ounce::models {
namespace {

Graph small_resnet() {
  return cifar_resnet("small", {.image = 8, .classes = 3, .width = 4, .blocks = 1}, 1);
}

/// The weights of a network under the names that another one's checkpoint gives them.
std::map<std::string, Tensor> checkpoint_of(const Graph& graph) {
  std::map<std::string, Tensor> tensors;
  for (auto& [name, tensor] : ounce::testing::checkpoint_of(graph)) {
    const bool is_linear = name.starts_with("fc");
    tensors["module." + (is_linear ? "linear" + name.substr(2) : name)] = tensor;
  }
  return tensors;
}

TEST(LoadWeights, TakesEveryWeightByNameAndTurnsLinearLayers) {
  const Graph trained =
      cifar_resnet("small", {.image = 8, .classes = 3, .width = 4, .blocks = 1}, 9);
  Graph graph = small_resnet();
  load_weights(graph, checkpoint_of(trained), {"module.", {{"linear", "fc"}}});
  const std::vector<Tensor> inputs = {ounce::testing::random_tensor({2, 3, 8, 8}, 4)};
  EXPECT_TRUE(
      engine::Session(graph).run(inputs)[0].identical_to(engine::Session(trained).run(inputs)[0]));
}

TEST(LoadWeights, MissingAndMisshapenWeightsAreNamed) {
  const auto message = [](std::map<std::string, Tensor> tensors, const WeightNames& names) {
    Graph graph = small_resnet();
    try {
      load_weights(graph, tensors, names);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const auto tensors = checkpoint_of(small_resnet());
  EXPECT_NE(message(tensors, {"module.", {}}).find("fc.weight"), std::string::npos);
  EXPECT_NE(message(tensors, {"model.", {}}).find("model."), std::string::npos);
  EXPECT_NE(message({}, {}).find("with tensors"), std::string::npos);
  auto wrong = tensors;
  wrong["module.conv1.weight"] = Tensor(DType::f32, {4, 3, 5, 5});
  EXPECT_NE(message(wrong, {"module.", {{"linear", "fc"}}}).find("conv1.weight"),
            std::string::npos);
}

TEST(LoadWeights, CheckpointsOfResNetsGiveWhatTheirExportsGive) {
  OUNCE_REQUIRE_DATA(data);
  for (const auto& [file, name] :
       {std::pair{"resnet20-12fca82f.th", "resnet20"}, {"resnet56-4bfd9763.th", "resnet56"}}) {
    const auto folder = data / "resnet_cifar10";
    Graph graph;
    for (const Architecture& one : architectures()) {
      if (one.name == std::string(name) + "_cifar") graph = one.build(1);
    }
    load_weights(graph, formats::read_checkpoint(folder / file),
                 {"state_dict.module.", {{"linear", "fc"}}});
    const Graph exported = formats::read_model(folder / (std::string(name) + ".onnx"));
    const std::vector<Tensor> inputs = {ounce::testing::random_tensor({2, 3, 32, 32}, 4)};
    EXPECT_TRUE(ounce::testing::close(engine::Session(graph).run(inputs)[0],
                                      engine::Session(exported).run(inputs)[0], 1e-4))
        << name;
  }
}

}  // namespace
}  // namespace ounce::models
