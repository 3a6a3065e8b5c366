// A network that enlarges pictures, from data to report.
#include <gtest/gtest.h>

#include "formats/formats.h"
#include "report/json.h"
#include "tasks/image.h"
#include "tests/cli/run_cli.h"
#include "tests/cli/small_models.h"
#include "tests/support/test_data.h"

namespace ounce::cli {
namespace {

using report::Json;

class SuperResolution : public ::testing::Test {
 protected:
  void SetUp() override {
    formats::write_model(small_enlarger(), folder_.path() / "m.onnx");
    // Pictures of different sizes, odd and even.
    for (int i = 0; i < 4; ++i) {
      tasks::Image image(41 + 2 * i, 38 + i);
      for (size_t k = 0; k < image.pixels.size(); ++k) {
        image.pixels[k] = static_cast<uint8_t>(k / 40 * (37 + static_cast<size_t>(i)) % 256);
      }
      write_image(image, data() / ("p" + std::to_string(i) + ".png"));
    }
  }

  std::filesystem::path data() const {
    std::filesystem::create_directories(folder_.path() / "large");
    return folder_.path() / "large";
  }
  std::string text(const std::string& name) const { return (folder_.path() / name).string(); }

  Json run_json(std::vector<std::string> arguments) const {
    arguments.push_back("--json");
    const CliResult result = run_cli(arguments);
    EXPECT_EQ(result.code, 0) << arguments[0] << ": " << result.err;
    EXPECT_EQ(result.err, "");
    return Json::parse(result.out, nullptr, false);
  }

  testing::TemporaryFolder folder_;
};

TEST_F(SuperResolution, EvalGivesDecibels) {
  const Json json =
      run_json({"eval", text("m.onnx"), "--task", "super-resolution", "--data", data().string()});
  EXPECT_EQ(json["task"], "super-resolution");
  EXPECT_EQ(json["pictures"], 4);
  EXPECT_GT(json["metrics"]["psnr"].get<double>(), 5.0);
  EXPECT_LE(json["metrics"]["ssim"].get<double>(), 1.0);
  const CliResult people = run_cli({"eval", text("m.onnx"), "--data", data().string()});
  EXPECT_NE(people.out.find(" dB"), std::string::npos) << people.out;
}

TEST_F(SuperResolution, RunWritesTheLargerPicture) {
  const std::string picture = (data() / "p0.png").string();
  const Json json = run_json({"run", text("m.onnx"), "--input", picture, "-o", text("large.png")});
  EXPECT_EQ(json["results"][0]["width"], 82);
  EXPECT_EQ(json["results"][0]["height"], 76);
  const tasks::Image large = tasks::read_image(text("large.png"));
  EXPECT_EQ(large.width, 82);
  EXPECT_EQ(large.height, 76);
}

TEST_F(SuperResolution, QuantizeJudgesAndTheModelKeepsItsTask) {
  const Json json =
      run_json({"quantize", text("m.onnx"), "-o", text("out"), "--data", data().string(),
                "--eval-data", data().string(), "--runs", "2", "--keep-slow"});
  ASSERT_EQ(json["metrics"].size(), 2u);
  EXPECT_EQ(json["metrics"][0]["name"], "psnr");
  EXPECT_EQ(json["metrics"][0]["unit"], "dB");
  EXPECT_NEAR(json["metrics"][0]["after"].get<double>(), json["metrics"][0]["before"].get<double>(),
              1.0);
  EXPECT_EQ(json["metrics"][1]["unit"], "");
  EXPECT_EQ(formats::read_model(text("out/model.ounce")).metadata.at("ounce.task"),
            "\"super-resolution\"");
  const Json after = run_json({"eval", text("out/model.onnx"), "--data", data().string()});
  EXPECT_NEAR(after["metrics"]["psnr"].get<double>(), json["metrics"][0]["after"].get<double>(),
              1e-9);
}

TEST_F(SuperResolution, SearchGoesByTheAgreementWithTheFloatModel) {
  const Json json = run_json({"search", text("m.onnx"), "-o", text("found"), "--data",
                              data().string(), "--bits", "8,float", "--runs", "1", "--compare", "0",
                              "--sensitivity", "1", "--minutes", "0", "--max-drop", "50"});
  EXPECT_EQ(json["search"]["metric"], "agreement");
  EXPECT_NE(json["search"]["data"].get<std::string>().find("decibels"), std::string::npos);
}

TEST_F(SuperResolution, SmallPicturesAreNamedWhereTheyAreWrong) {
  std::filesystem::create_directories(folder_.path() / "small");
  const CliResult result = run_cli(
      {"eval", text("m.onnx"), "--data", data().string(), "--low-resolution", text("small")});
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.err.find("p0.png"), std::string::npos) << result.err;
}

TEST_F(SuperResolution, AnotherTaskIsRefused) {
  formats::write_model(small_classifier(), folder_.path() / "c.onnx");
  const CliResult result =
      run_cli({"eval", text("c.onnx"), "--task", "super-resolution", "--data", data().string()});
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.err.find("no larger picture"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace ounce::cli
