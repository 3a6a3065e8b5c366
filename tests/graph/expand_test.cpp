// Operators of our own, and new ones, written in what every runtime has.
#include "engine/reference/reference.h"
#include "graph/error.h"
#include "tests/graph/pass_checks.h"

namespace ounce {
namespace {

using namespace ounce::testing;

TEST(ExpandFused, rotary_embedding_both_pairings) {
  for (const int interleaved : {0, 1}) {
    Builder b;
    const ValueId x = b.input("x", {2, 3, 5, 8});
    const ValueId y = b.op("RotaryEmbedding", {x, b.weights({5, 4}, 1), b.weights({5, 4}, 2)},
                           attributes("interleaved", interleaved));
    check_expansion(b.done({y}), 21, "RotaryEmbedding");
  }
}

TEST(ExpandFused, binarize_per_tensor_and_axis) {
  Builder b;
  const ValueId x = b.input("x", {2, 3, 4});
  const ValueId plain = b.op("Binarize", {x});
  const ValueId tensor = b.op("Binarize", {x, b.number(0.3)});
  const ValueId axis = b.op("Binarize", {x, b.positive({3}, 1)}, attributes("axis", 1));
  AttributeMap map = attributes("axis", 1);
  map.set("unsigned", int64_t{1});
  const ValueId zero_or_scale = b.op("Binarize", {x, b.positive({3}, 1)}, map);
  check_expansion(b.done({plain, tensor, axis, zero_or_scale}), 21, "Binarize");
}

TEST(ExpandFused, dynamic_grids_of_rows_and_tensors) {
  for (const int per_token : {0, 1}) {
    for (const int symmetric : {0, 1}) {
      for (const int bits : {2, 4, 8}) {
        AttributeMap given = attributes("bits", bits);
        given.set("per_token", int64_t{per_token});
        given.set("symmetric", int64_t{symmetric});
        Builder b;
        // Rows of zeros, too.
        const ValueId x =
            b.op("Mul", {b.input("x", {2, 3, 9}), b.op("Relu", {b.weights({3, 1}, 8)})});
        check_expansion(b.done({b.op("DynamicFakeQuant", {x}, given)}), 21, "DynamicFakeQuant");
      }
    }
  }
}

TEST(ExpandFused, logarithmic_codes_over_their_whole_range_and_beyond) {
  std::vector<float> values = {0.0F, -1.0F, 3.0F, NAN, INFINITY, 1e-30F};
  // Not beside a border, where a logarithm in floats may round to the other code.
  for (int i = 0; i < 80; ++i) values.push_back(std::exp2(-0.25F * static_cast<float>(i) + 0.1F));
  const Tensor x = Tensor::of(values, {static_cast<int64_t>(values.size())});
  for (const int64_t steps : {1, 2}) {
    for (const int64_t bits : {1, 4, 6, -4}) {  // negative: zero_below
      Builder b;
      AttributeMap grid = attributes("bits", std::abs(bits));
      grid.set("steps_per_octave", steps);
      grid.set("zero_below", int64_t{bits < 0});
      const Graph fused = b.done({b.op("LogQuantize", {b.input("x", symbolic(x.shape()))}, grid)});
      Graph plain = fused;
      EXPECT_EQ(expand_fused(plain, 21), 1);
      for (const Node& node : plain.nodes) EXPECT_EQ(find_operator(node.op)->domain, "");
      EXPECT_EQ(engine::reference::run(plain, std::span(&x, 1))[0].to_f32(),
                engine::reference::run(fused, std::span(&x, 1))[0].to_f32());
    }
  }
}

TEST(ExpandFused, group_normalization_for_older_opsets) {
  Builder b;
  const ValueId x = b.input("x", {2, 6, 4, 5});
  const ValueId y = b.op("GroupNormalization", {x, b.weights({6}, 1), b.weights({6}, 2)},
                         attributes("num_groups", 3));
  check_expansion(b.done({y}), 18, "GroupNormalization");
}

TEST(ExpandFused, does_nothing_where_onnx_has_the_operator) {
  Builder b;
  const ValueId x = b.input("x", {2, 8});
  Graph graph = b.done({b.op("Gelu", {b.op("LayerNormalization", {x, b.weights({8}, 1)})})});
  EXPECT_EQ(expand_fused(graph), 0);
  EXPECT_EQ(operators(graph), "LayerNormalization Gelu");
}

TEST(ExpandFused, says_what_it_needs) {
  Graph graph = one_node("Attention", {{}, {}, {}});
  EXPECT_THROW(expand_fused(graph), Error);
}

}  // namespace
}  // namespace ounce
