#include "formats/formats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "formats/onnx/onnx.h"
#include "formats/ounce_file/ounce_file.h"
#include "graph/operator.h"
#include "tests/formats/expect_error.h"
#include "tests/support/test_data.h"

namespace ounce::formats {
namespace {

using ::ounce::testing::TemporaryFolder;

Graph product(std::vector<float> weights, const char* op = "MatMul") {
  Graph graph;
  const ValueId x = graph.add_input("x", DType::f32, symbolic(Shape{1, 2}));
  const ValueId w = graph.add_constant("w", Tensor::of(weights, {2, 2}));
  graph.outputs = {graph.add_node(op, {x, w}, {}, "product")};
  infer_shapes(graph);
  return graph;
}

TEST(ReadModel, GoesByContentNotByName) {
  TemporaryFolder folder;
  write_model(product({1, 2, 3, 4}), folder.path() / "a.onnx");
  write_model(product({1, 2, 3, 4}), folder.path() / "b.ounce");
  for (const char* name : {"a.onnx", "b.ounce"}) {
    std::filesystem::copy_file(folder.path() / name, folder.path() / (std::string(name) + ".bin"));
    EXPECT_EQ(read_model(folder.path() / name).nodes.size(), 1u);
    EXPECT_EQ(read_model(folder.path() / (std::string(name) + ".bin")).nodes.size(), 1u);
  }
}

TEST(ReadModel, SaysWhatAForeignFileIs) {
  TemporaryFolder folder;
  const auto path = folder.path() / "weights.pt";
  std::ofstream(path) << "PK\3\4 and so on";
  expect_error([&] { read_model(path); },
               {"weights.pt", "zip archive", "export the model to ONNX"});
}

TEST(CheckFinite, NamesTensorReaderAndElement) {
  const float nan = std::nanf("");
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_NO_THROW(check_finite(product({1, 2, 3, 4})));
  expect_error(
      [&] {
        check_finite(product({1, 2, nan, 4}));
      },
      {"NaN", "[1, 0]", "'w'", "'product'"});
  expect_error([&] { check_finite(product({1, infinity, 3, 4})); }, {"infinity", "[0, 1]", "'w'"});
}

TEST(CheckFinite, LetsMasksHoldInfinities) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_NO_THROW(check_finite(product({0, -infinity, 0, 0}, "Add")));
  expect_error([&] { check_finite(product({0, std::nanf(""), 0, 0}, "Add")); }, {"NaN"});
}

TEST(CheckFinite, LooksAtHalvesAndDoubles) {
  for (const DType dtype : {DType::f16, DType::bf16, DType::f64}) {
    Graph graph = product({1, 2, 3, 4});
    Value& weights = graph.value(graph.find_value("w"));
    weights.constant = cast(Tensor::of(std::vector<float>{1, 2, 3, std::nanf("")}, {2, 2}), dtype);
    expect_error([&] { check_finite(graph); }, {"NaN", "[1, 1]"});
  }
}

}  // namespace
}  // namespace ounce::formats
