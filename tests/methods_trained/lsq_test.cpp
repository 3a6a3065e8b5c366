#include "methods/trained/lsq.h"

#include <gtest/gtest.h>

#include "engine/session.h"
#include "tests/methods_trained/small_training.h"
#include "train/freeze.h"

namespace ounce::methods {
namespace {

using ounce::testing::accuracy_on_pictures;
using ounce::testing::expect_parity;
using ounce::testing::small_options;
using ounce::testing::train_on_pictures;

Graph small_resnet() {
  return models::cifar_resnet("small", {.image = 16, .classes = 4, .width = 8, .blocks = 1}, 3);
}

class LsqBits : public ::testing::TestWithParam<int> {};

TEST_P(LsqBits, LearnsAndRunsInTheEngineAsItWasTrained) {
  at::manual_seed(1);
  train::Module teacher(small_resnet());
  ASSERT_TRUE(train_on_pictures(teacher, small_options(6, 3e-3)));
  EXPECT_GT(accuracy_on_pictures(teacher), 0.9);

  LowBitSettings settings;
  settings.weight_bits = settings.activation_bits = GetParam();
  train::Student student = lsq(teacher.graph(), settings);
  train::Module module(student.graph, student.quantizers);
  ASSERT_TRUE(train_on_pictures(module, small_options(4, 1e-3)));
  EXPECT_GT(accuracy_on_pictures(module), 0.9);

  const Graph frozen = train::freeze(module);
  expect_parity(module, frozen);
  for (const engine::IntegerSupport& layer : engine::integer_support(frozen)) {
    EXPECT_TRUE(layer.integer) << layer.node << ": " << layer.reason;
  }
}
INSTANTIATE_TEST_SUITE_P(Bits, LsqBits, ::testing::Values(8, 4, 3, 2));

}  // namespace
}  // namespace ounce::methods
