#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <sstream>

#include "engine/reference/reference.h"
#include "formats/formats.h"
#include "formats/onnx/onnx.h"
#include "formats/ounce_file/atomic_file.h"
#include "graph/operator.h"
#include "tests/formats/expect_error.h"
#include "tests/formats/onnx_model.h"
#include "tests/support/tensors.h"
#include "tests/support/test_data.h"

namespace ounce::formats {
namespace {

namespace fs = std::filesystem;
using ::ounce::testing::random_tensor;
using ::ounce::testing::TemporaryFolder;

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

int64_t written_opset(const fs::path& path) {
  onnx::ModelProto model;
  EXPECT_TRUE(model.ParseFromString(content_of(path)));
  return model.opset_import(0).version();
}

/// x -> `op` -> y, all f32.
Graph one_node_graph(const char* op, const Shape& input, AttributeMap attributes = {},
                     const std::vector<Tensor>& constants = {}, size_t outputs = 1) {
  Graph graph;
  graph.name = "g";
  std::vector<ValueId> inputs = {graph.add_input("x", DType::f32, symbolic(input))};
  for (const Tensor& constant : constants) inputs.push_back(graph.add_constant("c", constant));
  graph.add_node(op, inputs, std::move(attributes), "node", outputs);
  graph.outputs = graph.nodes[0].outputs;
  infer_shapes(graph);
  return graph;
}

AttributeMap ints(const char* name, int64_t value) {
  AttributeMap attributes;
  attributes.set(name, value);
  return attributes;
}

class OnnxWrite : public ::testing::Test {
 protected:
  fs::path path(const char* name = "model.onnx") const { return folder_.path() / name; }

  /// Writes, reads back and compares what both graphs compute.
  void expect_same_results(const Graph& graph, int opset) {
    write_onnx(graph, path());
    EXPECT_EQ(written_opset(path()), opset);
    const Graph copy = read_onnx(path());
    const Tensor x = random_tensor(*concrete(*graph.value(graph.inputs[0]).shape), 7);
    const auto before = engine::reference::run(graph, std::span(&x, 1));
    const auto after = engine::reference::run(copy, std::span(&x, 1));
    ASSERT_EQ(before.size(), after.size());
    for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(after[i].identical_to(before[i]));
  }

