#include <gtest/gtest.h>

#include "engine/session.h"
#include "graph/operator.h"
#include "models/models.h"
#include "tasks/super_resolution/scale.h"
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

Graph build(std::string_view name) {
  for (const Architecture& one : architectures()) {
    if (one.name == name) return one.build(3);
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

}  // namespace
}  // namespace ounce::models
