#include <gtest/gtest.h>

#include <cstring>

#include "formats/onnx/onnx.h"
#include "formats/onnx/scope.h"
#include "graph/passes/passes.h"
#include "tests/formats/expect_error.h"
#include "tests/formats/onnx_model.h"

namespace ounce::formats {
namespace {

const Tensor& constant_named(const Graph& graph, const char* name) {
  const ValueId id = graph.find_value(name);
  if (id == kNoValue || !graph.value(id).is_constant()) throw Error("no constant", name);
  return graph.value(id).constant;
}

/// A model whose only purpose is to carry initializers.
OnnxModel carrier() {
  OnnxModel model(21);
  model.input("x", {2}).output("y", {2});
  model.node("Relu", {"x"}, {"y"});
  return model;
}

TEST(OnnxRead, GivesGraphWithInterfaceNodesAndConstants) {
  OnnxModel model(17);
  model.input("x", {-1, 3}).output("y", {-1, 2}).floats("w", {3, 2}, {1, 2, 3, 4, 5, 6});
  model.node("MatMul", {"x", "w"}, {"y"}).set_name("/blocks.3/attn/MatMul");
  const Graph graph = model.read();
  ASSERT_EQ(graph.nodes.size(), 1u);
  EXPECT_EQ(graph.nodes[0].op, "MatMul");
  EXPECT_EQ(graph.nodes[0].scope, "blocks.3.attn");
  ASSERT_EQ(graph.inputs.size(), 1u);
  EXPECT_FALSE(graph.value(graph.inputs[0]).shape->at(0).known());
  EXPECT_EQ(graph.value(graph.outputs[0]).name, "y");
  EXPECT_EQ(constant_named(graph, "w").to_f32(), (std::vector<float>{1, 2, 3, 4, 5, 6}));
}

TEST(OnnxRead, KeepsSymbolicDimensionsAndMetadata) {
  OnnxModel model = carrier();
  auto* shape = model.graph().mutable_input(0)->mutable_type()->mutable_tensor_type();
  shape->mutable_shape()->mutable_dim(0)->set_dim_param("batch");
  auto* entry = model.proto.add_metadata_props();
  entry->set_key("ounce.preprocess");
  entry->set_value("{}");
  const Graph graph = model.read();
  EXPECT_EQ(graph.value(graph.inputs[0]).shape->at(0).symbol, "batch");
  EXPECT_EQ(graph.metadata.at("ounce.preprocess"), "{}");
}

TEST(OnnxRead, SortsNodesThatStandInTheWrongOrder) {
  OnnxModel model(17);
  model.input("x", {2}).output("y", {2});
  model.node("Relu", {"t"}, {"y"});
  model.node("Neg", {"x"}, {"t"});
  const Graph graph = model.read();
  EXPECT_EQ(graph.nodes[0].op, "Neg");
}

TEST(OnnxRead, TakesInitializersThatAreAlsoInputsAsConstants) {
  OnnxModel model(11);
  model.input("x", {2}).input("w", {2}).output("y", {2}).floats("w", {2}, {1, 2});
  model.node("Add", {"x", "w"}, {"y"});
  const Graph graph = model.read();
  EXPECT_EQ(graph.inputs.size(), 1u);
  EXPECT_TRUE(graph.value(graph.find_value("w")).is_constant());
}

TEST(OnnxRead, NamesUnnamedAndRepeatedNodesUniquely) {
  OnnxModel model(17);
  model.input("x", {2}).output("c", {2});
  model.node("Relu", {"x"}, {"a"}).set_name("");
  model.node("Relu", {"a"}, {"b"}).set_name("same");
  model.node("Relu", {"b"}, {"c"}).set_name("same");
  const Graph graph = model.read();
  EXPECT_EQ(graph.nodes[0].name, "a");
  EXPECT_EQ(graph.nodes[1].name, "same");
  EXPECT_NE(graph.nodes[2].name, "same");
}

/// Minutes if reading looked at every node for each node; the attributes of old opsets make every
/// upgrade rule add constants of equal names.
TEST(OnnxRead, TwoHundredThousandNodesAreReadInLinearTime) {
  constexpr int kNodes = 200'000;
  OnnxModel model(10);
  model.input("v0", {1, 4}).output("v" + std::to_string(kNodes), {1, 4});
  for (int i = 0; i < kNodes; ++i) {
    const std::string from = "v" + std::to_string(i);
    const std::string to = "v" + std::to_string(i + 1);
    auto& node = model.node(i % 2 == 0 ? "Clip" : "Identity", {from.c_str()}, {to.c_str()});
    node.set_name("same");
    if (i % 2 == 0) OnnxModel::set(node, "max", 6.0f);
  }
  Graph graph = model.read();
  EXPECT_EQ(graph.nodes.size(), size_t{kNodes});
  EXPECT_EQ(eliminate_no_ops(graph), kNodes / 2);
}

struct TypedCase {
  const char* name;
  int type;
  DType dtype;
  void (*fill)(onnx::TensorProto&);
  std::vector<int64_t> expected;
};

class OnnxTypedData : public ::testing::TestWithParam<TypedCase> {};

TEST_P(OnnxTypedData, ReadsTheTypedFieldOfTheElementType) {
  OnnxModel model = carrier();
  GetParam().fill(model.tensor("t", GetParam().type, {3}));
  const Graph graph = model.read();
  const Tensor& tensor = constant_named(graph, "t");
  EXPECT_EQ(tensor.dtype(), GetParam().dtype);
  EXPECT_EQ(tensor.shape(), Shape{3});
  if (is_float(tensor.dtype())) {
    const std::vector<float> values = tensor.to_f32();
    EXPECT_EQ(std::vector<int64_t>(values.begin(), values.end()), GetParam().expected);
  } else {
    EXPECT_EQ(tensor.to_i64(), GetParam().expected);
  }
}

void add_int32(onnx::TensorProto& t, std::initializer_list<int32_t> values) {
  for (const int32_t value : values) t.add_int32_data(value);
}

INSTANTIATE_TEST_SUITE_P(AllTypes, OnnxTypedData,
                         ::testing::Values(TypedCase{"f32",
                                                     1,
                                                     DType::f32,
                                                     [](auto& t) {
                                                       for (float v : {1, -2, 3})
                                                         t.add_float_data(v);
                                                     },
                                                     {1, -2, 3}},
                                           TypedCase{"u8",
                                                     2,
                                                     DType::u8,
                                                     [](auto& t) {
                                                       add_int32(t, {1, 200, 3});
                                                     },
                                                     {1, 200, 3}},
                                           TypedCase{"i8",
                                                     3,
                                                     DType::i8,
                                                     [](auto& t) {
                                                       add_int32(t, {1, -2, 3});
                                                     },
                                                     {1, -2, 3}},
                                           TypedCase{"u16",
                                                     4,
                                                     DType::u16,
                                                     [](auto& t) {
                                                       add_int32(t, {1, 60000, 3});
                                                     },
                                                     {1, 60000, 3}},
                                           TypedCase{"i16",
                                                     5,
                                                     DType::i16,
                                                     [](auto& t) {
                                                       add_int32(t, {1, -300, 3});
                                                     },
                                                     {1, -300, 3}},
                                           TypedCase{"i32",
                                                     6,
                                                     DType::i32,
                                                     [](auto& t) {
                                                       add_int32(t, {1, -70000, 3});
                                                     },
                                                     {1, -70000, 3}},
                                           TypedCase{"i64",
                                                     7,
                                                     DType::i64,
                                                     [](auto& t) {
                                                       for (int64_t v : {1LL, -(1LL << 40), 3LL})
                                                         t.add_int64_data(v);
                                                     },
                                                     {1, -(1LL << 40), 3}},
                                           TypedCase{"bool",
                                                     9,
                                                     DType::boolean,
                                                     [](auto& t) {
                                                       add_int32(t, {1, 0, 7});
                                                     },
                                                     {1, 0, 1}},
                                           TypedCase{"f16",
                                                     10,
                                                     DType::f16,
                                                     [](auto& t) {
                                                       add_int32(t, {0x3c00, 0xc000, 0x4200});
                                                     },
                                                     {1, -2, 3}},
                                           TypedCase{"f64",
                                                     11,
                                                     DType::f64,
                                                     [](auto& t) {
                                                       for (double v : {1., -2., 3.})
                                                         t.add_double_data(v);
                                                     },
                                                     {1, -2, 3}},
                                           TypedCase{"u32",
                                                     12,
                                                     DType::u32,
                                                     [](auto& t) {
                                                       for (uint64_t v : {1, 2, 3})
                                                         t.add_uint64_data(v);
                                                     },
                                                     {1, 2, 3}},
                                           TypedCase{"u64",
                                                     13,
                                                     DType::u64,
                                                     [](auto& t) {
                                                       for (uint64_t v : {1, 2, 3})
                                                         t.add_uint64_data(v);
                                                     },
                                                     {1, 2, 3}},
                                           TypedCase{"bf16",
                                                     16,
                                                     DType::bf16,
                                                     [](auto& t) {
                                                       add_int32(t, {0x3f80, 0xc000, 0x4040});
                                                     },
                                                     {1, -2, 3}},
                                           TypedCase{"u4",
                                                     21,
                                                     DType::u4,
                                                     [](auto& t) {
                                                       add_int32(t, {0x21, 0x0f});
                                                     },
                                                     {1, 2, 15}},
                                           TypedCase{"i4",
                                                     22,
                                                     DType::i4,
                                                     [](auto& t) {
                                                       add_int32(t, {0xe1, 0x08});
                                                     },
                                                     {1, -2, -8}}),
                         [](const auto& test) { return test.param.name; });

TEST(OnnxRead, ReadsRawDataWithoutRegardToItsAlignment) {
  OnnxModel model = carrier();
  const std::vector<float> values = {1.5f, -2.5f};
  model.tensor("t", 1, {2}).set_raw_data(values.data(), 8);
  model.tensor("nibbles", 21, {3}).set_raw_data(std::string("\x21\x03", 2));
  model.tensor("flags", 9, {3}).set_raw_data(std::string("\x01\x00\xff", 3));
  const Graph graph = model.read();
  EXPECT_EQ(constant_named(graph, "t").to_f32(), values);
  EXPECT_EQ(constant_named(graph, "nibbles").to_i64(), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(constant_named(graph, "flags").to_i64(), (std::vector<int64_t>{1, 0, 1}));
}

TEST(OnnxRead, MakesConstantNodesConstants) {
  OnnxModel model = carrier();
  OnnxModel::set(model.node("Constant", {}, {"f"}), "value_float", 2.5f);
  OnnxModel::set(model.node("Constant", {}, {"i"}), "value_int", int64_t{7});
  OnnxModel::set(model.node("Constant", {}, {"is"}), "value_ints", std::vector<int64_t>{1, 2});
  OnnxModel::set(model.node("Constant", {}, {"fs"}), "value_floats", std::vector<float>{1, 2});
  auto* attribute = model.node("Constant", {}, {"t"}).add_attribute();
  attribute->set_name("value");
  attribute->set_type(onnx::AttributeProto::TENSOR);
  attribute->mutable_t()->set_data_type(1);
  attribute->mutable_t()->add_float_data(4.0f);
  const Graph graph = model.read();
  EXPECT_EQ(graph.nodes.size(), 1u);
  EXPECT_EQ(constant_named(graph, "f").to_f32(), std::vector<float>{2.5f});
  EXPECT_EQ(constant_named(graph, "f").shape(), Shape{});
  EXPECT_EQ(constant_named(graph, "i").to_i64(), std::vector<int64_t>{7});
  EXPECT_EQ(constant_named(graph, "is").to_i64(), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(constant_named(graph, "fs").to_f32(), (std::vector<float>{1, 2}));
  EXPECT_EQ(constant_named(graph, "t").to_f32(), std::vector<float>{4});
}

TEST(OnnxScope, FollowsTheModulePath) {
  EXPECT_EQ(scope_of("/blocks.3/attn/MatMul"), "blocks.3.attn");
  EXPECT_EQ(scope_of("/layer1/layer1.0/conv1/Conv"), "layer1.0.conv1");
  EXPECT_EQ(scope_of("/head/head/Gemm"), "head.head");
  EXPECT_EQ(scope_of("Conv_12"), "");
  EXPECT_EQ(scope_of("/Conv"), "");
  EXPECT_EQ(scope_of(""), "");
  EXPECT_EQ(scope_of("model/dense//MatMul"), "model.dense");
}

TEST(OnnxRead, ReadsASerializedTensor) {
  onnx::TensorProto proto;
  proto.set_data_type(1);
  proto.add_dims(2);
  proto.add_float_data(1);
  proto.add_float_data(2);
  const std::string bytes = proto.SerializeAsString();
  const Tensor tensor = read_tensor_proto_bytes(std::as_bytes(std::span(bytes)));
  EXPECT_EQ(tensor.to_f32(), (std::vector<float>{1, 2}));
}

}  // namespace
}  // namespace ounce::formats
