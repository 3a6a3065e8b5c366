#include "quantize/transforms/head_rotation.h"

#include <gtest/gtest.h>

#include "quantize/transforms/orthogonal.h"
#include "tests/quantize/transforms/checks.h"

namespace ounce::quantize {
namespace {

TEST(HeadRotation, leaves_what_a_vit_computes) {
  const Graph before = testing::vit_block();
  Graph after = before;
  rotate_heads(after, value_heads(before)[0], random_rotation(8, 1));
  ASSERT_NO_THROW(after.validate());
  EXPECT_LT(testing::largest_difference(before, after), 1e-5);
  EXPECT_EQ(after.find_value("v"), kNoValue);
  EXPECT_NE(after.find_value("q"), kNoValue) << "q and k stay";
  const auto weights = [](const Graph& graph) {
    return graph.value(graph.find_value("qkv.weight")).constant.to_f32();
  };
  EXPECT_NE(weights(before), weights(after));
}

}  // namespace
}  // namespace ounce::quantize
