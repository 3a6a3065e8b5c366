#include <gtest/gtest.h>

#include <fstream>
#include <numeric>
#include <random>

#include "formats/formats.h"
#include "formats/onnx/onnx.h"
#include "graph/operator.h"
#include "tests/formats/expect_error.h"
#include "tests/formats/onnx_model.h"
#include "tests/support/test_data.h"

namespace ounce::formats {
namespace {

using ::ounce::testing::TemporaryFolder;

/// A small model with a bit of everything that a reader must check.
OnnxModel healthy_model() {
  OnnxModel model(13);
  model.input("x", {1, 2, 4, 4}).output("y", {1, 3, 4, 4});
  model.floats("w", {3, 2, 1, 1}, {1, 2, 3, 4, 5, 6}).ints("pads", {0, 0, 1, 1, 0, 0, 1, 1});
  model.node("Pad", {"x", "pads"}, {"padded"});
  auto& conv = model.node("Conv", {"padded", "w"}, {"convolved"});
  OnnxModel::set(conv, "strides", std::vector<int64_t>{1, 1});
  auto& split = model.node("Split", {"convolved"}, {"a", "b", "c"});
  OnnxModel::set(split, "axis", int64_t{1});
  OnnxModel::set(model.node("Concat", {"a", "b", "c"}, {"d"}), "axis", int64_t{1});
  OnnxModel::set(model.node("Softmax", {"d"}, {"y"}), "axis", int64_t{1});
  return model;
}

std::span<const std::byte> as_span(const std::string& bytes) {
  return std::as_bytes(std::span(bytes.data(), bytes.size()));
}

/// Reading may succeed or throw `Error`; anything else (another exception, a crash) fails.
void read_whatever(const std::string& bytes) {
  try {
    read_onnx_bytes(as_span(bytes));
  } catch (const Error& error) {
    EXPECT_FALSE(error.message().empty());
  }
}

TEST(OnnxMalformed, HealthyModelReads) {
  EXPECT_NO_THROW(healthy_model().read());
}

TEST(OnnxMalformed, EveryTruncationIsAnErrorOrAModel) {
  const std::string bytes = healthy_model().bytes();
  for (size_t length = 0; length < bytes.size(); ++length) read_whatever(bytes.substr(0, length));
}

TEST(OnnxMalformed, EveryFlippedBitIsAnErrorOrAModel) {
  std::string bytes = healthy_model().bytes();
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    bytes[i / 8] = static_cast<char>(bytes[i / 8] ^ (1 << (i % 8)));
    read_whatever(bytes);
    bytes[i / 8] = static_cast<char>(bytes[i / 8] ^ (1 << (i % 8)));
  }
}

TEST(OnnxMalformed, RandomBytesAreAnErrorOrAModel) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random() % 200, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    read_whatever(bytes);
  }
}

TEST(OnnxMalformed, NamesTheFileThatIsNoModel) {
  TemporaryFolder folder;
  for (const auto& [content, part] : {std::pair<std::string, std::string>{"", "empty"},
                                      {"hello, world: this is text", "not an ONNX"},
                                      {std::string("GGUF\3\0\0\0", 8), "GGUF"},
                                      {std::string("\x08\x07", 2), "not an ONNX model"}}) {
    const auto path = folder.path() / "model.onnx";
    std::ofstream(path, std::ios::binary) << content;
    expect_error([&] { read_model(path); }, {"model.onnx", part});
  }
  expect_error([&] { read_model(folder.path() / "absent.onnx"); }, {"absent.onnx", "cannot open"});
  expect_error([&] { read_model(folder.path()); }, {"not a regular file"});
}

TEST(OnnxMalformed, UnknownOperatorIsNamedWithNodeOpsetAndNeighbour) {
  OnnxModel model = one_node_model(17, "Reluu", {2});
  expect_error([&] { model.read(); }, {"'Reluu'", "the_Reluu", "opset 17", "'Relu'"});
}

TEST(OnnxMalformed, ForeignDomainIsNamed) {
  OnnxModel model = one_node_model(17, "Relu", {2});
  model.graph().mutable_node(0)->set_domain("com.example");
  expect_error([&] { model.read(); }, {"com.example", "the_Relu"});
}

TEST(OnnxMalformed, OperatorsOfVendorsAreRefusedEvenUnderKnownNames) {
  for (const char* op : {"Gelu", "Attention", "QuantizeLinear", "RotaryEmbedding", "Add"}) {
    OnnxModel model = one_node_model(21, op, {2});
    model.graph().mutable_node(0)->set_domain("com.microsoft");
    expect_error([&] { model.read(); }, {"com.microsoft", std::string("the_") + op});
  }
}

