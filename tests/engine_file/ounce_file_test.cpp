#include "formats/ounce_file/ounce_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include "formats/ounce_file/safetensors.h"
#include "graph/error.h"
#include "tests/support/tensors.h"
#include "tests/support/test_data.h"

namespace ounce::formats {
namespace {

namespace fs = std::filesystem;
using ::ounce::testing::random_tensor;
using ::ounce::testing::TemporaryFolder;

/// A graph with every kind of value, attribute and constant.
Graph rich_graph() {
  Graph graph;
  graph.name = "rich \"graph\"\n\u00fc";
  const ValueId x = graph.add_input("x", DType::f32, {Dim("batch"), Dim(4), Dim()});
  for (const DType dtype :
       {DType::f32, DType::f16, DType::bf16, DType::f64, DType::i64, DType::i32, DType::i16,
        DType::i8, DType::u64, DType::u32, DType::u16, DType::u8, DType::boolean, DType::u4,
        DType::i4, DType::i3, DType::i2, DType::u1}) {
    graph.add_constant("c." + std::string(name_of(dtype)),
                       cast(random_tensor({3, 5}, 1, 100.0f), dtype));
  }
  graph.add_constant("__metadata__", random_tensor({}, 2));
  graph.add_constant("__padding__.0", random_tensor({0, 3}, 3));
  AttributeMap attributes;
  attributes.set("int", int64_t{-(int64_t{1} << 62)});
  attributes.set("float", 0.1f);
  attributes.set("odd", -std::numeric_limits<float>::infinity());
  attributes.set("string", std::string("text"));
  attributes.set("ints", std::vector<int64_t>{1, -2});
  attributes.set("floats", std::vector<float>{1.5f, std::numeric_limits<float>::infinity(), -0.0f});
  attributes.set("strings", std::vector<std::string>{"a", ""});
  attributes.set("empty", std::vector<int64_t>{});
  attributes.set("tensor", Tensor::of_i64({7, 8}));
  const ValueId y = graph.add_node(
      "Clip", {x, kNoValue, graph.add_constant("max", Tensor::scalar(1.0f))}, attributes, "clip");
  graph.nodes[0].scope = "blocks.3";
  graph.outputs = {y};
  graph.metadata["ounce.preprocess"] = "{\"crop\": 224}";
  graph.metadata["producer"] = "somebody";
  return graph;
}

void expect_equal(const Graph& a, const Graph& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.inputs, b.inputs);
  EXPECT_EQ(a.outputs, b.outputs);
  EXPECT_EQ(a.metadata, b.metadata);
  ASSERT_EQ(a.values.size(), b.values.size());
  for (size_t i = 0; i < a.values.size(); ++i) {
    EXPECT_EQ(a.values[i].name, b.values[i].name);
    EXPECT_EQ(a.values[i].dtype, b.values[i].dtype) << a.values[i].name;
    EXPECT_EQ(a.values[i].shape, b.values[i].shape) << a.values[i].name;
    EXPECT_TRUE(a.values[i].constant.identical_to(b.values[i].constant)) << a.values[i].name;
  }
  ASSERT_EQ(a.nodes.size(), b.nodes.size());
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    EXPECT_EQ(a.nodes[i].op, b.nodes[i].op);
    EXPECT_EQ(a.nodes[i].name, b.nodes[i].name);
    EXPECT_EQ(a.nodes[i].scope, b.nodes[i].scope);
    EXPECT_EQ(a.nodes[i].inputs, b.nodes[i].inputs);
    EXPECT_EQ(a.nodes[i].outputs, b.nodes[i].outputs);
    const auto& theirs = b.nodes[i].attributes.entries();
    for (const auto& [name, value] : a.nodes[i].attributes.entries()) {
      ASSERT_TRUE(theirs.contains(name)) << name;
      if (const auto* tensor = std::get_if<Tensor>(&value)) {
        EXPECT_TRUE(std::get<Tensor>(theirs.at(name)).identical_to(*tensor));
      } else if (const auto* number = std::get_if<float>(&value)) {
        EXPECT_EQ(std::get<float>(theirs.at(name)), *number) << name;
      } else if (!std::holds_alternative<Tensor>(theirs.at(name))) {
        EXPECT_EQ(value.index(), theirs.at(name).index()) << name;
      }
    }
    EXPECT_EQ(theirs.size(), a.nodes[i].attributes.entries().size());
  }
}

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class OunceFile : public ::testing::Test {
 protected:
  fs::path path(const char* name = "model.ounce") const { return folder_.path() / name; }
  TemporaryFolder folder_;
};

