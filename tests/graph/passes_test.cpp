// The passes change graphs, never what they compute.
#include "graph/error.h"
#include "tests/graph/pass_checks.h"

namespace ounce {
namespace {

using namespace ounce::testing;

// ---- folding and elimination

TEST(FoldConstants, computes_weights_and_shape_arithmetic) {
  Builder b;
  const ValueId x = b.input("x", {2, 3, 4});
  const ValueId shape = b.op("Shape", {x});
  const ValueId first = b.op("Slice", {shape, b.ints({0}), b.ints({1})});
  const ValueId target = b.op("Concat", {first, b.ints({-1})}, attributes("axis", 0));
  const ValueId flat = b.op("Reshape", {x, target});
  const ValueId w = b.op("Transpose", {b.weights({5, 12}, 1)}, attributes("perm", Ints{1, 0}));
  const Graph before = b.done({b.op("MatMul", {flat, w})});
  check(
      before, [](Graph& g) { return fold_constants(g, engine::reference::evaluator()); }, 4,
      "Reshape MatMul");
}

TEST(FoldConstants, keeps_dequantized_weights_quantized) {
  Builder b;
  const ValueId x = b.input("x", {2, 4});
  const ValueId codes =
      b.graph.add_constant("codes", cast(random_tensor({4, 3}, 2, 100), DType::i8));
  const ValueId w = b.op("DequantizeLinear", {codes, b.number(0.1)});
  const Graph before = b.done({b.op("MatMul", {x, w})});
  check(
      before, [](Graph& g) { return fold_constants(g, engine::reference::evaluator()); }, 0,
      "DequantizeLinear MatMul");
}

TEST(EliminateNoOps, identity_dropout_cast_reshape_slice_pad) {
  Builder b;
  ValueId v = b.op("Identity", {b.input("x", {2, 3, 4})});
  v = b.op("Dropout", {v});
  v = b.op("Cast", {v}, attributes("to", 1));
  v = b.op("Reshape", {v, b.ints({2, 3, 4})});
  v = b.op("Relu", {v});
  v = b.op("Slice", {v, b.ints({0}), b.ints({99}), b.ints({1})});
  v = b.op("Pad", {v, b.ints({0, 0, 0, 0, 0, 0})});
  v = b.op("Expand", {v, b.ints({1, 1, 4})});
  v = b.op("Concat", {v}, attributes("axis", 0));
  const Graph before = b.done({b.op("Identity", {v})});
  Graph after = before;
  EXPECT_EQ(eliminate_no_ops(after), 9);
  EXPECT_EQ(operators(after), "Relu");
  expect_equivalent(before, after);
}

TEST(EliminateNoOps, leaves_what_matters) {
  Builder b;
  const ValueId x = b.input("x", {2, 3});
  const ValueId reversed =
      b.op("Slice", {x, b.ints({-1}), b.ints({-99}), b.ints({1}), b.ints({-1})});
  const ValueId kept = b.op("Identity", {x});  // an input handed on as an output
  const ValueId grown = b.op("Expand", {x, b.ints({4, 1, 3})});
  const Graph before = b.done({reversed, kept});
  check(before, eliminate_no_ops, 0, "Slice Identity");
  EXPECT_NE(grown, kNoValue);
}

TEST(EliminateNoOps, joins_transposes_and_reshapes) {
  Builder b;
  const ValueId x = b.input("x", {2, 3, 4});
  ValueId v = b.op("Transpose", {x}, attributes("perm", Ints{1, 2, 0}));
  v = b.op("Transpose", {v}, attributes("perm", Ints{2, 0, 1}));
  v = b.op("Relu", {v});
  v = b.op("Reshape", {v, b.ints({6, 4})});
  const Graph before = b.done({b.op("Reshape", {v, b.ints({3, -1})})});
  Graph after = before;
  EXPECT_GT(eliminate_no_ops(after), 0);
  EXPECT_EQ(operators(after), "Relu Reshape");
  expect_equivalent(before, after);
}

TEST(EliminateNoOps, a_reshape_that_copies_a_dimension_needs_the_one_before) {
  Builder b;
  const ValueId x = b.input("x", {2, 6});
  const ValueId v = b.op("Reshape", {x, b.ints({3, 4})});
  check(b.done({b.op("Reshape", {v, b.ints({0, 2, 2})})}), eliminate_no_ops, 0, "Reshape Reshape");
}

TEST(MergeCommonSubexpressions, equal_nodes_become_one_but_not_qdq) {
  Builder b;
  const ValueId x = b.input("x", {2, 3});
  const ValueId a = b.op("Mul", {x, b.number(2)});
  const ValueId c = b.op("Mul", {x, b.number(2)});
  const ValueId d = b.op("Mul", {x, b.number(3)});
  const ValueId sum = b.op("Sum", {a, c, d});
  check(b.done({sum}), merge_common_subexpressions, 1, "Mul Mul Sum");

  Builder q;
  const ValueId y = q.input("y", {2, 3});
  const ValueId code = q.op("QuantizeLinear", {y, q.number(0.1)});
  const ValueId p = q.op("DequantizeLinear", {code, q.number(0.1)});
  const ValueId r = q.op("DequantizeLinear", {code, q.number(0.1)});
  check(q.done({q.op("Add", {p, r})}), merge_common_subexpressions, 0,
        "QuantizeLinear DequantizeLinear DequantizeLinear Add");
}

TEST(MergeCommonSubexpressions, attributes_and_output_names_tell_nodes_apart) {
  Builder b;
  const ValueId x = b.input("x", {2, 3});
  const ValueId a = b.op("Softmax", {x}, attributes("axis", 0));
  const ValueId c = b.op("Softmax", {x}, attributes("axis", 1));
  check(b.done({a, c, b.op("Softmax", {x}, attributes("axis", 1))}), merge_common_subexpressions, 0,
        "Softmax Softmax Softmax");
}

// ---- batch normalisation

std::vector<ValueId> batch_norm_inputs(Builder& b, ValueId x, int64_t channels) {
  return {x, b.weights({channels}, 11), b.weights({channels}, 12), b.weights({channels}, 13),
          b.positive({channels}, 14)};
}

TEST(FoldBatchNorm, into_grouped_conv_with_bias) {
  Builder b;
  const ValueId x = b.input("x", {2, 4, 5, 5});
  const ValueId y =
      b.op("Conv", {x, b.weights({6, 2, 3, 3}, 1), b.weights({6}, 2)}, attributes("group", 2));
  const Graph after = check(b.done({b.op("BatchNormalization", batch_norm_inputs(b, y, 6))}),
                            fold_batch_norm, 1, "Conv");
  EXPECT_EQ(after.nodes[0].name, "Conv");
}

TEST(FoldBatchNorm, into_grouped_conv_transpose) {
  Builder b;
  const ValueId x = b.input("x", {1, 4, 3, 3});
  const ValueId y = b.op("ConvTranspose", {x, b.weights({4, 3, 2, 2}, 1)}, attributes("group", 2));
  check(b.done({b.op("BatchNormalization", batch_norm_inputs(b, y, 6))}), fold_batch_norm, 1,
        "ConvTranspose");
}

TEST(FoldBatchNorm, into_gemm_with_beta) {
  Builder b;
  const ValueId x = b.input("x", {3, 4});
  const ValueId y = b.op("Gemm", {x, b.weights({5, 4}, 1), b.weights({1, 5}, 2)},
                         attributes("transB", 1, "beta", 0.5f, "alpha", 2.0f));
  check(b.done({b.op("BatchNormalization", batch_norm_inputs(b, y, 5))}), fold_batch_norm, 1,
        "Gemm");
}

TEST(FoldBatchNorm, into_matmul_leaves_an_add) {
  Builder b;
  const ValueId x = b.input("x", {3, 4});
  const ValueId y = b.op("MatMul", {x, b.weights({4, 5}, 1)});
  check(b.done({b.op("BatchNormalization", batch_norm_inputs(b, y, 5))}), fold_batch_norm, 1,
        "MatMul Add");
}

TEST(FoldBatchNorm, takes_layer_scales_behind_the_bias_of_a_matmul) {
  Builder b;
  const ValueId x = b.input("x", {2, 3, 4});
  ValueId y = b.op("MatMul", {x, b.weights({4, 5}, 1)});
  y = b.op("Mul", {b.op("Add", {b.weights({5}, 2), y}), b.weights({1, 5}, 3)});
  ValueId z = b.op("Div", {b.op("MatMul", {x, b.weights({4, 5}, 4)}), b.positive({5}, 5)});
  z = b.op("Add", {z, b.weights({5}, 6)});
  check(b.done({b.op("Add", {y, z})}), fold_batch_norm, 2, "MatMul Add MatMul Add Add");

  // One number a token is none a channel; what else reads the sum needs it as it is.
  Builder other;
  const ValueId u = other.input("u", {2, 5, 4});
  const ValueId tokens = other.op("MatMul", {u, other.weights({4, 5}, 1)});
  const ValueId sum =
      other.op("Add", {other.op("MatMul", {u, other.weights({4, 5}, 2)}), other.weights({5}, 3)});
  check(other.done({other.op("Mul", {tokens, other.weights({5, 1}, 4)}),
                    other.op("Mul", {sum, other.weights({5}, 5)}), sum}),
        fold_batch_norm, 0, "MatMul MatMul Add Mul Mul");
}

TEST(FoldBatchNorm, takes_constant_affine_nodes_too) {
  Builder b;
  const ValueId x = b.input("x", {2, 4, 5, 5});
  ValueId y = b.op("Conv", {x, b.weights({6, 4, 1, 1}, 1)});
  y = b.op("Mul", {b.weights({6, 1, 1}, 2), y});
  y = b.op("Sub", {y, b.weights({1, 6, 1, 1}, 3)});
  y = b.op("Div", {y, b.number(3)});
  check(b.done({b.op("Add", {y, b.weights({6, 1, 1}, 4)})}), fold_batch_norm, 4, "Conv");
}

TEST(FoldBatchNorm, leaves_readers_that_differ) {
  Builder b;
  const ValueId x = b.input("x", {1, 4, 5, 5});
  const ValueId y = b.op("Conv", {x, b.weights({5, 4, 1, 1}, 1)});
  // Varies along the width, not the channels.
  check(b.done({b.op("Mul", {y, b.weights({5}, 2)})}), fold_batch_norm, 0, "Conv Mul");

  Builder shared;
  const ValueId z =
      shared.op("Conv", {shared.input("x", {1, 4, 5, 5}), shared.weights({5, 4, 1, 1}, 1)});
  const ValueId n = shared.op("BatchNormalization", batch_norm_inputs(shared, z, 5));
  check(shared.done({n, z}), fold_batch_norm, 0, "Conv BatchNormalization");
}

TEST(FoldBatchNorm, leaves_quantized_weights_alone) {
  Builder b;
  const ValueId x = b.input("x", {1, 4, 5, 5});
  const ValueId codes =
      b.graph.add_constant("codes", cast(random_tensor({5, 4, 1, 1}, 2, 100), DType::i8));
  const ValueId y = b.op("Conv", {x, b.op("DequantizeLinear", {codes, b.number(0.1)})});
  check(b.done({b.op("BatchNormalization", batch_norm_inputs(b, y, 5))}), fold_batch_norm, 0,
        "DequantizeLinear Conv BatchNormalization");
}

TEST(LowerBatchNorm, alone_becomes_mul_and_add) {
  Builder b;
  const ValueId x = b.input("x", {2, 4, 3, 3});
  check(b.done({b.op("BatchNormalization", batch_norm_inputs(b, x, 4))}), lower_batch_norm, 1,
        "Mul Add");
}

// ---- normalisations

enum class Root { div_sqrt, mul_reciprocal, pow_half };

ValueId normalized(Builder& b, ValueId x, const Ints& axes, bool pow, bool twice, Root root) {
  const auto centre = [&] { return b.op("Sub", {x, b.op("ReduceMean", {x, b.ints(axes)})}); };
  const ValueId d = centre();
  const ValueId e = twice ? centre() : d;
  const ValueId square = pow ? b.op("Pow", {e, b.number(2)}) : b.op("Mul", {e, e});
  const ValueId sum = b.op("Add", {b.op("ReduceMean", {square, b.ints(axes)}), b.number(1e-5)});
  if (root == Root::mul_reciprocal)
    return b.op("Mul", {d, b.op("Reciprocal", {b.op("Sqrt", {sum})})});
  if (root == Root::pow_half) return b.op("Div", {d, b.op("Pow", {sum, b.number(0.5)})});
  return b.op("Div", {d, b.op("Sqrt", {sum})});
}

TEST(FuseLayerNorm, every_way_to_write_it) {
  for (const bool pow : {false, true}) {
    for (const bool twice : {false, true}) {
      for (const Root root : {Root::div_sqrt, Root::mul_reciprocal, Root::pow_half}) {
        Builder b;
        const ValueId n = normalized(b, b.input("x", {2, 3, 8}), {-1}, pow, twice, root);
        const ValueId scaled = b.op("Mul", {b.weights({8}, 1), n});
        const Graph before = b.done({b.op("Add", {scaled, b.weights({8}, 2)})});
        const Graph after = check(before, fuse_layer_norm, 1, "LayerNormalization");
        EXPECT_EQ(after.nodes[0].attributes.get_int("axis", 0), -1);
        EXPECT_FLOAT_EQ(after.nodes[0].attributes.get_float("epsilon", 0), 1e-5f);
        check_expansion(after, 13, "LayerNormalization");
      }
    }
  }
}

TEST(FuseLayerNorm, several_axes_and_no_affine_part) {
  Builder b;
  const Graph before =
      b.done({normalized(b, b.input("x", {2, 3, 8}), {1, 2}, true, false, Root::div_sqrt)});
  const Graph after = check(before, fuse_layer_norm, 1, "LayerNormalization");
  EXPECT_EQ(after.nodes[0].attributes.get_int("axis", 0), -2);
}

TEST(FuseLayerNorm, not_over_leading_axes_nor_when_the_inside_is_read) {
  Builder b;
  const Graph before =
      b.done({normalized(b, b.input("x", {2, 3, 8}), {1}, true, false, Root::div_sqrt)});
  Graph after = before;
  EXPECT_EQ(fuse_layer_norm(after), 0);

  Builder c;
  const ValueId n = normalized(c, c.input("x", {2, 3, 8}), {2}, true, false, Root::div_sqrt);
  Graph read = c.done({n, c.graph.nodes[1].outputs[0]});
  EXPECT_EQ(fuse_layer_norm(read), 0);
}

TEST(FuseLayerNorm, a_scalar_scale_stays_outside) {
  Builder b;
  const ValueId n = normalized(b, b.input("x", {2, 8}), {-1}, true, false, Root::div_sqrt);
  check(b.done({b.op("Mul", {n, b.number(3)})}), fuse_layer_norm, 1, "LayerNormalization Mul");
}

TEST(FuseRmsNorm, with_and_without_scale) {
  for (const bool reciprocal : {false, true}) {
    Builder b;
    const ValueId x = b.input("x", {2, 3, 8});
    const ValueId mean = b.op("ReduceMean", {b.op("Pow", {x, b.number(2)}), b.ints({-1})});
    const ValueId root = b.op("Sqrt", {b.op("Add", {mean, b.number(1e-6)})});
    const ValueId n =
        reciprocal ? b.op("Mul", {x, b.op("Div", {b.number(1), root})}) : b.op("Div", {x, root});
    const Graph after =
        check(b.done({b.op("Mul", {b.weights({8}, 1), n})}), fuse_rms_norm, 1, "RMSNorm");
    check_expansion(after, 21, "RMSNorm");
  }
}

// ---- activations

TEST(FuseGelu, erf_form_in_its_orderings) {
  for (const int order : {0, 1, 2, 3}) {
    for (const bool divides : {false, true}) {
      Builder b;
      const ValueId x = b.input("x", {2, 50});
      const ValueId half = b.number(0.5);
      const ValueId scaled = divides ? b.op("Div", {x, b.number(std::sqrt(2.0))})
                                     : b.op("Mul", {x, b.number(std::sqrt(0.5))});
      const ValueId tail = b.op("Add", {b.op("Erf", {scaled}), b.number(1)});
      ValueId y = kNoValue;
      if (order == 0) y = b.op("Mul", {b.op("Mul", {x, tail}), half});
      if (order == 1) y = b.op("Mul", {b.op("Mul", {half, x}), tail});
      if (order == 2) y = b.op("Mul", {x, b.op("Mul", {tail, half})});
      if (order == 3) y = b.op("Div", {b.op("Mul", {tail, x}), b.number(2)});
      const Graph after = check(b.done({y}), fuse_gelu, 1, "Gelu");
      EXPECT_EQ(after.nodes[0].attributes.get_string("approximate", ""), "none");
      check_expansion(after, 19, "Gelu");
    }
  }
}

TEST(FuseGelu, tanh_form) {
  for (const int order : {0, 1, 2}) {
    Builder b;
    const ValueId x = b.input("x", {2, 50});
    const ValueId c = b.number(0.044715);
    const ValueId k = b.number(std::sqrt(2 / 3.14159265358979));
    ValueId inner = kNoValue;
    if (order == 0) {
      const ValueId cube = b.op("Pow", {x, b.number(3)});
      inner = b.op("Mul", {k, b.op("Add", {x, b.op("Mul", {c, cube})})});
    } else if (order == 1) {
      const ValueId cube = b.op("Mul", {b.op("Mul", {x, x}), x});
      inner = b.op("Mul", {b.op("Add", {b.op("Mul", {cube, c}), x}), k});
    } else {
      const ValueId poly = b.op("Add", {b.op("Mul", {c, b.op("Mul", {x, x})}), b.number(1)});
      inner = b.op("Mul", {b.op("Mul", {k, x}), poly});
    }
    const ValueId tail = b.op("Add", {b.number(1), b.op("Tanh", {inner})});
    const Graph after =
        check(b.done({b.op("Mul", {b.op("Mul", {b.number(0.5), x}), tail})}), fuse_gelu, 1, "Gelu");
    EXPECT_EQ(after.nodes[0].attributes.get_string("approximate", ""), "tanh");
    check_expansion(after, 17, "Gelu");
  }
}

TEST(FuseGelu, not_with_other_constants) {
  Builder b;
  const ValueId x = b.input("x", {2, 50});
  const ValueId tail = b.op("Add", {b.op("Erf", {b.op("Div", {x, b.number(1.5)})}), b.number(1)});
  Graph graph = b.done({b.op("Mul", {b.op("Mul", {x, tail}), b.number(0.5)})});
  EXPECT_EQ(fuse_gelu(graph), 0);
}

TEST(FuseSilu, and_mish_and_back) {
  Builder b;
  const ValueId x = b.input("x", {2, 50});
  const Graph silu = check(b.done({b.op("Mul", {b.op("Sigmoid", {x}), x})}), fuse_silu, 1, "Silu");
  check_expansion(silu, 21, "Silu");
  Builder m;
  const ValueId y = m.input("x", {2, 50});
  const Graph mish = check(m.done({m.op("Mul", {y, m.op("Tanh", {m.op("Softplus", {y})})})}),
                           fuse_mish, 1, "Mish");
  check_expansion(mish, 17, "Mish");
}

TEST(FuseSilu, stops_at_quantization) {
  Builder b;
  const ValueId x = b.input("x", {2, 50});
  const ValueId s = b.op("Sigmoid", {x});
  const ValueId q =
      b.op("DequantizeLinear", {b.op("QuantizeLinear", {s, b.number(0.004)}), b.number(0.004)});
  Graph graph = b.done({b.op("Mul", {x, q})});
  EXPECT_EQ(fuse_silu(graph), 0);
}

TEST(FuseHardSwish, in_its_three_orderings) {
  for (const int order : {0, 1, 2}) {
    Builder b;
    const ValueId x = b.input("x", {2, 50});
    const ValueId clip = b.op("Clip", {b.op("Add", {x, b.number(3)}), b.number(0), b.number(6)});
    ValueId y = kNoValue;
    if (order == 0) y = b.op("Div", {b.op("Mul", {x, clip}), b.number(6)});
    if (order == 1) y = b.op("Mul", {x, b.op("Div", {clip, b.number(6)})});
    if (order == 2) y = b.op("Mul", {b.op("Mul", {clip, b.number(1 / 6.0)}), x});
    Graph before = b.done({y});
    Graph after = before;
    EXPECT_GE(fuse_hard_swish(after), 1);
    EXPECT_EQ(operators(after), "HardSwish") << order;
    expect_equivalent(before, after);
    infer_shapes(after);
    check_expansion(after, 13, "HardSwish");
  }
}

// ---- attention

struct AttentionForm {
  int scale = 0;  // 0 none, 1 on the scores (Mul), 2 on the scores (Div), 3 on q, 4 on q and on kT
  bool mask = false;
  int key =
      0;  // 0 Transpose of the last two, 1 one Transpose from [b, t, h, d], 2 given transposed
};

Graph attention_graph(const AttentionForm& form) {
  Builder b;
  ValueId q = b.input("q", {2, 3, 5, 8});
  const ValueId v = b.input("v", {2, 3, 6, 4});
  ValueId kt = kNoValue;
  if (form.key == 0) {
    kt = b.op("Transpose", {b.input("k", {2, 3, 6, 8})}, attributes("perm", Ints{0, 1, 3, 2}));
  } else if (form.key == 1) {
    kt = b.op("Transpose", {b.input("k", {2, 6, 3, 8})}, attributes("perm", Ints{0, 2, 3, 1}));
  } else {
    kt = b.input("k", {2, 3, 8, 6});
  }
  if (form.scale >= 3) q = b.op("Mul", {q, b.number(0.6)});
  if (form.scale == 4) kt = b.op("Mul", {kt, b.number(0.6)});
  ValueId scores = b.op("MatMul", {q, kt});
  if (form.scale == 1) scores = b.op("Mul", {scores, b.number(0.35)});
  if (form.scale == 2) scores = b.op("Div", {scores, b.number(2.8)});
  if (form.mask) scores = b.op("Add", {scores, b.input("mask", {2, 1, 5, 6})});
  const ValueId map = b.op("Softmax", {scores}, attributes("axis", -1));
  return b.done({b.op("MatMul", {map, v})});
}

TEST(FuseAttention, scales_masks_and_keys_in_every_form) {
  for (const int scale : {0, 1, 2, 3, 4}) {
    for (const bool mask : {false, true}) {
      for (const int key : {0, 1, 2}) {
        SCOPED_TRACE("scale " + std::to_string(scale) + " mask " + std::to_string(mask) + " key " +
                     std::to_string(key));
        const Graph before = attention_graph({scale, mask, key});
        const Graph after =
            check(before, fuse_attention, 1, key == 0 ? "Attention" : "Transpose Attention");
        check_expansion(after, 21, "Attention");
      }
    }
  }
}

TEST(FuseAttention, not_over_another_axis_nor_for_a_weight) {
  Graph graph = attention_graph({});
  for (Node& node : graph.nodes) {
    if (node.op == "Softmax") node.attributes.set("axis", int64_t{-2});
  }
  EXPECT_EQ(fuse_attention(graph), 0);

  Builder b;
  const ValueId scores = b.op("MatMul", {b.input("q", {2, 5, 8}), b.input("k", {2, 8, 6})});
  Graph weight = b.done({b.op("MatMul", {b.op("Softmax", {scores}), b.weights({6, 4}, 1)})});
  EXPECT_EQ(fuse_attention(weight), 0);
}

TEST(FuseAttention, not_with_dequantized_operands) {
  Builder b;
  const ValueId q = b.input("q", {2, 5, 8});
  const ValueId codes = b.op("QuantizeLinear", {q, b.number(0.1)});
  const ValueId dq = b.op("DequantizeLinear", {codes, b.number(0.1)});
  const ValueId scores = b.op("MatMul", {dq, b.input("k", {2, 8, 6})});
  Graph graph = b.done({b.op("MatMul", {b.op("Softmax", {scores}), b.input("v", {2, 6, 4})})});
  EXPECT_EQ(fuse_attention(graph), 0);
}

// ---- everything

TEST(Optimize, keeps_interface_and_result_of_a_transformer_block) {
  Builder b;
  const ValueId x = b.input("x", {2, 5, 8});
  const ValueId n = b.op(
      "Add", {b.op("Mul", {normalized(b, x, {-1}, true, false, Root::div_sqrt), b.weights({8}, 1)}),
              b.weights({8}, 2)});
  const ValueId q = b.op("MatMul", {n, b.weights({8, 8}, 3)});
  const ValueId k = b.op("MatMul", {n, b.weights({8, 8}, 4)});
  const ValueId v = b.op("MatMul", {n, b.weights({8, 8}, 5)});
  const ValueId kt = b.op("Transpose", {k}, attributes("perm", Ints{0, 2, 1}));
  const ValueId map = b.op("Softmax", {b.op("Mul", {b.op("MatMul", {q, kt}), b.number(0.35)})});
  const ValueId mixed = b.op("Dropout", {b.op("MatMul", {map, v})});
  const ValueId sum = b.op("Add", {x, mixed});
  const ValueId tail =
      b.op("Add", {b.op("Erf", {b.op("Div", {sum, b.number(std::sqrt(2.0))})}), b.number(1)});
  const ValueId y = b.op("Mul", {b.op("Mul", {sum, b.number(0.5)}), tail});
  const Graph before = b.done({b.op("Identity", {y})});
  Graph after = before;
  optimize(after, engine::reference::evaluator());
  EXPECT_EQ(operators(after), "LayerNormalization MatMul MatMul MatMul Attention Add Gelu");
  expect_equivalent(before, after);
  for (const Value& value : after.values) EXPECT_TRUE(value.shape) << value.name;
  Graph again = after;
  for (const PassResult& result : optimize(again, engine::reference::evaluator())) {
    EXPECT_EQ(result.rewrites, 0) << result.name << " finds something the second time";
  }
}

}  // namespace
}  // namespace ounce
