// `ounce search` end to end on the demo's networks: goals met and missed, broken off and gone on
// with.
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "formats/formats.h"
#include "formats/npy.h"
#include "report/json.h"
#include "tests/cli/run_cli.h"
#include "tests/cli/small_models.h"
#include "tests/support/test_data.h"

namespace ounce::cli {
namespace {

namespace fs = std::filesystem;
using report::Json;

class SearchCommand : public ::testing::Test {
 protected:
  fs::path path(const std::string& name) const { return folder_.path() / name; }
  std::string text(const std::string& name) const { return path(name).string(); }

  /// A search on the demo's classifier, quick, without the figures that take time.
  std::vector<std::string> on_demo(const std::string& out,
                                   const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"search",
                                          "demo/models/vit.onnx",
                                          "-o",
                                          text(out),
                                          "--data",
                                          "demo/pictures/classification/test",
                                          "--resize",
                                          "64",
                                          "--crop",
                                          "64",
                                          "--mean",
                                          "0.5",
                                          "--std",
                                          "0.5",
                                          "--runs",
                                          "2",
                                          "--compare",
                                          "0",
                                          "--sensitivity",
                                          "4",
                                          "--minutes",
                                          "0",
                                          "--limit",
                                          "45",
                                          "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  static Json parsed(const CliResult& result) {
    const Json json = Json::parse(result.out, nullptr, false);
    EXPECT_FALSE(json.is_discarded()) << result.out << result.err;
    return json;
  }

  static std::string contents(const fs::path& file) {
    std::ostringstream bytes;
    bytes << std::ifstream(file, std::ios::binary).rdbuf();
    return bytes.str();
  }

  static const Json& best_of(const Json& search) {
    for (const Json& point : search["points"]) {
      if (point["best"] == true) return point;
    }
    ADD_FAILURE() << "no point is the best";
    return search["points"][0];
  }