  TemporaryFolder folder_;
};

TEST_F(OnnxWrite, PlainOperatorsNeedOnlyTheLowestOpset) {
  expect_same_results(one_node_graph("Relu", {2, 3}), 13);
  expect_same_results(one_node_graph("MatMul", {2, 3}, {}, {random_tensor({3, 2}, 1)}), 13);
}

TEST_F(OnnxWrite, ConstantAxesOfReductionsGoBackToAttributes) {
  expect_same_results(one_node_graph("ReduceMean", {2, 3}, {}, {Tensor::of_i64({1})}), 13);
  expect_same_results(one_node_graph("ReduceSum", {2, 3}, {}, {Tensor::of_i64({1})}), 13);
  expect_same_results(one_node_graph("ReduceMax", {2, 3}), 13);
  expect_same_results(one_node_graph("ReduceMax", {2, 3}, ints("noop_with_empty_axes", 1)), 18);
}

TEST_F(OnnxWrite, SplitStatesItsNumberOnlyWhereItMust) {
  expect_same_results(one_node_graph("Split", {4}, ints("num_outputs", 2), {}, 2), 13);
  expect_same_results(one_node_graph("Split", {5}, ints("num_outputs", 2), {}, 2), 18);
  expect_same_results(one_node_graph("Split", {5}, {}, {Tensor::of_i64({1, 4})}, 2), 13);
}

TEST_F(OnnxWrite, NewerOperatorsAndOptionsRaiseTheOpset) {
  expect_same_results(one_node_graph("HardSwish", {4}), 14);
  expect_same_results(one_node_graph("Mish", {4}), 18);
  expect_same_results(one_node_graph("Gelu", {4}), 20);
  expect_same_results(one_node_graph("LayerNormalization", {2, 4}, {}, {random_tensor({4}, 1)}),
                      17);
  expect_same_results(one_node_graph("GroupNormalization", {1, 4, 2}, ints("num_groups", 2),
                                     {random_tensor({4}, 1), random_tensor({4}, 2)}),
                      21);
  expect_same_results(
      one_node_graph("Reshape", {2, 0}, ints("allowzero", 1), {Tensor::of_i64({0, 2})}), 14);
  EXPECT_EQ(required_opset(one_node_graph("Shape", {2, 3}, ints("start", 1))), 15);
  AttributeMap wrap;
  wrap.set("mode", std::string("wrap"));
  expect_same_results(one_node_graph("Pad", {4}, wrap, {Tensor::of_i64({1, 1})}), 19);
}

TEST_F(OnnxWrite, OperatorsNewerThanAllowedAreExpanded) {
  WriteOptions options;
  options.newest_opset = 17;
  write_onnx(one_node_graph("Gelu", {4}), path(), options);
  EXPECT_LE(written_opset(path()), 17);
  const Graph copy = read_onnx(path());
  const Tensor x = random_tensor({4}, 1);
  EXPECT_TRUE(::ounce::testing::close(
      engine::reference::run(copy, std::span(&x, 1))[0],
      engine::reference::run(one_node_graph("Gelu", {4}), std::span(&x, 1))[0], 1e-6));
}

/// One graph for each operator of our own.
std::vector<Graph> graphs_of_our_own() {
  AttributeMap interleaved = ints("interleaved", 1);
  const Shape tokens = {2, 3, 4};
  const Tensor keys = random_tensor({2, 5, 4}, 1);
  const Tensor angles = random_tensor({3, 2}, 2);
  return {one_node_graph("Silu", {4}),
          one_node_graph("Binarize", {2, 4}),
          one_node_graph("Binarize", {2, 4}, ints("axis", 1), {random_tensor({4}, 3)}),
          one_node_graph("DynamicFakeQuant", {2, 4}),
          one_node_graph("DynamicFakeQuant", {2, 4}, ints("per_token", 1)),
          one_node_graph("LogQuantize", {2, 4}, ints("steps_per_octave", 2)),
          one_node_graph("RMSNorm", {2, 4}, {}, {random_tensor({4}, 4)}),
          one_node_graph("Attention", tokens, {}, {keys, random_tensor({2, 5, 6}, 5)}),
          one_node_graph("RotaryEmbedding", tokens, {}, {angles, angles}),
          one_node_graph("RotaryEmbedding", tokens, interleaved, {angles, angles})};
}

TEST_F(OnnxWrite, FusedOperatorsOfOurOwnAreExpandedIntoStandardOnes) {
  std::set<std::string_view> left;
  for (const OperatorSchema* schema : all_operators()) {
    if (!schema->domain.empty()) left.insert(schema->name);
  }
  left.erase("FakeQuant");  // refused, see below
  for (const Graph& graph : graphs_of_our_own()) {
    const std::string& op = graph.nodes[0].op;
    left.erase(op);
    write_onnx(graph, path());
    onnx::ModelProto model;
    ASSERT_TRUE(model.ParseFromString(content_of(path())));
    EXPECT_EQ(model.opset_import_size(), 1);
    for (const onnx::NodeProto& node : model.graph().node()) {
      EXPECT_TRUE(node.domain().empty()) << node.name();
      const OperatorSchema* schema = find_operator(node.op_type());
      EXPECT_TRUE(schema != nullptr && schema->domain.empty()) << node.op_type();
    }
    const Graph copy = read_onnx(path());
    const Tensor x = random_tensor(*concrete(*graph.value(graph.inputs[0]).shape), 1);
    EXPECT_TRUE(::ounce::testing::close(engine::reference::run(copy, std::span(&x, 1))[0],
                                        engine::reference::run(graph, std::span(&x, 1))[0], 1e-5))
        << op;
    // Quantizers are found again at once, other operators when a session makes the graph fast.
    if (op != "Binarize" && op != "DynamicFakeQuant" && op != "LogQuantize") continue;
    ASSERT_EQ(copy.nodes.size(), 1u) << op;
    EXPECT_EQ(copy.nodes[0].op, op);
  }
  EXPECT_TRUE(left.empty()) << "no graph for " << (left.empty() ? "" : *left.begin());
}

TEST_F(OnnxWrite, RoundingThatIsStillTrainedIsRefused) {
  EXPECT_THROW(write_onnx(one_node_graph("FakeQuant", {4}), path()), Error);
}

/// x + DequantizeLinear(codes).
Graph dequantized_graph(const Tensor& codes, const Tensor& scale, AttributeMap attributes = {}) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, symbolic(codes.shape()));
  const ValueId c = graph.add_constant("codes", codes);
  const ValueId s = graph.add_constant("scale", scale);
  const ValueId w = graph.add_node("DequantizeLinear", {c, s}, std::move(attributes));
  graph.outputs = {graph.add_node("Add", {x, w})};
  infer_shapes(graph);
  return graph;
}

