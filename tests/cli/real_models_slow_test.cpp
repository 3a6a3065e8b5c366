// The one command on real models: quantized, smaller, judged.
#include <gtest/gtest.h>

#include "report/json.h"
#include "tests/cli/run_cli.h"
#include "tests/cli/small_models.h"
#include "tests/support/test_data.h"

namespace ounce::cli {
namespace {

using report::Json;

Json quantized(const std::vector<std::string>& arguments) {
  const CliResult result = run_cli(arguments);
  EXPECT_EQ(result.code, 0) << result.err;
  return Json::parse(result.out, nullptr, false);
}

double after(const Json& json, const std::string& metric) {
  for (const Json& one : json["metrics"]) {
    if (one["name"] == metric) return one["after"];
  }
  ADD_FAILURE() << "no metric " << metric;
  return 0;
}

TEST(RealModels, OneCommandQuantizesAClassifier) {
  OUNCE_REQUIRE_DATA(data);
  const testing::TemporaryFolder out;
  const Json json = quantized({"quantize",
                               (data / "vit_tiny_in1k/vit_tiny_patch16_224.onnx").string(),
                               "-o",
                               (out.path() / "vit").string(),
                               "--data",
                               (data / "imagenet1000_s288/pick.txt").string(),
                               "--resize",
                               "248",
                               "--crop",
                               "224",
                               "--mean",
                               "0.5",
                               "--std",
                               "0.5",
                               "--calibration",
                               "16",
                               "--limit",
                               "50",
                               "--compare",
                               "2",
                               "--runs",
                               "3",
                               "--keep-slow",
                               "--json"});
  // Nothing that depends on the clock (--keep-slow). 8 bits of 32; a tenth of the weights may stay
  // in float because integers lose too much there; norms, scales and the graph itself.
  EXPECT_LT(json["bytes"].get<double>(), 0.36 * json["float_bytes"].get<double>());
  EXPECT_GT(after(json, "top1"), 0.5);  // chance is 0.001
  EXPECT_FALSE(json["errors"].empty());
  EXPECT_EQ(names_in(out.path() / "vit").size(), 4u);
}

TEST(RealModels, OneCommandQuantizesADetector) {
  OUNCE_REQUIRE_DATA(data);
  const testing::TemporaryFolder out;
  write_bytes(out.path() / "head.toml", "style = \"yolox\"\nclasses = 80\n");
  const auto coco = data / "coco_tiny";
  const Json json =
      quantized({"quantize", (data / "yolox_nano/yolox_nano.onnx").string(), "-o",
                 (out.path() / "yolox").string(), "--head", (out.path() / "head.toml").string(),
                 "--data", (coco / "annotations/instances_train2017.json").string(), "--images",
                 (coco / "train2017").string(), "--calibration", "16", "--limit", "20", "--compare",
                 "2", "--runs", "3", "--json"});
  EXPECT_LT(json["bytes"].get<double>(), 0.5 * json["float_bytes"].get<double>());
  EXPECT_GT(after(json, "ap50"), 0.1);
  // The head travels with the model: no options are needed to run it.
  const CliResult run =
      run_cli({"run", (out.path() / "yolox/model.ounce").string(), "--input",
               (data / "yolox_nano/dog.jpg").string(), "-o", (out.path() / "dog.png").string()});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(std::filesystem::exists(out.path() / "dog.png"));
}

}  // namespace
}  // namespace ounce::cli
