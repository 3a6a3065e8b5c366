// Shape inference: concrete shapes exactly, named dimensions as far as they go, hostile input as
// `Error`.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/reference/reference.h"
#include "graph/error.h"
#include "graph/operator.h"
#include "tests/graph/build_graph.h"

namespace ounce {
namespace {

using namespace ounce::testing;

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
const Dim kBatch("batch");

TEST(InferConv, kernel_stride_padding_dilation_and_groups) {
  const Operand x = input({kBatch, 8, 17, 30});
  EXPECT_EQ(inferred("Conv", {x, input({16, 8, 3, 3})}), "[batch, 16, 15, 28]");
  EXPECT_EQ(inferred("Conv", {x, input({16, 8, 3, 3})},
                     attributes("pads", Ints{1, 1, 1, 1}, "strides", Ints{2, 2})),
            "[batch, 16, 9, 15]");
  EXPECT_EQ(inferred("Conv", {x, input({16, 8, 3, 3})}, attributes("dilations", Ints{2, 3})),
            "[batch, 16, 13, 24]");
  EXPECT_EQ(inferred("Conv", {x, input({8, 1, 3, 3}), input({8})}, attributes("group", 8)),
            "[batch, 8, 15, 28]");
  EXPECT_EQ(inferred("Conv", {input({1, 4, 10}), input({6, 4, 3})}), "[1, 6, 8]");
}

TEST(InferConv, auto_pad_follows_the_input) {
  const Operand x = input({1, 3, 7, 8});
  const Operand w = input({4, 3, 3, 3});
  const Ints two = {2, 2};
  EXPECT_EQ(inferred("Conv", {x, w}, attributes("auto_pad", "SAME_UPPER", "strides", two)),
            "[1, 4, 4, 4]");
  EXPECT_EQ(inferred("Conv", {x, w}, attributes("auto_pad", "SAME_LOWER")), "[1, 4, 7, 8]");
  EXPECT_EQ(inferred("Conv", {x, w}, attributes("auto_pad", "VALID", "strides", two)),
            "[1, 4, 3, 3]");
}

TEST(InferConv, named_sides_pass_where_padding_keeps_them) {
  const Operand x = input({kBatch, 4, Dim("height"), Dim("width")});
  const Operand w = input({8, 4, 3, 3});
  EXPECT_EQ(inferred("Conv", {x, w}, attributes("pads", Ints{1, 1, 1, 1})),
            "[batch, 8, height, width]");
  EXPECT_EQ(inferred("Conv", {x, w}, attributes("auto_pad", "SAME_UPPER")),
            "[batch, 8, height, width]");
  EXPECT_EQ(inferred("Conv", {x, w}, attributes("pads", Ints{1, 0, 1, 0})),
            "[batch, 8, height, ?]");
  EXPECT_EQ(inferred("Conv", {x, w}, attributes("pads", Ints{1, 1, 1, 1}, "strides", Ints{2, 1})),
            "[batch, 8, ?, width]");
}

TEST(InferConv, rejects_what_cannot_be) {
  const Operand x = input({1, 8, 17, 30});
  const Operand w = input({16, 8, 3, 3});
  EXPECT_THROW(inferred("Conv", {x, w}, attributes("strides", Ints{0, 1})), Error);
  EXPECT_THROW(inferred("Conv", {x, w}, attributes("strides", Ints{1})), Error);
  EXPECT_THROW(inferred("Conv", {x, w}, attributes("dilations", Ints{-1, 1})), Error);
  EXPECT_THROW(inferred("Conv", {x, w}, attributes("dilations", Ints{kHuge, kHuge})), Error);
  EXPECT_THROW(inferred("Conv", {x, w}, attributes("pads", Ints{kHuge, 0, kHuge, 0})), Error);
  EXPECT_THROW(inferred("Conv", {x, w}, attributes("group", 3)), Error);
  EXPECT_THROW(inferred("Conv", {x, w}, attributes("group", 0)), Error);
  EXPECT_THROW(inferred("Conv", {x, w}, attributes("auto_pad", "SIDEWAYS")), Error);
  EXPECT_THROW(inferred("Conv", {x, w}, attributes("kernel_shape", Ints{5, 5})), Error);
  EXPECT_THROW(inferred("Conv", {x, input({16, 4, 3, 3})}), Error);
  EXPECT_THROW(inferred("Conv", {x, w, input({3})}), Error);
  EXPECT_THROW(inferred("Conv", {input({1, 8, 2, 2}), w}), Error);
  EXPECT_THROW(inferred("Conv", {input({1, 8}), w}), Error);
  EXPECT_THROW(inferred("Conv", {x, input({16, 8, 0, 3})}), Error);
}

TEST(InferConvTranspose, inverts_convolution) {
  const Operand x = input({1, 4, 5, 6});
  const Operand w = input({4, 3, 3, 3});
  const Ints two = {2, 2};
  EXPECT_EQ(inferred("ConvTranspose", {x, w}), "[1, 3, 7, 8]");
  EXPECT_EQ(inferred("ConvTranspose", {x, w},
                     attributes("strides", two, "pads", Ints{1, 1, 1, 1}, "output_padding",
                                Ints{1, 1}, "group", 2)),
            "[1, 6, 10, 12]");
  EXPECT_EQ(inferred("ConvTranspose", {x, w}, attributes("strides", two, "auto_pad", "SAME_UPPER")),
            "[1, 3, 10, 12]");
  EXPECT_EQ(
      inferred("ConvTranspose", {x, w}, attributes("strides", two, "output_shape", Ints{10, 13})),
      "[1, 3, 10, 13]");
  EXPECT_THROW(inferred("ConvTranspose", {x, w}, attributes("pads", Ints{9, 9, 9, 9})), Error);
  EXPECT_THROW(inferred("ConvTranspose", {x, w}, attributes("output_shape", Ints{-1, 2})), Error);
}

TEST(InferPool, ceil_mode_ignores_windows_that_start_in_the_end_padding) {
  const auto pool = [](int64_t extent, int kernel, int stride, int pad) {
    return inferred("MaxPool", {input({1, 1, extent})},
                    attributes("kernel_shape", Ints{kernel}, "strides", Ints{stride}, "pads",
                               Ints{pad, pad}, "ceil_mode", 1));
  };
  EXPECT_EQ(pool(5, 2, 2, 0), "[1, 1, 3]");
  EXPECT_EQ(pool(4, 2, 2, 0), "[1, 1, 2]");
  EXPECT_EQ(pool(5, 1, 2, 1), "[1, 1, 3]");  // a fourth would begin at padded position 6
  EXPECT_EQ(pool(4, 3, 2, 1), "[1, 1, 3]");
  EXPECT_EQ(inferred("AveragePool", {input({1, 3, 8, 8})}, attributes("kernel_shape", Ints{3, 3})),
            "[1, 3, 6, 6]");
  EXPECT_EQ(inferred("GlobalAveragePool", {input({kBatch, 3, 8, 9})}), "[batch, 3, 1, 1]");
  EXPECT_THROW(inferred("MaxPool", {input({1, 3, 8, 8})}), Error);
  EXPECT_THROW(inferred("MaxPool", {input({1, 3, 8, 8})}, attributes("kernel_shape", Ints{0, 3})),
               Error);
}

TEST(InferMatMul, broadcasts_batches_and_lends_dimensions_to_vectors) {
  EXPECT_EQ(inferred("MatMul", {input({kBatch, 1, 5, 4}), input({3, 4, 6})}), "[batch, 3, 5, 6]");
  EXPECT_EQ(inferred("MatMul", {input({4}), input({3, 4, 6})}), "[3, 6]");
  EXPECT_EQ(inferred("MatMul", {input({3, 5, 4}), input({4})}), "[3, 5]");
  EXPECT_EQ(inferred("MatMul", {input({4}), input({4})}), "[]");
  EXPECT_THROW(inferred("MatMul", {input({2, 3}), input({4, 5})}), Error);
  EXPECT_THROW(inferred("MatMul", {input({}), input({4, 5})}), Error);
  EXPECT_EQ(inferred("Gemm", {input({3, 2}), input({4, 3}), input({1})},
                     attributes("transA", 1, "transB", 1)),
            "[2, 4]");
  EXPECT_THROW(inferred("Gemm", {input({2, 3}), input({3, 4}), input({3, 1})}), Error);
  EXPECT_THROW(inferred("Gemm", {input({2, 3}), input({3, 4}), input({5, 2, 4})}), Error);
}

TEST(InferEinsum, explicit_implicit_ellipsis_and_diagonal) {
  const auto einsum = [](const char* equation, const std::vector<Operand>& operands) {
    return inferred("Einsum", operands, attributes("equation", equation));
  };
  EXPECT_EQ(einsum("ij, jk -> ik", {input({2, 3}), input({3, 4})}), "[2, 4]");
  EXPECT_EQ(einsum("bij,bjk", {input({5, 2, 3}), input({5, 3, 4})}), "[2, 4]");
  EXPECT_EQ(einsum("...ij,...jk->...ik", {input({7, 1, 2, 3}), input({6, 3, 4})}), "[7, 6, 2, 4]");
  EXPECT_EQ(einsum("ii->i", {input({3, 3})}), "[3]");
  EXPECT_EQ(einsum("ij->", {input({3, 4})}), "[]");
  EXPECT_EQ(einsum("ba", {input({3, 4})}), "[4, 3]");
  EXPECT_THROW(einsum("ij,jk->iz", {input({2, 3}), input({3, 4})}), Error);
  EXPECT_THROW(einsum("ij,jk->ii", {input({2, 3}), input({3, 4})}), Error);
  EXPECT_THROW(einsum("ij,jk", {input({2, 3})}), Error);
  EXPECT_THROW(einsum("i$->i", {input({2})}), Error);
  EXPECT_THROW(einsum("ij,jk->ik", {input({2, 3}), input({4, 4})}), Error);
  EXPECT_THROW(einsum("ijk", {input({2, 3})}), Error);
}

TEST(InferReshape, zero_minus_one_allowzero_and_named_dimensions) {
  const Operand x = input({kBatch, 3, 4, 5});
  EXPECT_EQ(inferred("Reshape", {x, ints({0, -1, 20})}), "[batch, 3, 20]");
  EXPECT_EQ(inferred("Reshape", {x, ints({-1, 60})}), "[batch, 60]");
  EXPECT_EQ(inferred("Reshape", {x, ints({-1})}), "[?]");
  EXPECT_EQ(inferred("Reshape", {input({2, 3, 4}), ints({4, -1})}), "[4, 6]");
  EXPECT_EQ(inferred("Reshape", {input({0, 3}), ints({3, 0})}, attributes("allowzero", 1)),
            "[3, 0]");
  EXPECT_EQ(inferred("Reshape", {x, input({3}, DType::i64)}), "[?, ?, ?]");
  EXPECT_EQ(inferred("Reshape", {input({1}), ints({})}), "[]");
}

TEST(InferReshape, rejects_contradictions) {
  const Operand x = input({2, 3, 4});
  EXPECT_THROW(inferred("Reshape", {x, ints({-1, -1})}), Error);
  EXPECT_THROW(inferred("Reshape", {x, ints({5, -1})}), Error);
  EXPECT_THROW(inferred("Reshape", {x, ints({-2, 12})}), Error);
  EXPECT_THROW(inferred("Reshape", {x, ints({25})}), Error);
  EXPECT_THROW(inferred("Reshape", {x, ints({})}), Error);
  EXPECT_THROW(inferred("Reshape", {x, ints({2, 3, 4, 0})}), Error);
  EXPECT_THROW(inferred("Reshape", {x, ints({kHuge, kHuge, -1})}), Error);
  EXPECT_THROW(inferred("Reshape", {x, constant(Tensor::scalar(1.0f))}), Error);
}

TEST(InferSlice, bounds_clamp_and_steps_go_both_ways) {
  const Operand x = input({kBatch, 10});
  const auto slice = [&](int64_t start, int64_t end, int64_t step) {
    return inferred("Slice", {x, ints({start}), ints({end}), ints({1}), ints({step})});
  };
  EXPECT_EQ(slice(2, 7, 2), "[batch, 3]");
  EXPECT_EQ(slice(-3, kHuge, 1), "[batch, 3]");
  EXPECT_EQ(slice(-1, -kHuge - 1, -1), "[batch, 10]");
  EXPECT_EQ(slice(8, 2, -3), "[batch, 2]");
  EXPECT_EQ(slice(7, 2, 1), "[batch, 0]");
  EXPECT_EQ(slice(0, 10, kHuge), "[batch, 1]");
  EXPECT_EQ(slice(9, 0, -kHuge - 1), "[batch, 1]");
  EXPECT_EQ(slice(-kHuge - 1, kHuge, 1), "[batch, 10]");
  EXPECT_THROW(slice(0, 10, 0), Error);
  EXPECT_THROW(inferred("Slice", {x, ints({0, 0}), ints({1, 1}), ints({1, -1})}), Error);
  EXPECT_THROW(inferred("Slice", {x, ints({0, 0}), ints({1})}), Error);
  EXPECT_EQ(inferred("Slice", {x, ints({0}), ints({kHuge}), ints({0})}), "[batch, 10]");
}

TEST(InferSplit, by_sizes_evenly_and_with_a_smaller_last_part) {
  const Operand x = input({7, kBatch});
  EXPECT_EQ(inferred("Split", {x, ints({3, 4})}, {}, 1), "[4, batch]");
  EXPECT_EQ(inferred("Split", {x}, attributes("num_outputs", 3), 2), "[1, batch]");
  EXPECT_THROW(inferred("Split", {x, ints({3, 3})}, {}, 1), Error);
  EXPECT_THROW(inferred("Split", {x, ints({-1, 8})}, {}, 1), Error);
  EXPECT_THROW(inferred("Split", {input({2})}, attributes("num_outputs", 4), 3), Error);
}

TEST(InferPad, positive_negative_and_listed_axes) {
  const Operand x = input({3, 10, 12});
  EXPECT_EQ(inferred("Pad", {x, ints({0, 1, -2, 0, 1, 5})}), "[3, 12, 15]");
  EXPECT_EQ(inferred("Pad", {x, ints({2, 3}), omitted(), ints({-1})}), "[3, 10, 17]");
  EXPECT_EQ(inferred("Pad", {x, ints({0, 0, 9, 0, 0, 2})}, attributes("mode", "reflect")),
            "[3, 10, 23]");
  EXPECT_THROW(inferred("Pad", {x, ints({0, 0, 0, 0, 0, -13})}), Error);
  EXPECT_THROW(inferred("Pad", {x, ints({0, 0, 0, 0, 0, kHuge})}), Error);
  EXPECT_THROW(inferred("Pad", {x, ints({0, 0, 0, 0, 0, 12})}, attributes("mode", "reflect")),
               Error);
  EXPECT_THROW(inferred("Pad", {x, ints({1, 1})}), Error);
  EXPECT_THROW(inferred("Pad", {x, ints({0, 0, 0, 0, 0, 0})}, attributes("mode", "odd")), Error);
}

TEST(InferShapes, moving_operators) {
  const Operand x = input({kBatch, 8, 4, 6});
  EXPECT_EQ(inferred("Transpose", {x}, attributes("perm", Ints{0, 2, 3, 1})), "[batch, 4, 6, 8]");
  EXPECT_EQ(inferred("Transpose", {x}), "[6, 4, 8, batch]");
  EXPECT_EQ(inferred("Flatten", {x}), "[batch, 192]");
  EXPECT_EQ(inferred("Flatten", {input({2, 3})}, attributes("axis", 2)), "[6, 1]");
  EXPECT_EQ(inferred("Squeeze", {input({1, 3, 1}), ints({-1})}), "[1, 3]");
  EXPECT_EQ(inferred("Squeeze", {input({1, 3, 1})}), "[3]");
  EXPECT_EQ(inferred("Unsqueeze", {x, ints({-1, 0})}), "[1, batch, 8, 4, 6, 1]");
  EXPECT_EQ(inferred("Expand", {input({3, 1}), ints({2, 1, 6})}), "[2, 3, 6]");
  EXPECT_EQ(inferred("Tile", {input({3, 2}), ints({2, 0})}), "[6, 0]");
  EXPECT_EQ(inferred("Concat", {x, x}, attributes("axis", 1)), "[batch, 16, 4, 6]");
  EXPECT_EQ(inferred("DepthToSpace", {x}, attributes("blocksize", 2)), "[batch, 2, 8, 12]");
  EXPECT_EQ(inferred("SpaceToDepth", {x}, attributes("blocksize", 2)), "[batch, 32, 2, 3]");
  EXPECT_THROW(inferred("Transpose", {x}, attributes("perm", Ints{0, 0, 1, 2})), Error);
  EXPECT_THROW(inferred("Transpose", {x}, attributes("perm", Ints{0, 1})), Error);
  EXPECT_THROW(inferred("Flatten", {x}, attributes("axis", 5)), Error);
  EXPECT_THROW(inferred("Squeeze", {input({2, 3}), ints({0})}), Error);
  EXPECT_THROW(inferred("Unsqueeze", {x, ints({9})}), Error);
  EXPECT_THROW(inferred("Unsqueeze", {x, ints({1, 1})}), Error);
  EXPECT_THROW(inferred("Expand", {input({3}), ints({4})}), Error);
  EXPECT_THROW(inferred("Expand", {input({1}), ints({-1})}), Error);
  EXPECT_THROW(inferred("Expand", {input({1}), ints({kHuge, kHuge})}), Error);
  EXPECT_THROW(inferred("Tile", {input({3}), ints({kHuge})}), Error);
  EXPECT_THROW(inferred("Tile", {input({3}), ints({-1})}), Error);
  EXPECT_THROW(inferred("Concat", {x, input({1, 8, 4, 7})}, attributes("axis", 1)), Error);
  EXPECT_THROW(inferred("Concat", {x}), Error);
  EXPECT_THROW(inferred("DepthToSpace", {x}, attributes("blocksize", 3)), Error);
  EXPECT_THROW(inferred("DepthToSpace", {x}, attributes("blocksize", 0)), Error);
}

TEST(InferReduce, axes_keepdims_and_noop) {
  const Operand x = input({kBatch, 3, 4});
  EXPECT_EQ(inferred("ReduceMean", {x, ints({-1})}), "[batch, 3, 1]");
  EXPECT_EQ(inferred("ReduceMean", {x, ints({0, 2})}, attributes("keepdims", 0)), "[3]");
  EXPECT_EQ(inferred("ReduceSum", {x}), "[1, 1, 1]");
  EXPECT_EQ(inferred("ReduceSum", {x, ints({})}, attributes("noop_with_empty_axes", 1)),
            "[batch, 3, 4]");
  EXPECT_EQ(inferred("ReduceMax", {x, input({1}, DType::i64)}), "[?, ?, ?]");
  EXPECT_EQ(inferred("ArgMax", {x}, attributes("axis", 1, "keepdims", 0)), "[batch, 4]");
  EXPECT_EQ(inferred("TopK", {x, ints({2})}, attributes("axis", 1), 1), "[batch, 2, 4]");
  EXPECT_THROW(inferred("ReduceMean", {x, ints({3})}), Error);
  EXPECT_THROW(inferred("ReduceMean", {x, ints({1, -2})}), Error);
  EXPECT_THROW(inferred("TopK", {x, ints({5})}, {}, 1), Error);
  EXPECT_THROW(inferred("TopK", {x, ints({-1})}, {}, 1), Error);
  EXPECT_THROW(inferred("ArgMax", {input({0, 2})}), Error);
}

TEST(InferGather, indices_take_the_place_of_the_axis) {
  const Operand x = input({3, 4, 5});
  EXPECT_EQ(inferred("Gather", {x, input({2, 2}, DType::i64)}, attributes("axis", 1)),
            "[3, 2, 2, 5]");
  EXPECT_EQ(inferred("Gather", {x, constant(Tensor::scalar(int64_t{1}))}), "[4, 5]");
  EXPECT_EQ(inferred("GatherElements", {x, input({1, 2, 5}, DType::i64)}), "[1, 2, 5]");
  EXPECT_EQ(inferred("GatherND", {x, input({3, 2, 1}, DType::i64)}, attributes("batch_dims", 1)),
            "[3, 2, 5]");
  EXPECT_EQ(inferred("ScatterND", {x, input({2, 1}, DType::i64), input({2, 4, 5})}), "[3, 4, 5]");
  EXPECT_EQ(inferred("NonZero", {x}), "[3, ?]");
  EXPECT_EQ(inferred("OneHot", {input({3}, DType::i64), ints({5}), floats({0, 1})}), "[3, 5]");
  EXPECT_THROW(inferred("GatherND", {x, input({2, 4}, DType::i64)}), Error);
  EXPECT_THROW(inferred("GatherND", {x, input({3, 0}, DType::i64)}), Error);
  EXPECT_THROW(inferred("GatherND", {x, input({3, 1}, DType::i64)}, attributes("batch_dims", 3)),
               Error);
  EXPECT_THROW(inferred("ScatterND", {x, input({2, 1}, DType::i64), input({2, 4, 6})}), Error);
  EXPECT_THROW(inferred("OneHot", {input({3}, DType::i64), floats({1e30f}), floats({0, 1})}),
               Error);
}

TEST(InferResize, scales_sizes_axes_and_aspect_ratio) {
  const Operand x = input({1, 3, 10, 20});
  EXPECT_EQ(inferred("Resize", {x, omitted(), floats({1, 1, 1.55f, 2})}), "[1, 3, 15, 40]");
  EXPECT_EQ(inferred("Resize", {x, omitted(), omitted(), ints({1, 3, 7, 9})}), "[1, 3, 7, 9]");
  EXPECT_EQ(
      inferred("Resize", {x, omitted(), floats({}), ints({7, 9})}, attributes("axes", Ints{2, 3})),
      "[1, 3, 7, 9]");
  EXPECT_EQ(inferred("Resize", {x, omitted(), omitted(), ints({7, 9})},
                     attributes("axes", Ints{2, 3}, "keep_aspect_ratio_policy", "not_larger")),
            "[1, 3, 5, 9]");
  EXPECT_EQ(inferred("Resize", {x, omitted(), omitted(), ints({7, 9})},
                     attributes("axes", Ints{2, 3}, "keep_aspect_ratio_policy", "not_smaller")),
            "[1, 3, 7, 14]");
  EXPECT_EQ(
      inferred("Resize", {x, floats({0, 0, 0.4f, 0.2f, 1, 1, 0.6f, 0.7f}), floats({1, 1, 2, 2})},
               attributes("coordinate_transformation_mode", "tf_crop_and_resize")),
      "[1, 3, 4, 20]");
  EXPECT_THROW(inferred("Resize", {x}), Error);
  EXPECT_THROW(inferred("Resize", {x, omitted(), floats({1, 1, 0, 2})}), Error);
  EXPECT_THROW(inferred("Resize", {x, omitted(), floats({1, 1, NAN, 2})}), Error);
  EXPECT_THROW(inferred("Resize", {x, omitted(), floats({1, 1, 1e30f, 2})}), Error);
  EXPECT_THROW(inferred("Resize", {x, omitted(), omitted(), ints({1, 3, -7, 9})}), Error);
  EXPECT_THROW(inferred("Resize", {x, omitted(), floats({2, 2})}), Error);
}

TEST(InferQuantize, granularity_and_dtype) {
  const Operand x = input({4, 6});
  const auto dtype = [](Graph graph) {
    infer_shapes(graph);
    return graph.value(graph.outputs[0]).dtype;
  };
  const Operand zero = constant(Tensor(DType::i8, {}));
  EXPECT_EQ(dtype(one_node("QuantizeLinear", {x, number(0.5f)})), DType::u8);
  EXPECT_EQ(dtype(one_node("QuantizeLinear", {x, number(0.5f), zero})), DType::i8);
  EXPECT_EQ(dtype(one_node("QuantizeLinear", {x, number(0.5f)}, attributes("output_dtype", 22))),
            DType::i4);
  EXPECT_EQ(dtype(one_node("DequantizeLinear", {input({4}, DType::i4), number(1)})), DType::f32);
  EXPECT_EQ(inferred("QuantizeLinear", {x, input({6})}, attributes("axis", 1)), "[4, 6]");
  EXPECT_EQ(inferred("QuantizeLinear", {x, input({4, 2})}, attributes("axis", 1, "block_size", 3)),
            "[4, 6]");
  EXPECT_THROW(inferred("QuantizeLinear", {x, input({5})}, attributes("axis", 1)), Error);
  EXPECT_THROW(
      inferred("QuantizeLinear", {x, input({4, 3})}, attributes("axis", 1, "block_size", 3)),
      Error);
  EXPECT_THROW(inferred("QuantizeLinear", {x, input({6})}, attributes("axis", 2)), Error);
  EXPECT_THROW(inferred("DequantizeLinear", {input({4}, DType::u8), number(1), zero}), Error);
  EXPECT_THROW(inferred("QuantizeLinear", {x, number(1)}, attributes("output_dtype", 99)), Error);
}

TEST(InferFused, attention_and_rotary) {
  const Operand q = input({kBatch, 3, 197, 64});
  const Operand k = input({kBatch, 3, 50, 64});
  const Operand v = input({kBatch, 3, 50, 32});
  EXPECT_EQ(inferred("Attention", {q, k, v}), "[batch, 3, 197, 32]");
  EXPECT_EQ(inferred("Attention", {q, k, v, input({197, 50})}), "[batch, 3, 197, 32]");
  EXPECT_THROW(inferred("Attention", {q, k, input({kBatch, 3, 51, 32})}), Error);
  EXPECT_THROW(inferred("Attention", {q, input({1, 3, 50, 32}), v}), Error);
  EXPECT_THROW(inferred("Attention", {q, k, v, input({197, 51})}), Error);
  EXPECT_THROW(inferred("Attention", {input({4}), k, v}), Error);
  EXPECT_EQ(inferred("RotaryEmbedding", {q, input({197, 32}), input({197, 32})}),
            "[batch, 3, 197, 64]");
  EXPECT_THROW(inferred("RotaryEmbedding", {q, input({197, 64}), input({197, 64})}), Error);
}

TEST(InferNormalization, rejects_wrong_parameters) {
  const Operand x = input({kBatch, 8, 4, 4});
  const Operand c = input({8});
  EXPECT_EQ(inferred("BatchNormalization", {x, c, c, c, c}), "[batch, 8, 4, 4]");
  EXPECT_EQ(inferred("LayerNormalization", {x, input({4})}), "[batch, 8, 4, 4]");
  EXPECT_EQ(inferred("LayerNormalization", {x, input({4})}, {}, 1), "[batch, 8, 4, 1]");
  EXPECT_EQ(inferred("GroupNormalization", {x, c, c}, attributes("num_groups", 4)),
            "[batch, 8, 4, 4]");
  EXPECT_THROW(inferred("BatchNormalization", {x, c, c, c, input({7})}), Error);
  EXPECT_THROW(inferred("GroupNormalization", {x, c, c}, attributes("num_groups", 3)), Error);
  EXPECT_THROW(inferred("GroupNormalization", {x, c, c}), Error);
  EXPECT_THROW(inferred("LayerNormalization", {x, input({3})}), Error);
}

TEST(InferRange, length_without_overflow) {
  const auto range = [](int64_t start, int64_t limit, int64_t delta) {
    const auto scalar = [](int64_t value) { return constant(Tensor::scalar(value)); };
    return inferred("Range", {scalar(start), scalar(limit), scalar(delta)});
  };
  EXPECT_EQ(range(0, 10, 3), "[4]");
  EXPECT_EQ(range(10, 0, -4), "[3]");
  EXPECT_EQ(range(3, 3, 1), "[0]");
  EXPECT_EQ(range(5, 3, 1), "[0]");
  EXPECT_EQ(range(-kHuge - 1, kHuge, kHuge), "[3]");
  EXPECT_THROW(range(0, kHuge, 1), Error);
  EXPECT_THROW(range(0, 10, 0), Error);
  EXPECT_EQ(inferred("Range", {number(1), number(2), number(0.3f)}), "[4]");
  EXPECT_THROW(inferred("Range", {number(0), number(1e30f), number(1)}), Error);
  EXPECT_THROW(inferred("Range", {number(0), number(NAN), number(1)}), Error);
}

TEST(InferConstantOfShape, rejects_negative_and_huge_shapes) {
  EXPECT_EQ(inferred("ConstantOfShape", {ints({2, 0, 3})}), "[2, 0, 3]");
  EXPECT_EQ(inferred("ConstantOfShape", {ints({})}), "[]");
  EXPECT_THROW(inferred("ConstantOfShape", {ints({-1})}), Error);
  EXPECT_THROW(inferred("ConstantOfShape", {ints({kHuge, 2})}), Error);
  EXPECT_THROW(inferred("ConstantOfShape", {ints({1 << 30, 1 << 30, 1 << 30})}), Error);
}

TEST(InferBroadcast, follows_numpy_and_keeps_names) {
  EXPECT_EQ(inferred("Add", {input({kBatch, 1, 4}), input({3, 1})}), "[batch, 3, 4]");
  EXPECT_EQ(inferred("Add", {input({kBatch}), input({Dim("other")})}), "[?]");
  EXPECT_EQ(inferred("Where", {input({3, 1}, DType::boolean), input({4}), input({})}), "[3, 4]");
  EXPECT_THROW(inferred("Add", {input({2}), input({3})}), Error);
  EXPECT_THROW(inferred("PRelu", {input({3}), input({2, 3})}), Error);
}

TEST(InferShapeArithmetic, resolves_without_evaluator_through_named_dimensions) {
  // Reshape(x, Concat(Shape(x)[0], -1, Shape(x)[3] * 2)), as exporters write it.
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {kBatch, 6, 4, 5});
  const ValueId shape = graph.add_node("Shape", {x});
  const ValueId axis0 = graph.add_constant("axis0", Tensor::of_i64({0}));
  const ValueId first = graph.add_node("Gather", {shape, axis0});
  const ValueId axis3 = graph.add_constant("axis3", Tensor::of_i64({3}));
  const ValueId last = graph.add_node("Gather", {shape, axis3});
  const ValueId two = graph.add_constant("two", Tensor::of_i64({2}));
  const ValueId doubled = graph.add_node("Mul", {last, two});
  const ValueId rest = graph.add_constant("rest", Tensor::of_i64({-1}));
  const ValueId target = graph.add_node("Concat", {first, rest, doubled}, attributes("axis", 0));
  graph.outputs = {graph.add_node("Reshape", {x, target})};
  infer_shapes(graph);
  EXPECT_EQ(to_string(*graph.value(graph.outputs[0]).shape), "[batch, 12, 10]");
  ASSERT_TRUE(graph.value(doubled).is_constant());
  EXPECT_EQ(graph.value(doubled).constant.to_i64(), Ints{10});
}

TEST(InferShapes, specialising_again_forgets_what_the_last_shape_implied) {
  Graph graph = one_node("Shape", {input({kBatch, 3})});
  specialize_inputs(graph, std::vector<Shape>{{4, 3}});
  EXPECT_EQ(graph.value(graph.outputs[0]).constant.to_i64(), (Ints{4, 3}));
  graph.value(graph.inputs[0]).shape = SymbolicShape{kBatch, 3};
  specialize_inputs(graph, std::vector<Shape>{{7, 3}});
  EXPECT_EQ(graph.value(graph.outputs[0]).constant.to_i64(), (Ints{7, 3}));
}

TEST(SpecializeInputs, rejects_contradicting_shapes_by_name) {
  Graph graph = one_node("Relu", {input({kBatch, 3})});
  EXPECT_THROW(specialize_inputs(graph, std::vector<Shape>{{2, 4}}), Error);
  EXPECT_THROW(specialize_inputs(graph, std::vector<Shape>{{2}}), Error);
  EXPECT_THROW(specialize_inputs(graph, std::vector<Shape>{}), Error);
  EXPECT_THROW(specialize_inputs(graph, std::vector<Shape>{{-2, 3}}), Error);
  EXPECT_THROW(specialize_inputs(graph, std::vector<Shape>{{kHuge, 3}}), Error);
  specialize_inputs(graph, std::vector<Shape>{{2, 3}});
  EXPECT_EQ(to_string(*graph.value(graph.outputs[0]).shape), "[2, 3]");
}

TEST(InferFolding, computes_constant_nodes_but_never_dequantized_weights) {
  Graph graph;
  const ValueId a = graph.add_constant("a", Tensor::of(std::vector<float>{1, 2}, {2}));
  const ValueId sum = graph.add_node("Add", {a, a});
  const ValueId codes = graph.add_constant("codes", Tensor(DType::i8, {2}));
  const ValueId scale = graph.add_constant("scale", Tensor::scalar(0.5f));
  const ValueId weights = graph.add_node("DequantizeLinear", {codes, scale});
  graph.outputs = {sum, weights};
  InferOptions options;
  options.evaluator = &engine::reference::evaluator();
  infer_shapes(graph, options);
  ASSERT_TRUE(graph.value(sum).is_constant());
  EXPECT_EQ(graph.value(sum).constant.to_f32(), (std::vector<float>{2, 4}));
  EXPECT_FALSE(graph.value(weights).is_constant());
}

TEST(InferFolding, leaves_large_results_to_the_run) {
  Graph graph = one_node("ConstantOfShape", {ints({1 << 20})});
  InferOptions options;
  options.evaluator = &engine::reference::evaluator();
  infer_shapes(graph, options);
  EXPECT_FALSE(graph.value(graph.outputs[0]).is_constant());
}

/// A kilobyte of nodes could otherwise ask for gigabytes of zeros.
TEST(InferFolding, all_results_together_are_bounded) {
  Graph graph;
  const ValueId size = graph.add_constant("size", Tensor::of_i64({250'000}));
  for (int i = 0; i < 200; ++i) graph.outputs.push_back(graph.add_node("ConstantOfShape", {size}));
  ValueId doubled = graph.outputs[0];
  AttributeMap axis;
  axis.set("axis", int64_t{0});
  for (int i = 0; i < 12; ++i) doubled = graph.add_node("Concat", {doubled, doubled}, axis);
  graph.outputs.push_back(doubled);
  InferOptions options;
  options.evaluator = &engine::reference::evaluator();
  options.max_folded_growth = 2;
  infer_shapes(graph, options);
  size_t bytes = 0;
  for (const Value& value : graph.values) bytes += value.is_constant() ? value.constant.bytes() : 0;
  EXPECT_GT(bytes, size_t{40} << 20);
  EXPECT_LE(bytes, size_t{65} << 20);
  EXPECT_EQ(concrete(*graph.value(doubled).shape), Shape{250'000 * 4096});
}

TEST(InferErrors, name_operator_and_node) {
  try {
    inferred("Conv", {input({1, 2, 3, 3}), input({4, 3, 3, 3})});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("Conv node 'node'"), std::string::npos)
        << error.what();
  }
}

int64_t macs(std::string_view op, const std::vector<Operand>& operands, AttributeMap map = {}) {
  Graph graph = one_node(op, operands, std::move(map));
  infer_shapes(graph);
  return cost_of(graph, graph.nodes[0]).macs;
}

TEST(Cost, counts_multiply_accumulates) {
  EXPECT_EQ(macs("Conv", {input({1, 8, 6, 6}), input({16, 8, 3, 3})}), 16 * 4 * 4 * 8 * 9);
  EXPECT_EQ(macs("Conv", {input({1, 8, 6, 6}), input({8, 1, 3, 3})}, attributes("group", 8)),
            8 * 4 * 4 * 9);
  EXPECT_EQ(macs("ConvTranspose", {input({1, 4, 5, 5}), input({4, 3, 2, 2})}), 4 * 25 * 3 * 4);
  EXPECT_EQ(macs("MatMul", {input({2, 3, 5, 7}), input({7, 4})}), 2 * 3 * 5 * 4 * 7);
  EXPECT_EQ(macs("Gemm", {input({7, 2}), input({7, 4})}, attributes("transA", 1)), 2 * 4 * 7);
  EXPECT_EQ(macs("Einsum", {input({2, 3}), input({3, 4})}, attributes("equation", "ij,jk->ik")),
            24);
  EXPECT_EQ(macs("Attention", {input({3, 10, 8}), input({3, 12, 8}), input({3, 12, 6})}),
            3 * 10 * 12 * (8 + 6));
}

TEST(Cost, needs_known_shapes) {
  Graph graph = one_node("Relu", {input({kBatch, 3})});
  infer_shapes(graph);
  EXPECT_THROW(cost_of(graph, graph.nodes[0]), Error);
}

}  // namespace
}  // namespace ounce
