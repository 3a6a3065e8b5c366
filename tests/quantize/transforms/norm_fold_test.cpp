#include "quantize/transforms/norm_fold.h"

#include <gtest/gtest.h>

#include "engine/reference/reference.h"
#include "graph/error.h"
#include "graph/passes/passes.h"
#include "tests/quantize/graphs.h"
#include "tests/support/tensors.h"

namespace ounce::quantize {
namespace {

using testing::Builder;

std::vector<float> numbers(int64_t count, unsigned seed, float low, float high) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> result(static_cast<size_t>(count));
  for (float& value : result) value = uniform(random);
  return result;
}

/// Folding all of a graph's normalizations must change what they hand out and not what comes out.
void expect_unchanged(const Graph& before, bool with_shifts) {
  Graph after = before;
  const std::vector<NormFold> folds = norm_folds(before);
  ASSERT_FALSE(folds.empty());
  for (size_t i = folds.size(); i-- > 0;) {
    const NormFold& fold = folds[i];
    const auto scales = numbers(fold.channels, 7, 0.2F, 5.0F);
    const auto shifts = numbers(with_shifts && fold.has_offset ? fold.channels : 0, 8, -2.0F, 2.0F);
    fold_into_norm(after, fold, scales, shifts);
  }
  ASSERT_NO_THROW(after.validate());
  const auto inputs = testing::random_inputs(before, 3);
  const auto expected = engine::reference::run(before, inputs);
  const auto actual = engine::reference::run(after, inputs);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(::ounce::testing::close(actual[i], expected[i], 1e-5));
  }
  const Node& norm = before.nodes[static_cast<size_t>(folds[0].norm)];
  EXPECT_NE(after.constant(after.nodes[static_cast<size_t>(folds[0].norm)].input(1))->to_f32(),
            before.constant(norm.input(1))->to_f32());
}

TEST(NormFold, leaves_what_a_vit_computes) {
  for (const bool with_shifts : {false, true}) expect_unchanged(testing::vit_block(), with_shifts);
}

TEST(NormFold, finds_the_layers_behind_each_normalization_of_a_vit) {
  const Graph graph = testing::vit_block();
  std::vector<std::string> found;
  for (const NormFold& fold : norm_folds(graph)) {
    found.push_back(graph.nodes[static_cast<size_t>(fold.norm)].name + ":");
    for (const int layer : fold.layers) {
      found.back() += " " + graph.nodes[static_cast<size_t>(layer)].name;
    }
  }
  EXPECT_EQ(found,
            (std::vector<std::string>{"norm1: qkv.matmul", "norm2: fc1.matmul", "norm3: head"}));
}

/// One normalization, moved rows, three layers: with a bias behind it, without, and a Gemm; two
/// share their weights.
Graph shared_and_moved() {
  Builder b(4);
  const ValueId x = b.input("x", {2, 6, 8});
  const ValueId norm = b.layer_norm(x, 8, "norm");
  AttributeMap perm;
  perm.set("perm", std::vector<int64_t>{1, 0, 2});
  const ValueId turned = b.op("Transpose", {norm}, "turned", perm);
  const ValueId w = b.graph.add_constant("w", b.random({8, 5}, 0.4F));
  const ValueId plain = b.op("MatMul", {turned, w}, "plain");
  const ValueId again = b.op("MatMul", {norm, w}, "again");
  const ValueId biased = b.linear(norm, 8, 4, "biased");
  const ValueId flat =
      b.op("Reshape", {norm, b.graph.add_constant("rows", Tensor::of_i64({12, 8}))}, "flat");
  AttributeMap gemm;
  gemm.set("transB", int64_t{1});
  const ValueId v = b.graph.add_constant("v", b.random({3, 8}, 0.4F));
  return b.finish({plain, again, biased, b.op("Gemm", {flat, v}, "gemm", gemm)});
}

TEST(NormFold, follows_moved_rows_and_copies_what_is_shared) {
  for (const bool with_shifts : {false, true}) expect_unchanged(shared_and_moved(), with_shifts);
}

TEST(NormFold, leaves_out_what_others_read) {
  Builder b(4);
  const ValueId x = b.input("x", {6, 8});
  const ValueId added = b.layer_norm(x, 8, "added");
  const ValueId shown = b.layer_norm(x, 8, "shown");
  const ValueId turned = b.layer_norm(x, 8, "turned");
  const ValueId sum = b.op("Add", {added, b.linear(added, 8, 8, "first")}, "sum");
  AttributeMap perm;
  perm.set("perm", std::vector<int64_t>{1, 0});
  const ValueId columns = b.op("Transpose", {turned}, "columns", perm);
  const Graph graph =
      b.finish({sum, shown, b.linear(shown, 8, 4, "second"), b.linear(columns, 6, 4, "third")});
  EXPECT_TRUE(norm_folds(graph).empty());
}

TEST(NormFold, shifts_need_an_offset) {
  Builder b(4);
  const ValueId x = b.input("x", {6, 8});
  const ValueId scale = b.graph.add_constant("scale", b.random({8}, 1.0F));
  AttributeMap axis;
  axis.set("axis", int64_t{-1});
  const ValueId norm = b.op("LayerNormalization", {x, scale}, "norm", axis);
  Graph graph = b.finish({b.linear(norm, 8, 4, "layer")});
  expect_unchanged(graph, true);
  const std::vector<float> ones(8, 1.0F);
  EXPECT_THROW(fold_into_norm(graph, norm_folds(graph)[0], ones, ones), Error);
  EXPECT_THROW(fold_into_norm(graph, norm_folds(graph)[0], std::span(ones).first(7), {}), Error);
}

}  // namespace
}  // namespace ounce::quantize