TEST_F(OunceFile, GivesBackExactlyWhatWasWritten) {
  const Graph graph = rich_graph();
  write_ounce(graph, path());
  const Graph copy = read_ounce(path());
  expect_equal(graph, copy);
  const auto& attributes = copy.nodes[0].attributes;
  EXPECT_EQ(attributes.get_ints("ints"), (std::vector<int64_t>{1, -2}));
  EXPECT_TRUE(std::signbit(attributes.get_floats("floats")[2]));
  EXPECT_EQ(attributes.get_string("string", ""), "text");
}

TEST_F(OunceFile, EqualGraphsGiveEqualBytes) {
  write_ounce(rich_graph(), path("a"));
  write_ounce(read_ounce(path("a")), path("b"));
  EXPECT_EQ(content_of(path("a")), content_of(path("b")));
}

TEST_F(OunceFile, IsASafetensorsFileWithTensorsAtMultiplesOf64) {
  write_ounce(rich_graph(), path());
  const std::string bytes = content_of(path());
  const auto span = std::as_bytes(std::span(bytes.data(), bytes.size()));
  EXPECT_TRUE(looks_like_safetensors(span));
  const Safetensors container = parse_safetensors(span);
  EXPECT_EQ(container.metadata.at("ounce.format"), "1");
  EXPECT_EQ(container.metadata.at("producer"), "somebody");
  EXPECT_EQ(container.entries.at("c.f32").dtype, DType::f32);
  EXPECT_EQ(container.entries.at("c.i4").dtype, DType::u8);
  EXPECT_EQ(container.entries.at("c.i4").shape, Shape{8});
  for (const auto& [name, entry] : container.entries) {
    EXPECT_EQ((entry.bytes.data() - span.data()) % 64, 0) << name;
  }
}

TEST_F(OunceFile, WeightsAreBorrowedFromTheMapping) {
  write_ounce(rich_graph(), path());
  Graph graph = read_ounce(path());
  fs::remove(path());
  const ValueId id = graph.find_value("c.f32");
  Tensor weights = graph.value(id).constant;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(weights.raw()) % 64, 0u);
  graph = Graph();
  EXPECT_TRUE(weights.identical_to(random_tensor({3, 5}, 1, 100.0f)));
  // A write makes a copy of its own: the mapping is read-only.
  weights.mutable_data<float>()[0] = 1.0f;
}

TEST_F(OunceFile, ReadsFromMemoryWhateverItsAlignment) {
  write_ounce(rich_graph(), path());
  for (size_t shift = 0; shift < 3; ++shift) {
    const auto bytes = std::make_shared<std::string>(std::string(shift, ' ') + content_of(path()));
    const Graph graph = read_ounce_bytes(
        std::as_bytes(std::span(bytes->data() + shift, bytes->size() - shift)), bytes);
    expect_equal(graph, rich_graph());
  }
}

TEST_F(OunceFile, ReplacesTheTargetOnlyWhenComplete) {
  std::ofstream(path()) << "precious";
  Graph graph = rich_graph();
  graph.metadata["ounce.graph"] = "mine";
  EXPECT_THROW(write_ounce(graph, path()), Error);
  Graph not_utf8 = rich_graph();
  not_utf8.values[0].name = "\xff";
  EXPECT_THROW(write_ounce(not_utf8, path()), Error);
  EXPECT_EQ(content_of(path()), "precious");
  write_ounce(rich_graph(), path());
  EXPECT_NO_THROW(read_ounce(path()));
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder_.path())) ++files;
  EXPECT_EQ(files, 1u);
}

}  // namespace
}  // namespace ounce::formats