TEST_F(OnnxWrite, QuantizedWeightsTakeTheOpsetOfTheirType) {
  const Tensor scale = Tensor::scalar(0.5f);
  const Tensor codes = cast(random_tensor({2, 4}, 1, 7.0f), DType::i8);
  expect_same_results(dequantized_graph(codes, scale), 13);
  expect_same_results(dequantized_graph(cast(codes, DType::i4), scale), 21);
  AttributeMap blocks = ints("block_size", 2);
  blocks.set("axis", int64_t{1});
  expect_same_results(dequantized_graph(codes, random_tensor({2, 2}, 2), blocks), 21);
}

TEST_F(OnnxWrite, TernaryAndSignWeightsBecomeNarrowFourBitIntegers) {
  const Tensor scale = Tensor::scalar(0.5f);
  const Tensor ternary = cast(Tensor::of(std::vector<int8_t>{-1, 0, 1, 1}, {4}), DType::i2);
  const auto dtype_read = [&] {
    const Graph graph = read_onnx(path());
    return graph.value(graph.find_value("codes")).dtype;
  };
  expect_same_results(dequantized_graph(ternary, scale), 21);
  constexpr int kInt4 = 22;  // newer than the enumeration of Debian's package
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromString(content_of(path())));
  for (const onnx::TensorProto& tensor : model.graph().initializer()) {
    EXPECT_EQ(tensor.data_type() == kInt4, tensor.name() == "codes") << tensor.name();
  }
  EXPECT_EQ(dtype_read(), DType::i2);  // and are narrow again behind the reader
  const Tensor signs = cast(Tensor::of(std::vector<int8_t>{-1, 1, 1, -1}, {4}), DType::u1);
  expect_same_results(dequantized_graph(signs, scale), 21);
  EXPECT_EQ(dtype_read(), DType::u1);
  const Tensor three = cast(Tensor::of(std::vector<int8_t>{-4, 3, 1, -1}, {4}), DType::i3);
  expect_same_results(dequantized_graph(three, scale), 21);
  EXPECT_EQ(dtype_read(), DType::i3);
  const Tensor four = cast(Tensor::of(std::vector<int8_t>{-5, 3, 1, -1}, {4}), DType::i4);
  expect_same_results(dequantized_graph(four, scale), 21);
  EXPECT_EQ(dtype_read(), DType::i4);
}

TEST_F(OnnxWrite, EqualGraphsGiveEqualBytes) {
  const Graph graph = one_node_graph("MatMul", {2, 3}, {}, {random_tensor({3, 2}, 1)});
  write_onnx(graph, path("a.onnx"));
  write_onnx(graph, path("b.onnx"));
  EXPECT_EQ(content_of(path("a.onnx")), content_of(path("b.onnx")));
}