TEST(OnnxMalformed, OperatorsOfOurOwnAreNotOperatorsOfOnnx) {
  int own = 0;
  for (const OperatorSchema* schema : all_operators()) {
    if (schema->domain.empty()) continue;
    ++own;
    const std::string op(schema->name);
    for (const char* domain : {"", "ai.onnx", "ounce"}) {
      for (const int opset : {11, 17, 21}) {
        OnnxModel model = one_node_model(opset, op, {2, 2, 4, 4}, {"x", "x", "x"});
        model.graph().mutable_node(0)->set_domain(domain);
        expect_error([&] { model.read(); }, {op, "the_" + op});
      }
    }
  }
  EXPECT_GE(own, 5);
}

TEST(OnnxMalformed, OperatorsOutsideTheirOpsetsAreRefused) {
  const std::vector<std::pair<const char*, int>> too_early = {
      {"Gelu", 19}, {"HardSwish", 13}, {"Mish", 17}, {"LayerNormalization", 16}, {"Erf", 8}};
  for (const auto& [op, opset] : too_early) {
    expect_error([&, name = op, version = opset] { one_node_model(version, name, {2}).read(); },
                 {op, "from opset " + std::to_string(opset + 1)});
  }
  expect_error(
      [] {
        one_node_model(10, "Upsample", {1, 1, 2, 2}).read();
      },
      {"withdrew 'Upsample'"});
  expect_error([] { one_node_model(11, "Scatter", {2}).read(); }, {"withdrew 'Scatter'"});
  for (const auto& [op, opset] : {std::pair{"Gelu", 20}, {"HardSwish", 14}, {"Mish", 18}}) {
    EXPECT_EQ(one_node_model(opset, op, {2}).read().nodes.back().op, op);
  }
}

TEST(OnnxMalformed, ModelsThatContradictThemselvesOnMeaningAreRefused) {
  OnnxModel two = one_node_model(17, "Relu", {2});
  auto* import = two.proto.add_opset_import();
  import->set_domain("ai.onnx");
  import->set_version(13);
  expect_error([&] { two.read(); }, {"two opsets, 17 and 13"});
  OnnxModel redefined = one_node_model(17, "Relu", {2});
  redefined.proto.add_functions()->set_name("Relu");
  expect_error([&] { redefined.read(); }, {"redefines the ONNX operator 'Relu'"});
}

TEST(OnnxMalformed, SubgraphIsRefusedWithItsNode) {
  OnnxModel model = one_node_model(17, "If", {2});
  auto* attribute = model.graph().mutable_node(0)->add_attribute();
  attribute->set_name("then_branch");
  attribute->set_type(onnx::AttributeProto::GRAPH);
  attribute->mutable_g();
  expect_error([&] { model.read(); }, {"subgraph", "the_If"});
}

TEST(OnnxMalformed, OpsetOutOfRangeIsNamed) {
  expect_error([] { one_node_model(22, "Relu", {2}).read(); }, {"opset 22"});
  expect_error([] { one_node_model(6, "Relu", {2}).read(); }, {"opset 6"});
  OnnxModel none = one_node_model(17, "Relu", {2});
  none.proto.clear_opset_import();
  expect_error([&] { none.read(); }, {"no opset"});
}

TEST(OnnxMalformed, TensorThatLiesAboutItsSizeIsNamed) {
  const int64_t huge = int64_t{1} << 60;
  for (const std::vector<int64_t>& dims :
       {std::vector<int64_t>{4}, {huge}, {huge, huge}, {-1}, {huge, 16, 16}}) {
    OnnxModel model = one_node_model(17, "Relu", {2});
    model.floats("liar", dims, {1, 2, 3});
    expect_error([&] { model.read(); }, {"'liar'"});
    OnnxModel raw = one_node_model(17, "Relu", {2});
    raw.tensor("liar", 1, dims).set_raw_data("abcdef");
    expect_error([&] { raw.read(); }, {"'liar'"});
  }
}

TEST(OnnxMalformed, UnsupportedElementTypesAreNamed) {
  for (const int type : {0, 8, 14, 17, 23, 99, -1}) {
    OnnxModel model = one_node_model(17, "Relu", {2});
    model.tensor("odd", type, {1}).add_int32_data(1);
    expect_error([&] { model.read(); }, {"'odd'", "element type"});
  }
}

