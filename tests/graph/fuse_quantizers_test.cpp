// Quantizers written in ONNX operators are found again, and only those.
#include <functional>

#include "tests/graph/pass_checks.h"

namespace ounce {
namespace {

using namespace ounce::testing;

/// Expands and applies `pass`: must give the first graph again, down to its attributes.
template <class Pass>
void expect_round_trip(const Graph& fused, Pass pass) {
  Graph plain = fused;
  const int expanded = expand_fused(plain, 21);
  ASSERT_GT(expanded, 0);
  Graph again = plain;
  EXPECT_EQ(pass(again), expanded);
  infer_shapes(again);
  ASSERT_EQ(operators(again), operators(fused));
  for (size_t n = 0; n < again.nodes.size(); ++n) {
    const AttributeMap& given = fused.nodes[n].attributes;
    const AttributeMap& found = again.nodes[n].attributes;
    for (const char* name :
         {"axis", "bits", "per_token", "steps_per_octave", "symmetric", "unsigned", "zero_below"}) {
      EXPECT_EQ(found.get_int(name, 0), given.get_int(name, 0)) << name;
    }
  }
  expect_equivalent(plain, again);
}

Graph dynamic_grid(int64_t bits, int64_t per_token, int64_t symmetric) {
  AttributeMap given = attributes("bits", bits);
  given.set("per_token", per_token);
  given.set("symmetric", symmetric);
  Builder b;
  // Rows of zeros, too.
  const ValueId x = b.op("Mul", {b.input("x", {2, 3, 9}), b.op("Relu", {b.weights({3, 1}, 8)})});
  return b.done({b.op("DynamicFakeQuant", {x}, given)});
}

TEST(FuseDynamicFakeQuant, grids_of_rows_and_tensors) {
  for (const int64_t per_token : {0, 1}) {
    for (const int64_t symmetric : {0, 1}) {
      for (const int64_t bits : {2, 3, 4, 6, 8}) {
        expect_round_trip(dynamic_grid(bits, per_token, symmetric), fuse_dynamic_fake_quant);
      }
    }
  }
}

TEST(FuseDynamicFakeQuant, leaves_other_grids_alone) {
  // Each constant or axis that is not such a grid's is another computation.
  const auto changed = [](const std::function<void(Graph&)>& change) {
    Graph plain = dynamic_grid(8, 1, 0);
    expand_fused(plain, 21);
    change(plain);
    EXPECT_EQ(fuse_dynamic_fake_quant(plain), 0);
  };
  const auto set = [](float from, float to) {
    return [from, to](Graph& graph) {
      for (Value& value : graph.values) {
        if (!value.is_constant() || value.constant.size() != 1) continue;
        if (value.constant.dtype() != DType::f32 || value.constant.to_f32()[0] != from) continue;
        value.constant = Tensor::scalar(to);
      }
    };
  };
  changed(set(255, 254));
  changed(set(255, 256));
  changed(set(1, 2));      // the divisor of rows of zeros
  changed(set(0, 1e-4F));  // a range that does not reach to 0
  changed([](Graph& graph) {
    for (Value& value : graph.values) {
      if (!value.is_constant() || value.constant.dtype() != DType::i64) continue;
      value.constant = Tensor::of_i64({-2});
    }
  });
  changed([](Graph& graph) {
    for (Node& node : graph.nodes) {
      if (node.op == "ReduceMax") node.attributes.set("keepdims", int64_t{0});
    }
  });
}

TEST(FuseBinarize, scales_of_tensors_and_axes) {
  Builder b;
  const ValueId x = b.input("x", {2, 3, 4});
  const ValueId square = b.input("square", {3, 3});
  AttributeMap positive = attributes("axis", 1);
  positive.set("unsigned", int64_t{1});
  expect_round_trip(b.done({b.op("Binarize", {x}), b.op("Binarize", {x, b.number(0.3)}),
                            b.op("Binarize", {x, b.positive({3}, 1)}, attributes("axis", 1)),
                            b.op("Binarize", {square, b.positive({3}, 3)}, attributes("axis", 0)),
                            b.op("Binarize", {square, b.positive({3}, 4)}, attributes("axis", 1)),
                            b.op("Binarize", {x, b.positive({3}, 1)}, positive),
                            b.op("Binarize", {x, b.number(0.4)}, attributes("unsigned", 1))}),
                    fuse_binarize);
}

TEST(FuseBinarize, leaves_what_rounds_otherwise_or_widens) {
  Builder b;
  const ValueId x = b.input("x", {2, 1, 4});
  const auto sign = [&](const char* compare, double zero) {
    const ValueId negative = b.op(compare, {x, b.number(zero)});
    return b.op("Where", {negative, b.number(-1), b.number(1)});
  };
  const ValueId half = b.op("Greater", {x, b.number(0.26)});
  Graph graph = b.done({sign("LessOrEqual", 0), sign("Less", 0.1),
                        b.op("Where", {half, b.number(0.5), b.number(0)})});
  EXPECT_EQ(fuse_binarize(graph), 0);

  Builder wider;
  const ValueId narrow = wider.input("x", {2, 1, 4});
  const ValueId negative = wider.op("Less", {narrow, wider.number(0)});
  const ValueId signs = wider.op("Where", {negative, wider.number(-1), wider.number(1)});
  const Graph before = wider.done({wider.op("Mul", {signs, wider.weights({3, 1}, 1)})});
  check(before, fuse_binarize, 1, "Binarize Mul");  // the scale stays a product
}

TEST(FuseLogQuantize, grids_of_both_bases) {
  for (const int64_t steps : {1, 2}) {
    for (const int64_t bits : {1, 2, 4, 6, -1, -4, -5}) {  // negative: zero_below
      Builder b;
      AttributeMap grid = attributes("bits", std::abs(bits));
      grid.set("steps_per_octave", steps);
      grid.set("zero_below", int64_t{bits < 0});
      expect_round_trip(b.done({b.op("LogQuantize", {b.input("x", {3, 7})}, grid)}),
                        fuse_log_quantize);
    }
  }
}

TEST(FuseLogQuantize, leaves_other_tables_alone) {
  Builder b;
  Graph graph = b.done({b.op("LogQuantize", {b.input("x", {3, 7})}, attributes("bits", 3))});
  expand_fused(graph, 21);
  for (Value& value : graph.values) {
    if (value.is_constant() && value.constant.size() == 8) {
      value.constant.mutable_data<float>()[5] = 0.03F;
    }
  }
  EXPECT_EQ(fuse_log_quantize(graph), 0);
}

}  // namespace
}  // namespace ounce
