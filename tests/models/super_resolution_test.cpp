#include <gtest/gtest.h>

#include <algorithm>

#include "engine/session.h"
#include "graph/operator.h"
#include "models/load_weights.h"
#include "models/models.h"
#include "tasks/super_resolution/scale.h"
#include "tests/models/checkpoints.h"
#include "tests/support/tensors.h"

// The networks that enlarge pictures.
namespace ounce::models {
namespace {

struct Expected {
  std::string_view name;
  int64_t parameters;  // of the published checkpoint
};
constexpr Expected kExpected[] = {
    {"imdn", 893'936}, {"rfdn", 433'448}, {"imdtn", 371'532}, {"mobilesr", 175'883}};

Graph build(std::string_view name, uint64_t seed = 3) {
  for (const Architecture& one : architectures()) {
    if (one.name == name) return one.build(seed);
  }
  ADD_FAILURE() << "no architecture " << name;
  return {};
}

TEST(SuperResolutionModels, HaveThePublishedNumberOfParameters) {
  for (const Expected& expected : kExpected) {
    const Graph graph = build(expected.name);
    int64_t parameters = 0;
    for (const Value& value : graph.values) {
      const bool learned = value.name.ends_with(".weight") || value.name.ends_with(".bias") ||
                           value.name.ends_with("_table");
      if (value.is_constant() && learned) parameters += value.constant.size();
    }
    EXPECT_EQ(parameters, expected.parameters) << expected.name;
  }
}

TEST(SuperResolutionModels, EnlargePicturesOfAnySizeFourTimes) {
  for (const Expected& expected : kExpected) {
    const Graph graph = build(expected.name);
    EXPECT_EQ(tasks::enlargement(graph), 4) << expected.name;
    engine::Session session(graph);
    for (const Shape& input : {Shape{1, 3, 24, 24}, Shape{1, 3, 17, 30}, Shape{2, 3, 31, 19}}) {
      const std::vector<Tensor> inputs = {ounce::testing::random_tensor(input, 5)};
      EXPECT_EQ(session.run(inputs)[0].shape(), (Shape{input[0], 3, 4 * input[2], 4 * input[3]}))
          << expected.name;
    }
  }
}

TEST(SuperResolutionModels, TakeTheirWeightsFromACheckpoint) {
  for (const Expected& expected : kExpected) {
    const Graph trained = build(expected.name, 8);
    std::map<std::string, Tensor> checkpoint = ounce::testing::checkpoint_of(trained);
    checkpoint.erase("scales");  // of an enlargement: no weight
    Graph graph = build(expected.name);
    load_weights(graph, checkpoint);
    const std::vector<Tensor> inputs = {ounce::testing::random_tensor({1, 3, 18, 25}, 4)};
    EXPECT_TRUE(
        engine::Session(graph).run(inputs)[0].identical_to(engine::Session(trained).run(inputs)[0]))
        << expected.name;
  }
}

TEST(SuperResolutionModels, PicturesOfABatchDoNotMix) {
  for (const Expected& expected : kExpected) {
    engine::Session session(build(expected.name));
    const Tensor both = ounce::testing::random_tensor({2, 3, 20, 27}, 6);
    const Tensor enlarged = session.run(std::span(&both, 1))[0];
    Tensor second(DType::f32, {1, 3, 20, 27});
    const auto half = both.data<float>().subspan(static_cast<size_t>(second.size()));
    std::copy(half.begin(), half.end(), second.mutable_data<float>().begin());
    const Tensor alone = session.run(std::span(&second, 1))[0];
    Tensor part(DType::f32, alone.shape());
    const auto tail = enlarged.data<float>().subspan(static_cast<size_t>(part.size()));
    std::copy(tail.begin(), tail.end(), part.mutable_data<float>().begin());
    EXPECT_TRUE(ounce::testing::close(part, alone, 1e-3)) << expected.name;
  }
}

}  // namespace
}  // namespace ounce::models