TEST(OnnxMalformed, SparseInitializersAreRefused) {
  OnnxModel model = one_node_model(17, "Relu", {2});
  model.graph().add_sparse_initializer()->mutable_values()->set_name("thin");
  expect_error([&] { model.read(); }, {"sparse", "thin"});
}

TEST(OnnxMalformed, BrokenWiringIsNamed) {
  OnnxModel missing = one_node_model(17, "Relu", {2}, {"nowhere"});
  expect_error([&] { missing.read(); }, {"'nowhere'", "the_Relu"});
  OnnxModel twice = one_node_model(17, "Relu", {2});
  twice.node("Neg", {"x"}, {"y"});
  expect_error([&] { twice.read(); }, {"'y'", "made twice", "the_Neg"});
  OnnxModel cycle(17);
  cycle.input("x", {2}).output("a", {2});
  cycle.node("Add", {"x", "b"}, {"a"});
  cycle.node("Relu", {"a"}, {"b"});
  expect_error([&] { cycle.read(); }, {"cycle"});
  OnnxModel output = one_node_model(17, "Relu", {2});
  output.output("ghost", {2});
  expect_error([&] { output.read(); }, {"'ghost'"});
  OnnxModel arity = one_node_model(17, "Relu", {2}, {"x", "x", "x"});
  expect_error([&] { arity.read(); }, {"the_Relu", "inputs"});
}

TEST(OnnxMalformed, AttributeOfTheWrongKindIsNamedWithItsNode) {
  OnnxModel model = one_node_model(11, "ReduceMean", {2, 3});
  OnnxModel::set(*model.graph().mutable_node(0), "axes", "no list");
  expect_error([&] { model.read(); }, {"axes", "the_ReduceMean"});
}

TEST(OnnxMalformed, LineBreaksInNamesDoNotFakeASecondMessage) {
  OnnxModel model = one_node_model(17, "Nope\nerror: all is well", {2});
  try {
    model.read();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

/// Two bytes make a message of a hundred; the parser would fill 100 times the size of the file.
TEST(OnnxMalformed, ModelsOfMillionsOfEmptyPartsAreRefusedBeforeParsing) {
  const auto repeated = [](const char* part, size_t count) {
    std::string parts;
    for (size_t i = 0; i < count; ++i) parts.append(part, 2);
    return parts;
  };
  const auto field = [](int number, const std::string& content) {
    std::string bytes(1, static_cast<char>(number << 3 | 2));
    for (size_t rest = content.size(); true; rest >>= 7) {
      bytes += static_cast<char>((rest & 127) | (rest > 127 ? 128 : 0));
      if (rest <= 127) break;
    }
    return bytes + content;
  };
  constexpr size_t kCount = 6'000'000;
  const std::string nodes = field(7, repeated("\x0a\0", kCount));
  const std::string inputs_of_a_node = field(7, field(1, repeated("\x0a\0", kCount)));
  const std::string attributes = field(7, field(1, repeated("\x2a\0", kCount)));
  for (const std::string* bytes : {&nodes, &inputs_of_a_node, &attributes}) {
    expect_error([&] { read_onnx_bytes(as_span(*bytes)); }, {"too many parts"});
  }
}

TEST(OnnxMalformed, AbsurdRanksAndDimensionNamesDoNotSpread) {
  const std::vector<int64_t> ones(100'000, 1);
  expect_error([&] { one_node_model(17, "Relu", ones).read(); }, {"dimensions", "'x'"});
  OnnxModel weights = one_node_model(17, "Relu", {2});
  weights.floats("w", ones, {1});
  expect_error([&] { weights.read(); }, {"dimensions", "'w'"});
  OnnxModel axes = one_node_model(13, "Unsqueeze", {2}, {"x", "axes"});
  std::vector<int64_t> many(100);
  std::iota(many.begin(), many.end(), 0);
  axes.ints("axes", many);
  expect_error([&] { axes.read(); }, {"dimensions", "the_Unsqueeze"});

  OnnxModel named = one_node_model(17, "Relu", {2});
  auto* shape = named.graph().mutable_input(0)->mutable_type()->mutable_tensor_type();
  shape->mutable_shape()->mutable_dim(0)->set_dim_param(std::string(1'000'000, 's'));
  const Graph graph = named.read();
  EXPECT_EQ(graph.value(graph.inputs[0]).shape->at(0), Dim());
}

TEST(OnnxMalformed, DamagedSerializedTensorIsAnError) {
  expect_error([] { read_tensor_proto_bytes(as_span("\xff\xff\xff")); }, {"tensor"});
}

}  // namespace
}  // namespace ounce::formats