TEST_F(OnnxWrite, WritingWhatWasReadChangesNothing) {
  write_onnx(one_node_graph("ReduceMean", {2, 3}, {}, {Tensor::of_i64({1})}), path("a.onnx"));
  write_onnx(read_onnx(path("a.onnx")), path("b.onnx"));
  write_onnx(read_onnx(path("b.onnx")), path("c.onnx"));
  EXPECT_EQ(content_of(path("b.onnx")), content_of(path("c.onnx")));
}

TEST_F(OnnxWrite, WeightsGoOutsideOnRequestAndComeBack) {
  WriteOptions options;
  options.weights = WeightPlacement::external;
  const Tensor weights = random_tensor({64, 64}, 1);
  const Graph graph = one_node_graph("MatMul", {2, 64}, {}, {weights});
  write_onnx(graph, path(), options);
  EXPECT_LT(fs::file_size(path()), 2000u);
  EXPECT_EQ(fs::file_size(path("model.onnx.data")), weights.bytes());
  const Graph copy = read_onnx(path());
  const Tensor x = random_tensor({2, 64}, 2);
  EXPECT_TRUE(engine::reference::run(copy, std::span(&x, 1))[0].identical_to(
      engine::reference::run(graph, std::span(&x, 1))[0]));
}

TEST_F(OnnxWrite, WeightsGoOutsideByThemselvesWhenTheyAreTooLarge) {
  const Graph graph = one_node_graph("MatMul", {2, 64}, {}, {random_tensor({64, 64}, 1)});
  WriteOptions options;
  options.largest_inside_bytes = 64 * 64 * 4;
  write_onnx(graph, path("fits.onnx"), options);
  EXPECT_FALSE(fs::exists(path("fits.onnx.data")));
  --options.largest_inside_bytes;
  write_onnx(graph, path("large.onnx"), options);
  EXPECT_TRUE(fs::exists(path("large.onnx.data")));
}

TEST_F(OnnxWrite, AKilledProcessLeavesTheOldFile) {
  std::ofstream(path()) << "precious";
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFile file(path());
    file.write("half of a mod");
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(content_of(path()), "precious");
}

TEST_F(OnnxWrite, MetadataAndSymbolicInterfaceSurvive) {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, {Dim("batch"), Dim(3), Dim()});
  graph.outputs = {graph.add_node("Relu", {x})};
  infer_shapes(graph);
  graph.metadata["ounce.preprocess"] = "{\"resize\":224}";
  write_onnx(graph, path());
  const Graph copy = read_onnx(path());
  EXPECT_EQ(copy.metadata.at("ounce.preprocess"), "{\"resize\":224}");
  const SymbolicShape& shape = *copy.value(copy.inputs[0]).shape;
  EXPECT_EQ(to_string(shape), "[batch, 3, ?]");
}

TEST_F(OnnxWrite, FailureLeavesTheOldFileAndNoOther) {
  std::ofstream(path()) << "precious";
  Graph graph;
  graph.outputs = {graph.add_input("x", DType::u1, {Dim(8)})};
  expect_error([&] { write_onnx(graph, path()); }, {"u1", "'x'"});
  EXPECT_EQ(content_of(path()), "precious");
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder_.path())) ++files;
  EXPECT_EQ(files, 1u);
}

TEST_F(OnnxWrite, UnwritableTargetsAreNamed) {
  const Graph graph = one_node_graph("Relu", {2});
  expect_error([&] { write_onnx(graph, folder_.path() / "absent" / "m.onnx"); }, {"m.onnx"});
  expect_error([&] { write_onnx(graph, folder_.path()); }, {"folder"});
  expect_error([&] { write_model(graph, path("model.tflite")); }, {".tflite", ".onnx"});
}

}  // namespace
}  // namespace ounce::formats
