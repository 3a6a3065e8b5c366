#include "quantize/transforms/value_heads.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/quantize/graphs.h"

namespace ounce::quantize {
namespace {

using testing::Builder;

TEST(ValueHeads, of_a_vit_are_found_in_the_joint_layer_of_q_k_and_v) {
  const Graph graph = testing::vit_block();
  const std::vector<ValueHeads> heads = value_heads(graph);
  ASSERT_EQ(heads.size(), 1U);
  EXPECT_EQ(graph.nodes[static_cast<size_t>(heads[0].from)].name, "qkv.matmul");
  EXPECT_EQ(graph.nodes[static_cast<size_t>(heads[0].to)].name, "proj.matmul");
  ASSERT_EQ(heads[0].columns.size(), 2U);
  // Of 48 outputs the last 16 are v: two heads of 8.
  std::vector<int64_t> expected(8);
  std::iota(expected.begin(), expected.end(), 40);
  EXPECT_EQ(heads[0].columns[1], expected);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(heads[0].rows[0], expected);
}

/// v that is added to what the heads make: something else reads its channels.
TEST(ValueHeads, leave_out_a_v_that_others_read) {
  Builder b(6);
  const ValueId x = b.input("x", {1, 6, 8});
  const ValueId v = b.linear(x, 8, 8, "v");
  AttributeMap last;
  last.set("axis", int64_t{-1});
  const ValueId map = b.op("Softmax", {b.input("scores", {1, 6, 6})}, "map", last);
  const ValueId mixed = b.op("MatMul", {map, v}, "mixed");
  const bool both[] = {false, true};
  for (const bool shared : both) {
    Builder copy = b;
    const ValueId read = shared ? copy.op("Add", {mixed, v}, "sum") : mixed;
    const Graph graph = copy.finish({copy.linear(read, 8, 4, "out")});
    EXPECT_EQ(value_heads(graph).size(), shared ? 0U : 1U);
  }
}

}  // namespace
}  // namespace ounce::quantize