  testing::TemporaryFolder folder_;
};

const std::vector<std::string> kFiles = {"manifest.json", "model.onnx", "model.ounce",
                                         "report.html", "search.json"};

TEST_F(SearchCommand, MeetsADropAtLessThanUniformBits) {
  const CliResult result =
      run_cli(on_demo("out", {"--max-drop", "1", "--for", "size", "--bits", "8,4,2,float"}));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(names_in(path("out")), kFiles);
  const Json json = parsed(result);
  const Json& search = json["search"];
  EXPECT_EQ(search["met"], true);
  EXPECT_EQ(search["complete"], true);
  EXPECT_EQ(search["metric"], "top1");
  const Json& best = best_of(search);
  EXPECT_LE(best["drop"], 1.0);
  EXPECT_EQ(best["bytes"], fs::file_size(path("out/model.ounce")));
  for (const Json& point : search["points"]) {
    if (point["drop"] > 1.0) continue;
    EXPECT_LE(best["bytes"], point["bytes"]);
    if (point["kind"] == "uniform W8A8") {
      EXPECT_LT(best["bytes"], point["bytes"]);
    }
  }
  EXPECT_FALSE(search["raised"].empty());
  const std::string page = contents(path("out/report.html"));
  EXPECT_NE(page.find("\"raised\""), std::string::npos);
  // The model runs by itself, with its preprocessing stored.
  const CliResult eval = run_cli({"eval", text("out/model.ounce"), "--data",
                                  "demo/pictures/classification/test", "--limit", "6", "--json"});
  EXPECT_EQ(eval.code, 0) << eval.err;
}

TEST_F(SearchCommand, TheSameCommandGivesTheSameModel) {
  const std::vector<std::string> goal = {"--max-drop", "5", "--for", "size", "--bits", "8,4,float"};
  ASSERT_EQ(run_cli(on_demo("a", goal)).code, 0);
  ASSERT_EQ(run_cli(on_demo("b", goal)).code, 0);
  EXPECT_TRUE(contents(path("a/model.onnx")) == contents(path("b/model.onnx")));
}

TEST_F(SearchCommand, BrokenOffItHoldsTheBestAndGoesOn) {
  const std::vector<std::string> goal = {"--max-drop", "5", "--for", "size", "--bits", "8,4,float"};
  const CliResult whole = run_cli(on_demo("whole", goal));
  ASSERT_EQ(whole.code, 0) << whole.err;
  const CliResult broken = run_cli(on_demo("broken", goal), [&](int pid) {
    for (int i = 0; i < 60000 && !fs::exists(path("broken/model.ounce")); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    kill(pid, SIGINT);
  });
  EXPECT_EQ(broken.code, 130) << broken.err;
  EXPECT_NE(broken.err.find("holds the best so far"), std::string::npos) << broken.err;
  EXPECT_EQ(names_in(path("broken")), kFiles);
  EXPECT_EQ(run_cli({"inspect", text("broken/model.ounce")}).code, 0);
  const size_t measured = Json::parse(contents(path("broken/search.json")))["trials"].size();
  EXPECT_GE(measured, 1U);
  const CliResult resumed = run_cli(on_demo("broken", goal));
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(contents(path("broken/model.onnx")) == contents(path("whole/model.onnx")));
}

TEST_F(SearchCommand, AnotherGoalGoesOnWithWhatIsMeasured) {
  const std::vector<std::string> bits = {"--bits", "8,4,float"};
  const auto with = [&](std::vector<std::string> goal) {
    goal.insert(goal.end(), bits.begin(), bits.end());
    return run_cli(on_demo("out", goal));
  };
  ASSERT_EQ(with({"--max-drop", "5", "--for", "size"}).code, 0);
  const size_t before = Json::parse(contents(path("out/search.json")))["trials"].size();
  const CliResult fast = with({"--max-drop", "5", "--for", "latency"});
  ASSERT_EQ(fast.code, 0) << fast.err;
  EXPECT_GE(Json::parse(contents(path("out/search.json")))["trials"].size(), before);
  EXPECT_EQ(parsed(fast)["search"]["by"], "latency");
}

TEST_F(SearchCommand, AGoalThatNothingMeetsGivesTheBestAndSaysSo) {
  const CliResult result = run_cli(on_demo("out", {"--max-bytes", "1kB", "--bits", "8,4"}));
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  EXPECT_NE(result.err.find("no setting meets at most 1.00 kB"), std::string::npos) << result.err;
  EXPECT_EQ(names_in(path("out")), kFiles);
  EXPECT_EQ(parsed(result)["search"]["met"], false);
}

TEST_F(SearchCommand, OutOfTimeItLeavesAModelAndGoesOn) {
  const std::vector<std::string> goal = {"--max-drop", "0", "--for", "size", "--bits", "8,4"};
  std::vector<std::string> hurried = on_demo("out", goal);
  *(std::find(hurried.begin(), hurried.end(), "--minutes") + 1) = "0.0001";
  const CliResult result = run_cli(hurried);
  EXPECT_EQ(names_in(path("out")), kFiles);
  const Json json = parsed(result);
  EXPECT_EQ(json["search"]["complete"], false);
  EXPECT_EQ(json["search"]["points"].size(), 2U);  // float and the first
}

TEST_F(SearchCommand, WithoutLabelsItGoesByAgreementAndSaysSo) {
  formats::write_model(small_attention(), path("attention.onnx"));
  fs::create_directory(path("arrays"));
  for (int i = 0; i < 9; ++i) {
    Tensor tensor(DType::f32, {1, 12, 16});
    int k = i;
    for (float& x : tensor.mutable_data<float>())
      x = 0.01F * static_cast<float>(k++ * 37 % 200) - 1;
    formats::write_npy(tensor, path("arrays/" + std::to_string(i) + ".npy"));
  }
  const CliResult result =
      run_cli({"search", text("attention.onnx"), "-o", text("out"), "--data", text("arrays"),
               "--max-drop", "2", "--minutes", "0", "--runs", "2", "--compare", "0", "--json"});
  EXPECT_EQ(result.code, 0) << result.err;
  const Json search = parsed(result)["search"];
  EXPECT_EQ(search["metric"], "agreement");
  EXPECT_NE(search["data"].get<std::string>().find("there are no labels"), std::string::npos);
}

TEST_F(SearchCommand, ADryRunSaysWhatItWouldMeasureAndLeavesNothing) {
  const CliResult result = run_cli(on_demo("out", {"--dry-run", "--bits", "8,4,float"}));
  ASSERT_EQ(result.code, 0) << result.err;
  const Json json = parsed(result);
  EXPECT_GT(json["seconds"], 0.0);
  EXPECT_FALSE(json["units"].empty());
  for (const char* key : {"goal", "data", "sensitivities", "trials", "notes"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  EXPECT_FALSE(fs::exists(path("out")));
}

TEST_F(SearchCommand, AFolderOfAnotherSearchIsNotTouched) {
  ASSERT_EQ(run_cli(on_demo("out", {"--bits", "8,float", "--for", "size"})).code, 0);
  const std::string before = contents(path("out/search.json"));
  const CliResult other = run_cli(on_demo("out", {"--bits", "8,4,float", "--for", "size"}));
  EXPECT_EQ(other.code, 1);
  EXPECT_NE(other.err.find("is of a search with another model"), std::string::npos) << other.err;
  EXPECT_EQ(contents(path("out/search.json")), before);
  write_bytes(path("out/search.json"), "{\"ounce_search\": 1");
  const CliResult broken = run_cli(on_demo("out", {"--bits", "8,float"}));
  EXPECT_EQ(broken.code, 1);
  EXPECT_NE(broken.err.find("is no state of a search"), std::string::npos) << broken.err;
}

TEST_F(SearchCommand, WrongWordsGetOneLine) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"--bits", "9"}, "no kernel runs this"},
      {{"--bits", "8,W4A99"}, "no kernel runs this"},
      {{"--bits", "1"}, "one bit without training"},
      {{"--bits", "float"}, "nothing but float"},
      {{"--max-drop", "1", "--max-ms", "3"}, "one goal at a time"},
      {{"--max-ms", "3", "--for", "size"}, "--for goes with --max-drop"},
      {{"--for", "beauty"}, "--for"},
      {{"--max-drop", "-1"}, "--max-drop"},
      {{"--max-bytes", "many"}, "--max-bytes"},
      {{"--option", "rounding=brecq"}, "rounding"},
      {{"--option", "unknown=1"}, "unknown"},
      {{"--set", "x:dynamic=token"}, "calibrated grids"},
  };
  for (const auto& [arguments, words] : wrong) {
    const CliResult result = run_cli(on_demo("out", arguments));
    EXPECT_EQ(result.code, 2) << words << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_NE(result.err.find(words), std::string::npos) << result.err;
  }
  const CliResult all = run_cli(on_demo("out", {"--calibration", "45"}));
  EXPECT_EQ(all.code, 1);
  EXPECT_NE(all.err.find("leaves none to judge"), std::string::npos) << all.err;
  EXPECT_FALSE(fs::exists(path("out")));
}

}  // namespace
}  // namespace ounce::cli
