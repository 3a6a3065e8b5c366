#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "graph/error.h"
#include "tests/reference/evaluate_node.h"
#include "tests/support/tensors.h"

namespace ounce::testing {
namespace {

constexpr int64_t kHuge = int64_t{1} << 60;

struct BadCall {
  const char* op;
  std::vector<Tensor> inputs;
  AttributeMap attributes;
};

/// Calls that must end in an Error: shapes that do not fit, indices outside, absurd sizes.
std::vector<BadCall> bad_calls() {
  const auto x = [](Shape shape) { return random_tensor(std::move(shape), 1); };
  const auto ints = [](std::vector<int64_t> values) { return Tensor::of_i64(std::move(values)); };
  using Ints = std::vector<int64_t>;
  constexpr int64_t kLowest = std::numeric_limits<int64_t>::min();
  return {
      {"Add", {x({2, 3}), x({4})}, {}},
      {"Add", {x({2}), ints({1, 2})}, {}},
      {"Add", {x({2})}, {}},
      {"Where", {x({2}), x({2}), x({2})}, {}},
      {"MatMul", {x({2, 3}), x({2, 3})}, {}},
      {"MatMul", {x({}), x({2, 3})}, {}},
      {"Gemm", {x({2, 3}), x({3, 4}), x({3})}, {}},
      {"Conv", {x({1, 3, 5, 5}), x({4, 2, 3, 3})}, {}},
      {"Conv", {x({1, 3, 2, 2}), x({4, 3, 3, 3})}, {}},
      {"Conv", {x({1, 4, 5, 5}), x({3, 2, 3, 3})}, attributes_of({{"group", int64_t{2}}})},
      {"Conv", {x({1, 3, 5, 5}), x({4, 3, 3, 3})}, attributes_of({{"group", int64_t{0}}})},
      {"Conv", {x({1, 3, 5, 5}), x({4, 3, 3, 3})}, attributes_of({{"strides", Ints{0, 1}}})},
      {"Conv", {x({1, 3, 5, 5}), x({4, 3, 3, 3})}, attributes_of({{"pads", Ints{kHuge, 0, 0, 0}}})},
      {"Conv", {x({1, 3, 5, 5}), x({4, 3, 3, 3})}, attributes_of({{"dilations", Ints{kHuge, 1}}})},
      {"Conv", {x({3, 5}), x({4, 3})}, {}},
      {"Conv", {x({1, 3, 5, 5}), x({4, 3, 3, 3}), x({5})}, {}},
      {"ConvTranspose", {x({1, 3, 5, 5}), x({2, 3, 3, 3})}, {}},
      {"ConvTranspose",
       {x({1, 3, 5, 5}), x({3, 2, 3, 3})},
       attributes_of({{"strides", Ints{kHuge, 1}}})},
      {"MaxPool", {x({1, 3, 5, 5})}, attributes_of({{"kernel_shape", Ints{7, 7}}})},
      {"MaxPool", {x({1, 3, 5, 5})}, attributes_of({{"kernel_shape", Ints{3}}})},
      {"MaxPool", {x({1, 3, 5, 5})}, {}},
      {"Softmax", {x({2, 3})}, attributes_of({{"axis", int64_t{2}}})},
      {"ReduceSum", {x({2, 3}), ints({2})}, {}},
      {"ReduceSum", {x({2, 3}), ints({0, 0})}, {}},
      {"LayerNormalization", {x({2, 3}), x({4})}, {}},
      {"GroupNormalization",
       {x({1, 4, 2}), x({4}), x({4})},
       attributes_of({{"num_groups", int64_t{3}}})},
      {"BatchNormalization", {x({1, 3, 2}), x({3}), x({3}), x({2}), x({3})}, {}},
      {"Reshape", {x({2, 3}), ints({4, -1})}, {}},
      {"Reshape", {x({2, 3}), ints({-1, -1})}, {}},
      {"Reshape", {x({2, 3}), ints({kHuge, kHuge, kHuge})}, {}},
      {"Reshape", {x({2, 3}), ints({-2, -3})}, {}},
      {"Expand", {x({1}), ints({kHuge, kHuge})}, {}},
      {"Expand", {x({1}), ints({-1})}, {}},
      {"Tile", {x({2}), ints({kHuge})}, {}},
      {"Tile", {x({2}), ints({-1})}, {}},
      {"Pad", {x({2}), ints({kHuge, kHuge})}, {}},
      {"Pad", {x({2}), ints({-3, 0})}, {}},
      {"Pad", {x({2}), ints({1})}, {}},
      {"Slice", {x({4}), ints({0}), ints({4}), ints({0}), ints({0})}, {}},
      {"Slice", {x({4}), ints({0, 0}), ints({4}), ints({0})}, {}},
      {"Slice", {x({4}), ints({0}), ints({4}), ints({3})}, {}},
      {"Concat", {x({2, 3}), x({2, 4})}, attributes_of({{"axis", int64_t{0}}})},
      {"Concat", {x({2}), x({2})}, attributes_of({{"axis", int64_t{1}}})},
      {"Split", {x({4}), ints({5})}, {}},
      {"Split", {x({4}), ints({-1})}, {}},
      {"Transpose", {x({2, 3})}, attributes_of({{"perm", Ints{0, 0}}})},
      {"Transpose", {x({2, 3})}, attributes_of({{"perm", Ints{0}}})},
      {"Squeeze", {x({2, 3}), ints({0})}, {}},
      {"Unsqueeze", {x({2}), ints({5})}, {}},
      {"Unsqueeze", {x({2}), ints({0, 0})}, {}},
      {"Flatten", {x({2, 3})}, attributes_of({{"axis", int64_t{3}}})},
      {"DepthToSpace", {x({1, 3, 2, 2})}, attributes_of({{"blocksize", int64_t{2}}})},
      {"DepthToSpace", {x({1, 4, 2, 2})}, attributes_of({{"blocksize", int64_t{0}}})},
      {"SpaceToDepth", {x({1, 4, 3, 3})}, attributes_of({{"blocksize", int64_t{2}}})},
      {"Gather", {x({3}), ints({3})}, {}},
      {"Gather", {x({3}), ints({-4})}, {}},
      {"Gather", {x({3}), ints({kLowest})}, {}},
      {"Gather", {x({0}), ints({0})}, {}},
      {"GatherElements", {x({3}), ints({3})}, {}},
      {"GatherElements", {x({2, 2}), ints({0})}, {}},
      {"GatherND", {x({2, 2}), ints({0, 2})}, {}},
      {"GatherND", {x({2}), ints({0, 0})}, {}},
      {"ScatterElements", {x({3}), ints({7}), x({1})}, {}},
      {"ScatterElements", {x({3}), ints({1}), x({2})}, {}},
      {"ScatterND", {x({3}), Tensor::of_i64({7}), x({})}, {}},
      {"ScatterND", {x({3}), Tensor::of_i64({1}), x({2})}, {}},
      {"TopK", {x({3}), ints({4})}, {}},
      {"TopK", {x({3}), ints({-1})}, {}},
      {"ArgMax", {x({0, 2})}, {}},
      {"CumSum", {x({3}), ints({1})}, {}},
      {"Range", {Tensor::scalar(0.0F), Tensor::scalar(1e30F), Tensor::scalar(1.0F)}, {}},
      {"Range", {Tensor::scalar(0.0F), Tensor::scalar(NAN), Tensor::scalar(1.0F)}, {}},
      {"Range",
       {Tensor::scalar<int64_t>(0), Tensor::scalar(kHuge), Tensor::scalar<int64_t>(0)},
       {}},
      {"ConstantOfShape", {ints({kHuge, kHuge})}, {}},
      {"ConstantOfShape", {ints({-1})}, {}},
      {"OneHot", {ints({0}), ints({-1}), x({2})}, {}},
      {"OneHot", {ints({0}), ints({3}), x({3})}, {}},
      {"Einsum", {x({2, 3}), x({4, 5})}, attributes_of({{"equation", std::string("ij,jk->ik")}})},
      {"Einsum", {x({2, 3})}, attributes_of({{"equation", std::string("ij->k")}})},
      {"Einsum", {x({2, 3})}, attributes_of({{"equation", std::string("i->i")}})},
      {"Einsum", {x({2, 3})}, attributes_of({{"equation", std::string("i,j->ij")}})},
      {"Resize", {x({1, 1, 2, 2})}, {}},
      {"Resize", {x({1, 1, 2, 2}), Tensor(), floats({1, 1, -1, 1}, {4})}, {}},
      {"Resize", {x({1, 1, 2, 2}), Tensor(), floats({1, 1, 1e30F, 1}, {4})}, {}},
      {"Resize", {x({1, 1, 2, 2}), Tensor(), floats({1, 1, 2}, {3})}, {}},
      {"Resize", {x({1, 1, 0, 2}), Tensor(), Tensor(), ints({1, 1, 2, 2})}, {}},
      {"GridSample", {x({1, 1, 2, 2}), x({1, 2, 2, 3})}, {}},
      {"GridSample", {x({1, 1, 2, 2}), x({2, 2, 2, 2})}, {}},
      {"GridSample", {x({1, 1, 0, 2}), x({1, 2, 2, 2})}, {}},
      {"NonMaxSuppression", {x({1, 3, 4}), x({1, 1, 2})}, {}},
      {"NonMaxSuppression", {x({1, 3, 5}), x({1, 1, 3})}, {}},
      {"MatMulInteger", {x({2, 2}), x({2, 2})}, {}},
      {"Trilu", {x({3})}, {}},
      {"Compress", {x({2}), cast(x({3}), DType::boolean)}, {}},
      {"LRN", {x({1, 3, 2})}, {}},
      {"RotaryEmbedding", {x({2, 3}), x({1}), x({1})}, {}},
      {"RotaryEmbedding", {x({2, 4}), x({3}), x({3})}, {}},
  };
}

TEST(BadInput, ends_in_an_error_that_names_the_node) {
  for (const BadCall& call : bad_calls()) {
    std::string shapes;
    for (const Tensor& input : call.inputs) shapes += " " + to_string(input.shape());
    try {
      evaluate_one(call.op, call.inputs, call.attributes);
      ADD_FAILURE() << call.op << shapes << ": no error";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("'test'"), std::string::npos) << error.what();
    }
  }
}

// Plans call operators without shape inference before them; they must hold out alone.
TEST(BadInput, ends_in_an_error_without_shape_inference_too) {
  for (const BadCall& call : bad_calls()) {
    const Node node = make_node(call.op, call.attributes);
    std::vector<Tensor> outputs(1);
    engine::reference::OperatorContext context{node, call.inputs, outputs};
    EXPECT_THROW(engine::reference::find_operator_function(call.op)(context), Error)
        << call.op << " " << (call.inputs.empty() ? "" : to_string(call.inputs[0].shape()));
  }
}

TEST(BadInput, names_the_nearest_operator_for_an_unknown_one) {
  try {
    evaluate_one("Convv", {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("Conv"), std::string::npos) << error.what();
  }
}

TEST(EmptyTensors, go_through_every_kind_of_operator) {
  const Tensor empty(DType::f32, {0, 3});
  EXPECT_EQ(evaluate_one("Relu", {empty}).shape(), (Shape{0, 3}));
  EXPECT_EQ(evaluate_one("Add", {empty, Tensor::scalar(1.0F)}).shape(), (Shape{0, 3}));
  EXPECT_EQ(evaluate_one("MatMul", {empty, random_tensor({3, 4}, 1)}).shape(), (Shape{0, 4}));
  EXPECT_EQ(evaluate_one("Transpose", {empty}).shape(), (Shape{3, 0}));
  EXPECT_EQ(evaluate_one("Softmax", {empty}).shape(), (Shape{0, 3}));
  EXPECT_EQ(evaluate_one("LayerNormalization", {empty, random_tensor({3}, 1)}).shape(),
            (Shape{0, 3}));
  EXPECT_EQ(evaluate_one("Gather", {random_tensor({2, 3}, 1), Tensor::of_i64({})}).shape(),
            (Shape{0, 3}));
  EXPECT_EQ(evaluate_one("Concat", {empty, random_tensor({2, 3}, 1)},
                         attributes_of({{"axis", int64_t{0}}}))
                .shape(),
            (Shape{2, 3}));
  EXPECT_EQ(evaluate_one("Conv", {Tensor(DType::f32, {0, 3, 4, 4}), random_tensor({2, 3, 3, 3}, 1)})
                .shape(),
            (Shape{0, 2, 2, 2}));
  EXPECT_EQ(evaluate_one("NonZero", {empty}).shape(), (Shape{2, 0}));
  EXPECT_EQ(evaluate_one("QuantizeLinear", {empty, Tensor::scalar(1.0F)}).shape(), (Shape{0, 3}));
}

TEST(EmptyTensors, multiply_to_zero_over_an_empty_inner_dimension) {
  const Tensor y = evaluate_one("MatMul", {Tensor(DType::f32, {2, 0}), Tensor(DType::f32, {0, 3})});
  EXPECT_EQ(y.to_f32(), std::vector<float>(6, 0.0F));
}

TEST(EmptyTensors, reduce_to_the_neutral_element) {
  const Tensor empty(DType::f32, {2, 0});
  const Tensor last = Tensor::of_i64({1});
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(evaluate_one("ReduceSum", {empty, last}).to_f32(), (std::vector<float>{0, 0}));
  EXPECT_EQ(evaluate_one("ReduceProd", {empty, last}).to_f32(), (std::vector<float>{1, 1}));
  EXPECT_EQ(evaluate_one("ReduceMax", {empty, last}).to_f32(),
            (std::vector<float>{-kInfinity, -kInfinity}));
  EXPECT_EQ(evaluate_one("ReduceMin", {empty, last}).to_f32(),
            (std::vector<float>{kInfinity, kInfinity}));
}

}  // namespace
}  // namespace ounce::testing
