// Real exported models against outputs recorded from another runtime.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/reference/reference.h"
#include "formats/formats.h"
#include "formats/npy.h"
#include "formats/onnx/onnx.h"
#include "formats/ounce_file/ounce_file.h"
#include "tests/support/tensors.h"
#include "tests/support/test_data.h"

namespace ounce::formats {
namespace {

namespace fs = std::filesystem;
using ::ounce::testing::close;
using ::ounce::testing::TemporaryFolder;

// Sums of some thousands of f32 products in another order differ by a few times 1e-6 of the largest
// term; the issue promises 1e-4.
constexpr double kTolerance = 1e-4;

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
    EXPECT_EQ(outputs[i].shape(), recorded.outputs[i].shape());
    EXPECT_TRUE(close(outputs[i], recorded.outputs[i], kTolerance));
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
