#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <string>

#include "formats/ounce_file/ounce_file.h"
#include "graph/error.h"
#include "tests/support/test_data.h"

namespace ounce::formats {
namespace {

using ::ounce::testing::TemporaryFolder;

std::string with_length(const std::string& header, const std::string& data, uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i) & 0xff);
  return bytes + header + data;
}

std::string container(const std::string& header, const std::string& data = {}) {
  return with_length(header, data, header.size());
}

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

/// A file whose graph is `graph` and whose only tensor is "w", two floats.
std::string file_with_graph(const std::string& graph) {
  return container(R"({"__metadata__":{"ounce.format":"1","ounce.graph":")" + escaped(graph) +
                       R"("},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                   std::string(8, '\0'));
}

std::string graph_text(const std::string& values, const std::string& nodes,
                       const std::string& inputs = "[0]", const std::string& outputs = "[2]") {
  return R"({"name":"g","inputs":)" + inputs + R"(,"outputs":)" + outputs + R"(,"values":)" +
         values + R"(,"nodes":)" + nodes + "}";
}

const char* const kValues =
    R"([{"name":"x","dtype":"f32","shape":[2]},)"
    R"({"name":"w","dtype":"f32","shape":[2],"tensor":"w"},{"name":"y","dtype":"f32"}])";
const char* const kNodes = R"([{"op":"Add","name":"n","inputs":[0,1],"outputs":[2]}])";

Graph read(const std::string& bytes) {
  // A copy of exactly this size: a read past its end is seen by the address sanitizer.
  const auto owner = std::make_shared<std::vector<std::byte>>();
  for (const char c : bytes) owner->push_back(static_cast<std::byte>(c));
  return read_ounce_bytes(*owner, owner);
}

void expect_error(const std::string& bytes, const std::string& part) {
  try {
    read(bytes);
    ADD_FAILURE() << "no error; expected one with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
        << "'" << part << "' missing in: " << error.what();
  }
}

/// Reading may succeed or throw `Error`; anything else fails.
void read_whatever(const std::string& bytes) {
  try {
    read(bytes);
  } catch (const Error& error) {
    EXPECT_FALSE(error.message().empty());
  }
}

std::string healthy_file() {
  return file_with_graph(graph_text(kValues, kNodes));
}

TEST(OunceMalformed, HealthyFileReads) {
  EXPECT_EQ(read(healthy_file()).nodes.size(), 1u);
}

TEST(OunceMalformed, EmptyAndTinyFilesAreNamed) {
  TemporaryFolder folder;
  const auto path = folder.path() / "m.ounce";
  for (const std::string& content : {std::string(), std::string("ab"), std::string(7, '\0')}) {
    std::ofstream(path, std::ios::binary) << content;
    try {
      read_ounce(path);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("m.ounce"), std::string::npos);
    }
  }
  expect_error("ab", "too few");
}

TEST(OunceMalformed, LyingHeaderLengthIsNamed) {
  expect_error(with_length("{}", "", uint64_t{1} << 60), "claims 1152921504606846976");
  expect_error(with_length("{}", "", ~uint64_t{0}), "claims");
  expect_error(with_length("{}", "", 3), "claims 3 bytes");
  expect_error(with_length("{}", "", 0), "not valid JSON");
  expect_error(with_length("{}", "", 1), "not valid JSON");
}

TEST(OunceMalformed, EveryTruncationIsAnError) {
  const std::string bytes = healthy_file();
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THROW(read(bytes.substr(0, length)), Error) << length;
  }
}

TEST(OunceMalformed, EveryFlippedBitIsAnErrorOrAGraph) {
  std::string bytes = healthy_file();
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    bytes[i / 8] = static_cast<char>(bytes[i / 8] ^ (1 << (i % 8)));
    read_whatever(bytes);
    bytes[i / 8] = static_cast<char>(bytes[i / 8] ^ (1 << (i % 8)));
  }
}

TEST(OunceMalformed, EveryReplacedByteIsAnErrorOrAGraph) {
  std::mt19937 random(1);
  const std::string healthy = healthy_file();
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = healthy;
    for (int k = 0; k < 3; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
    read_whatever(bytes);
  }
}

