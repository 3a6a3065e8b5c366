// Real exported models against outputs recorded from another runtime.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/reference/reference.h"
#include "formats/formats.h"
#include "formats/npy.h"
#include "formats/onnx/onnx.h"
#include "formats/ounce_file/ounce_file.h"
#include "tests/support/test_data.h"

namespace ounce::formats {
namespace {

namespace fs = std::filesystem;
using ::ounce::testing::TemporaryFolder;

// Of the largest value of the output: an element near zero is a difference of large terms, and
// keeps their absolute error. Measured: below 5e-5 everywhere, 1e-6 at the median model.
constexpr double kTolerance = 1e-4;

double largest_error(const Tensor& actual, const Tensor& expected) {
  const std::vector<float> a = actual.to_f32();
  const std::vector<float> b = expected.to_f32();
  double error = 0;
  double largest = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    error = std::max(error, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  return error / largest;
}

struct RecordedCase {
  fs::path model;
  Tensor input;
  std::vector<Tensor> outputs;
};

RecordedCase read_case(const fs::path& data, const std::string& name) {
  const fs::path folder = data / "expected" / name;
  std::ifstream file(folder / "case.json");
  const auto json = nlohmann::json::parse(file);
  RecordedCase recorded;
  recorded.model = data / json.at("model").get<std::string>();
  recorded.input = read_npy(folder / "input.npy");
  for (size_t i = 0; i < json.at("outputs").size(); ++i) {
    recorded.outputs.push_back(read_npy(folder / ("output_" + std::to_string(i) + ".npy")));
  }
  return recorded;
}

void expect_recorded(const Graph& graph, const RecordedCase& recorded) {
  const auto outputs = engine::reference::run(graph, std::span(&recorded.input, 1));
  ASSERT_EQ(outputs.size(), recorded.outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    ASSERT_EQ(outputs[i].shape(), recorded.outputs[i].shape());
    EXPECT_LT(largest_error(outputs[i], recorded.outputs[i]), kTolerance);
  }
}

class RecordedOutputs : public ::testing::TestWithParam<const char*> {};

TEST_P(RecordedOutputs, AgreeAsReadAndAfterBothRoundTrips) {
  OUNCE_REQUIRE_DATA(data);
  const RecordedCase recorded = read_case(data, GetParam());
  const Graph graph = read_model(recorded.model);
  expect_recorded(graph, recorded);
  TemporaryFolder folder;
  write_onnx(graph, folder.path() / "copy.onnx");
  write_ounce(read_onnx(folder.path() / "copy.onnx"), folder.path() / "copy.ounce");
  expect_recorded(read_ounce(folder.path() / "copy.ounce"), recorded);
}

INSTANTIATE_TEST_SUITE_P(All, RecordedOutputs,
                         ::testing::Values("resnet20", "resnet56", "vit_tiny", "yolox_nano",
                                           "ppocr_cls", "ppocr_det_v3"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace ounce::formats