TEST(OunceMalformed, TensorRangesAreChecked) {
  const auto tensor = [](const char* dtype, const char* shape, const char* offsets) {
    return container(std::string(R"({"t":{"dtype":")") + dtype + R"(","shape":)" + shape +
                         R"(,"data_offsets":)" + offsets + "}}",
                     std::string(8, '\0'));
  };
  expect_error(tensor("F32", "[2]", "[0,9]"), "outside");
  expect_error(tensor("F32", "[2]", "[8,0]"), "outside");
  expect_error(tensor("F32", "[2]", "[-1,7]"), "outside");
  expect_error(tensor("F32", "[2]", "[0,18446744073709551615]"), "too large");
  expect_error(tensor("F32", "[2]", "[0]"), "outside");
  expect_error(tensor("F32", "[2]", "[0.0,8.0]"), "integer");
  expect_error(tensor("F32", "[3]", "[0,8]"), "does not fit");
  expect_error(tensor("F32", "[-2]", "[0,8]"), "negative");
  expect_error(tensor("F32", "[4611686018427387904,4]", "[0,8]"), "too large");
  expect_error(tensor("F32", "2", "[0,8]"), "list");
  expect_error(tensor("F99", "[2]", "[0,8]"), "F99");
  expect_error(tensor("F32", "[1]", "[0,4]"), "unnamed bytes follow");
  expect_error(tensor("F32", "[1]", "[4,8]"), "gap");
}

TEST(OunceMalformed, OverlappingTensorsAreRefused) {
  expect_error(container(R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},)"
                         R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                         std::string(8, '\0')),
               "overlaps");
  expect_error(container(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},)"
                         R"("b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
                         std::string(8, '\0')),
               "overlaps");
}

TEST(OunceMalformed, RepeatedKeysAndDeepNestingAreRefused) {
  expect_error(container(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                         R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
               "appears twice");
  expect_error(container(R"({"__metadata__":)" + std::string(200000, '[') + "}"), "nested");
  expect_error(container("[1]"), "an object");
  expect_error(container(R"({"__metadata__":{"k":1}})"), "text");
}

TEST(OunceMalformed, SafetensorsWithoutGraphSaysSo) {
  expect_error(container(R"({"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "ab"),
               "holds no graph");
  expect_error(container(R"({"__metadata__":{"ounce.format":"2","ounce.graph":"{}"}})"),
               "version '2'");
}

TEST(OunceMalformed, GraphFieldsAreChecked) {
  const auto graph = [](const std::string& text, const std::string& part) {
    expect_error(file_with_graph(text), part);
  };
  graph("{}", "missing");
  graph("nonsense", "not valid JSON");
  graph(graph_text("{}", "[]"), "list");
  graph(graph_text(R"([{"name":"x"}])", "[]"), "'dtype' is missing");
  graph(graph_text(R"([{"name":"x","dtype":"f33"}])", "[]"), "'f33'");
  graph(graph_text(R"([{"name":"x","dtype":"f32","shape":[-3]}])", "[]"), "negative");
  graph(graph_text(R"([{"name":"w","dtype":"f32","shape":[2],"tensor":"v"}])", "[]"),
        "does not hold it");
  graph(graph_text(R"([{"name":"w","dtype":"f32","shape":[3],"tensor":"w"}])", "[]"),
        "is stored as");
  graph(graph_text(R"([{"name":"w","dtype":"i32","shape":[2],"tensor":"w"}])", "[]"),
        "is stored as");
  graph(graph_text(R"([{"name":"w","dtype":"i4","shape":[16],"tensor":"w"}])", "[]"),
        "is stored as");
  graph(graph_text(kValues, kNodes, "[7]"), "out of range");
  graph(graph_text(kValues, kNodes, "[-1]"), "out of range");
  graph(graph_text(kValues, kNodes, "[0]", "[4294967298]"), "out of range");
  const auto node = [&](const char* nodes, const std::string& part) {
    graph(graph_text(kValues, nodes), part);
  };
  node(R"([{"op":"Addd","name":"n","inputs":[0,1],"outputs":[2]}])", "Addd");
  node(R"([{"op":"Add","name":"n","inputs":[0,9],"outputs":[2]}])", "out of range");
  node(R"([{"op":"Add","name":"n","inputs":[0],"outputs":[2]}])", "inputs");
  node(R"([{"op":"Add","name":"n","inputs":[2,1],"outputs":[2]}])", "before it is made");
  node(R"([{"op":"Add","name":"n","inputs":[0,1],"outputs":[2]},)"
       R"({"op":"Add","name":"m","inputs":[0,1],"outputs":[2]}])",
       "two producers");
  node(R"([{"op":"Add","name":"n","inputs":[0,1],"outputs":[2],"attributes":{"a":{}}}])",
       "'strings' is missing");
  node(R"([{"op":"Add","name":"n","inputs":[0,1],"outputs":[2],"attributes":{"a":{"int":"x"}}}])",
       "an integer");
  node(R"([{"op":"Add","name":"n","inputs":[0,1],"outputs":[2],"attributes":{"a":{"float":"z"}}}])",
       "not a number");
}

}  // namespace
}  // namespace ounce::formats
