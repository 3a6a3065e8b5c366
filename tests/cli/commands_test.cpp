// What each command does when all is well: files, JSON keys, exit codes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "engine/reference/reference.h"
#include "engine/session.h"
#include "formats/formats.h"
#include "formats/npy.h"
#include "report/json.h"
#include "tests/cli/run_cli.h"
#include "tests/cli/small_models.h"
#include "tests/support/tensors.h"
#include "tests/support/test_data.h"

namespace ounce::cli {
namespace {

namespace fs = std::filesystem;
using report::Json;

class Commands : public ::testing::Test {
 protected:
  void SetUp() override {
    formats::write_model(small_classifier(), path("m.onnx"));
    write_pictures(path("photos"), 4);
  }

  fs::path path(const std::string& name) const { return folder_.path() / name; }
  std::string text(const std::string& name) const { return path(name).string(); }

  /// Runs a command that must succeed, with --json.
  Json run_json(std::vector<std::string> arguments) const {
    arguments.push_back("--json");
    const CliResult result = run_cli(arguments);
    EXPECT_EQ(result.code, 0) << arguments[0] << ": " << result.err;
    const Json json = Json::parse(result.out, nullptr, false);
    EXPECT_FALSE(json.is_discarded()) << arguments[0] << ": " << result.out;
    return json;
  }

  std::vector<std::string> quantize_arguments(const std::string& out,
                                              const std::string& runs = "3") const {
    return {"quantize",     text("m.onnx"), "-o", text(out),   "--data",
            text("photos"), "--runs",       runs, "--compare", "4"};
  }

  static std::string contents(const fs::path& file) {
    std::ostringstream bytes;
    bytes << std::ifstream(file, std::ios::binary).rdbuf();
    return bytes.str();
  }

  testing::TemporaryFolder folder_;
};

void expect_keys(const Json& json, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) EXPECT_TRUE(json.contains(key)) << key;
}

TEST_F(Commands, InspectCountsWhatTheModelHas) {
  const Json json = run_json({"inspect", text("m.onnx")});
  expect_keys(json, {"file_bytes", "inputs", "outputs", "metadata"});
  EXPECT_EQ(json["parameters"], 3 * 16 * 9 + 16 + 16 * 32 * 9 + 32 + 96 + 3);
  EXPECT_EQ(json["macs"], 16 * 27 * 256 + 32 * 144 * 64 + 96);
  EXPECT_EQ(json["bits_per_parameter"], 32.0);
  const Json larger = run_json({"inspect", text("m.onnx"), "--shape", "pixels=2x3x32x32"});
  EXPECT_EQ(larger["macs"], 2 * (16 * 27 * 256 + 32 * 144 * 64 + 96));
}

TEST_F(Commands, ConvertThereAndBackKeepsTheModel) {
  run_json({"convert", text("m.onnx"), "-o", text("m.ounce")});
  run_json({"convert", text("m.ounce"), "-o", text("new/back.onnx")});
  EXPECT_EQ(names_in(path("new")), std::vector<std::string>{"back.onnx"});
  const Json there = run_json({"inspect", text("m.ounce")});
  const Json back = run_json({"inspect", text("new/back.onnx")});
  EXPECT_EQ(there["parameters"], back["parameters"]);
  EXPECT_EQ(there["layers"], back["layers"]);
}

TEST_F(Commands, BenchGivesTheContractKeysAndComparesTwoModels) {
  const Json json = run_json({"bench", text("m.onnx"), "--against", text("m.onnx"), "--runs", "5"});
  expect_keys(json, {"median_ms", "p95_ms", "threads", "peak_bytes", "layers", "against", "speedup",
                     "first_run_ms", "peak_rss_bytes", "operations", "theoretical_speedup"});
  EXPECT_EQ(json["runs"], 5);
  EXPECT_EQ(json["theoretical_speedup"], 1.0);
  EXPECT_FALSE(json["layers"].empty());
  EXPECT_LE(json["median_ms"], json["p95_ms"]);
  const CliResult table = run_cli({"bench", text("m.onnx"), "--runs", "2", "--profile"});
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_NE(table.out.find("GOP/s"), std::string::npos) << table.out;
}

TEST_F(Commands, EvalGivesTaskAndMetrics) {
  const Json json = run_json({"eval", text("m.onnx"), "--data", text("photos")});
  EXPECT_EQ(json["task"], "classification");
  expect_keys(json["metrics"], {"top1", "top5"});
  EXPECT_EQ(json["pictures"], 12);
  EXPECT_EQ(json["metrics"]["top5"], 1.0);  // of three classes
}

TEST_F(Commands, RunNamesClassesAndDrawsThem) {
  const std::string picture = text("photos/class1/p0.jpg");
  const Json json = run_json({"run", text("m.onnx"), "--input", picture, "-o", text("drawn.png")});
  EXPECT_EQ(json["results"][0]["file"], picture);
  expect_keys(json["results"][0]["findings"][0], {"label", "class", "score"});
  EXPECT_TRUE(fs::exists(path("drawn.png")));
  run_json({"run", text("m.onnx"), "--input", picture, text("photos/class0/p0.jpg"), "-o",
            text("drawings")});
  EXPECT_EQ(names_in(path("drawings")), (std::vector<std::string>{"p0-2.png", "p0.png"}));
}

TEST_F(Commands, RunOnATensorWritesTheOutputs) {
  formats::write_npy(Tensor(DType::f32, {1, 3, 32, 32}), path("x.npy"));
  const Json json = run_json({"run", text("m.onnx"), "--input", text("x.npy"), "-o", text("outs")});
  EXPECT_EQ(json["outputs"][0]["shape"], Json::array({1, 3}));
  ASSERT_EQ(names_in(path("outs")).size(), 1u);
  EXPECT_EQ(formats::read_npy(path("outs") / names_in(path("outs"))[0]).shape(), (Shape{1, 3}));
}

TEST_F(Commands, QuantizeLeavesFourFilesAndTheContractKeys) {
  const Json json = run_json(quantize_arguments("out"));
  EXPECT_EQ(names_in(path("out")), (std::vector<std::string>{"manifest.json", "model.onnx",
                                                             "model.ounce", "report.html"}));
  expect_keys(json, {"files", "float_bytes", "bytes", "kept_float", "layers", "errors", "metrics"});
  EXPECT_EQ(json["bytes"], fs::file_size(path("out/model.ounce")));
  EXPECT_EQ(json["float_bytes"], fs::file_size(path("m.onnx")));
  EXPECT_EQ(json["files"].size(), 4u);
  for (const Json& kept : json["kept_float"]) expect_keys(kept, {"name", "reason"});
  ASSERT_EQ(json["metrics"].size(), 2u);  // the photos have labels
  const Json manifest = Json::parse(contents(path("out/manifest.json")));
  expect_keys(manifest, {"command", "versions", "data_hash", "model_hash", "machine", "seed"});
  EXPECT_EQ(manifest["command"][1], "quantize");
  EXPECT_NE(contents(path("out/report.html")).find("m.onnx"), std::string::npos);
  // The result needs no options again: preprocessing travels with it.
  const Json judged = run_json({"eval", text("out/model.ounce"), "--data", text("photos")});
  EXPECT_EQ(judged["metrics"]["top1"], json["metrics"][0]["after"]);
  const Json standard = run_json({"eval", text("out/model.onnx"), "--data", text("photos")});
  EXPECT_EQ(standard["metrics"], judged["metrics"]);
}

TEST_F(Commands, QuantizeEndsWithATableForPeople) {
  const CliResult result = run_cli(quantize_arguments("out"));
  EXPECT_EQ(result.code, 0) << result.err;
  for (const char* words : {"size on disk", "latency, median", "top1", "written to"}) {
    EXPECT_NE(result.out.find(words), std::string::npos) << words << '\n' << result.out;
  }
  EXPECT_TRUE(result.err.empty()) << result.err;
}

TEST_F(Commands, SameSeedSameBytes) {
  for (const char* out : {"a", "b"}) {
    auto arguments = quantize_arguments(out);
    arguments.push_back("--keep-slow");  // what is slow depends on the moment
    EXPECT_EQ(run_cli(arguments).code, 0);
  }
  for (const char* file : {"model.ounce", "model.onnx"}) {
    EXPECT_EQ(contents(path("a") / file), contents(path("b") / file)) << file;
  }
}

TEST_F(Commands, DryRunPlansAndWritesNothing) {
  const Json json = run_json({"quantize", text("m.onnx"), "-o", text("out"), "--dry-run"});
  EXPECT_GT(json["planned"], 0);
  EXPECT_FALSE(fs::exists(path("out")));
}

TEST_F(Commands, WeightOnlyQuantizationNeedsNoData) {
  const Json json =
      run_json({"quantize", text("m.onnx"), "-o", text("out"), "--data", "none", "--activations",
                "0", "--runs", "2", "--compare", "0", "--keep-slow"});
  EXPECT_LT(json["bytes"], json["float_bytes"]);
}

#ifdef OUNCE_TRAINING
TEST_F(Commands, RoundingThatIsLearnedIsHandedToTheTrainer) {
  const auto codes_with = [&](const std::string& rounding) {
    auto arguments = quantize_arguments(rounding);
    for (const std::string& word :
         {std::string("--weights"), std::string("4"), std::string("--keep-slow"),
          std::string("--option"), "rounding=" + rounding, std::string("--option"),
          std::string("tuning-steps=30")}) {
      arguments.push_back(word);
    }
    const Json json = run_json(arguments);
    EXPECT_EQ(json["settings"], "weights 4 bit, activations 8 bit");
    return contents(path(rounding + "/model.onnx"));
  };
  EXPECT_NE(codes_with("qdrop"), codes_with("nearest"));
}

TEST_F(Commands, PicturesAreMadeWhereNoneAreGiven) {
  std::vector<std::string> arguments = {
      "quantize",   text("m.onnx"), "-o", text("out"),         "--data", "none",   "--synthesis",
      "one-hot",    "--synthetic",  "2",  "--synthesis-steps", "3",      "--runs", "2",
      "--keep-slow"};
  run_json(arguments);
  EXPECT_EQ(names_in(path("out/synthetic")),
            (std::vector<std::string>{"0000.npy", "0001.npy", "contact-sheet.jpg"}));
  EXPECT_NE(contents(path("out/report.html")).find("data:image/jpeg;base64,"), std::string::npos);
  // They calibrate another run just so.
  run_json({"quantize", text("m.onnx"), "-o", text("again"), "--data", text("out/synthetic"),
            "--runs", "2", "--keep-slow"});
  // This network has no attention to guide and no statistics to match.
  arguments[7] = "auto";
  const CliResult none = run_cli(arguments);
  EXPECT_EQ(none.code, 1);
  EXPECT_NE(none.err.find("no pictures can be made for this model"), std::string::npos) << none.err;
}

TEST_F(Commands, APresetTellsItsFlagsAndWhatIsTypedWins) {
  const auto told = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"quantize", text("m.onnx"), "--dry-run", "--weights",
                                          "4",        "--preset",     "good"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_cli(arguments).out;
  };
  EXPECT_NE(told({}).find("preset good: --option keep-ends8=on --option rounding=brecq"),
            std::string::npos)
      << told({});
  const auto json = run_json({"quantize", text("m.onnx"), "-o", text("out"), "--data",
                              text("photos"), "--weights", "4", "--preset", "good", "--option",
                              "rounding=nearest", "--runs", "2", "--keep-slow"});
  const Json manifest = Json::parse(contents(path("out/manifest.json")));
  EXPECT_EQ(manifest["options"]["rounding"], "nearest");
  EXPECT_TRUE(manifest["options"].contains("keep-ends8"));
}
#endif

TEST_F(Commands, DynamicQuantizationNeedsNoData) {
  const Json json =
      run_json({"quantize", text("m.onnx"), "-o", text("out"), "--data", "none", "--dynamic",
                "token", "--runs", "2", "--compare", "0", "--keep-slow", "--mean", "0.25"});
  EXPECT_EQ(json["settings"], "weights 8 bit, activations 8 bit dynamic per token");
  EXPECT_LT(json["bytes"], json["float_bytes"]);
  EXPECT_EQ(Json::parse(contents(path("out/manifest.json")))["dynamic"], "token");
  EXPECT_NE(contents(path("out/model.ounce")).find("0.25"), std::string::npos)
      << "how pictures become inputs is stored all the same";
  const CliResult bench = run_cli({"bench", text("out/model.ounce"), "--runs", "2", "--profile"});
  EXPECT_NE(bench.out.find("gemm_dynamic_codes"), std::string::npos) << bench.out;
  const CliResult onnx = run_cli({"bench", text("out/model.onnx"), "--runs", "2"});
  EXPECT_EQ(onnx.code, 0) << onnx.err;
}

TEST_F(Commands, EveryNumberOfBitsIsPlanned) {
  for (const auto& [weights, activations, label] : {std::tuple{"8", "8", "W8A8"},
                                                    {"6", "4", "W6A4"},
                                                    {"4", "f32", "W4A32"},
                                                    {"3", "0", "W3A32"},
                                                    {"2", "2", "W2A2"},
                                                    {"ternary", "8", "WTA8"},
                                                    {"ternary", "ternary", "WTAT"},
                                                    {"4", "ternary", "W4AT"},
                                                    {"1", "1", "W1A1"},
                                                    {"1", "float", "W1A32"}}) {
    const Json json = run_json({"quantize", text("m.onnx"), "--dry-run", "--weights", weights,
                                "--activations", activations});
    EXPECT_EQ(json["bits"], label);
    ASSERT_EQ(json["layers"].size(), 3u) << label;
    // The middle layer; the first and the last keep 8 bits where the others have few.
    EXPECT_EQ(json["layers"][1]["weights"], weights) << label;
    const bool ternary = std::string(activations) == "ternary";
    EXPECT_EQ(json["layers"][1]["activations"] == "ternary", ternary) << label;
    const bool few = ternary || (std::string(weights) != "8" && std::string(weights) != "6" &&
                                 std::string(weights) != "4");
    EXPECT_EQ(json["layers"][0]["weights"], few ? "8" : weights) << label;
    EXPECT_EQ(json["layers"][0]["first_or_last"], few) << label;
  }
}

TEST_F(Commands, OneBitModelsAreSmallAndSayHowTheyWereMade) {
  auto arguments = quantize_arguments("out");
  for (const char* word : {"--weights", "ternary", "--activations", "1", "--keep-slow"}) {
    arguments.push_back(word);
  }
  const Json json = run_json(arguments);
  ASSERT_EQ(json["layers"].size(), 3u);
  EXPECT_EQ(json["layers"][1]["weight_bits"], 2);
  EXPECT_EQ(json["layers"][1]["weights"], "ternary");
  EXPECT_EQ(json["layers"][1]["activation_bits"], 1);
  EXPECT_EQ(json["layers"][0]["weights"], "8");
  EXPECT_EQ(json["after"]["label"], "WTA1");
  EXPECT_LT(json["bytes"], json["float_bytes"]);
  ASSERT_FALSE(json["notes"].empty());
  EXPECT_NE(json["notes"].dump().find("first and last layers keep 8 bits"), std::string::npos);
  const Json manifest = Json::parse(contents(path("out/manifest.json")));
  EXPECT_EQ(manifest["bits"], "WTA1");
  EXPECT_EQ(manifest["weights"], 2);
  const CliResult table = run_cli(arguments);
  EXPECT_NE(table.out.find("ternary/1"), std::string::npos) << table.out;
  // Both files hold the same model.
  const Json judged = run_json({"eval", text("out/model.ounce"), "--data", text("photos")});
  const Json standard = run_json({"eval", text("out/model.onnx"), "--data", text("photos")});
  EXPECT_EQ(standard["metrics"], judged["metrics"]);
}

TEST_F(Commands, TernaryModelsSayHowTheyWereMadeAndTheirFilesAgree) {
  // Without -o: the folder is named after the model and the bits.
  const fs::path before = fs::current_path();
  fs::current_path(path(""));
  const std::vector<std::string> arguments = {
      "quantize",  text("m.onnx"), "--data",        text("photos"), "--runs",     "3",
      "--weights", "ternary",      "--activations", "ternary",      "--keep-slow"};
  const Json json = run_json(arguments);
  const CliResult table = run_cli(arguments);
  fs::current_path(before);
  ASSERT_EQ(json["layers"].size(), 3u);
  EXPECT_EQ(json["layers"][1]["activation_bits"], 2);
  EXPECT_EQ(json["layers"][1]["activations"], "ternary");
  EXPECT_EQ(json["layers"][0]["activations"], "8");
  EXPECT_EQ(json["after"]["label"], "WTAT");
  EXPECT_EQ(json["settings"], "weights ternary, activations ternary");
  EXPECT_NE(table.out.find("ternary/ternary"), std::string::npos) << table.out;
  EXPECT_EQ(Json::parse(contents(path("m-wtat/manifest.json")))["bits"], "WTAT");

  // Both files hold the same model, and the engine computes what the standard one says.
  const Json judged = run_json({"eval", text("m-wtat/model.ounce"), "--data", text("photos")});
  const Json standard = run_json({"eval", text("m-wtat/model.onnx"), "--data", text("photos")});
  EXPECT_EQ(standard["metrics"], judged["metrics"]);
  Graph simulated = formats::read_model(path("m-wtat/model.onnx"));
  std::vector<Tensor> picture = {Tensor(DType::f32, {1, 3, 32, 32})};
  float next = 0.0F;
  for (float& value : picture[0].mutable_data<float>()) value = std::sin(next += 0.7F);
  specialize_inputs(simulated, std::vector<Shape>{picture[0].shape()});
  const Tensor said = engine::reference::run(simulated, picture)[0];
  const Tensor done =
      engine::Session(formats::read_model(path("m-wtat/model.ounce"))).run(picture)[0];
  EXPECT_TRUE(testing::close(done, said, 1e-3));
}

TEST_F(Commands, TernaryGridsMadeWhileTheModelRunsAreRefusedInOneLine) {
  const auto refused = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"quantize", text("m.onnx"), "--dry-run"});
    const CliResult result = run_cli(more);
    EXPECT_NE(result.code, 0);
    EXPECT_TRUE(result.out.empty()) << result.out;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_NE(result.err.find("ternary activations have calibrated grids"), std::string::npos)
        << result.err;
    return result.err;
  };
  refused({"--activations", "ternary", "--dynamic", "token"});
  refused({"--activations", "ternary", "--dynamic", "tensor"});
  const std::string named = refused({"--dynamic", "token", "--set", "fc:activations=ternary"});
  EXPECT_NE(named.find("fc: "), std::string::npos) << named;
}

TEST_F(Commands, SoftmaxMapsAreQuantizedAsAskedFor) {
  formats::write_model(small_attention(), path("attention.onnx"));
  fs::create_directory(path("arrays"));
  Tensor array(DType::f32, {1, 12, 16});
  float next = 0.0F;
  for (float& value : array.mutable_data<float>()) value = std::sin(next += 1.0F);
  formats::write_npy(array, path("arrays/0.npy"));
  run_json({"quantize", text("attention.onnx"), "-o", text("out"), "--data", text("arrays"),
            "--weights", "4", "--activations", "4", "--softmax", "log2", "--option", "guard=off",
            "--keep-slow", "--runs", "2", "--compare", "0"});
  const auto operators = [&](const char* file) {
    std::string names;
    for (const Node& node : formats::read_model(path(file)).nodes) names += node.op + ' ';
    return names;
  };
  EXPECT_NE(operators("out/model.ounce").find("LogQuantize"), std::string::npos);
  // The file has standard operators alone; the reader makes them one again.
  EXPECT_NE(operators("out/model.onnx").find("LogQuantize"), std::string::npos);
  const CliResult plan =
      run_cli({"quantize", text("attention.onnx"), "--dry-run", "--softmax", "log-sqrt2"});
  EXPECT_NE(plan.out.find("softmax map log-sqrt2 4 bit"), std::string::npos) << plan.out;
}

TEST_F(Commands, PatternsMixBits) {
  const Json plan = run_json({"quantize", text("m.onnx"), "--dry-run"});
  const std::string name = plan["layers"][1]["name"];
  const Json json = run_json({"quantize", text("m.onnx"), "--dry-run", "--set", name + ":weights=1",
                              "--set", name + ":activations=1"});
  EXPECT_EQ(json["layers"][1]["weights"], "1");
  EXPECT_EQ(json["layers"][1]["activation_bits"], 1);
  EXPECT_EQ(json["layers"][2]["weights"], "8");
  EXPECT_EQ(json["bits"], "W8A8");
}

TEST_F(Commands, ArraysCalibrateAsWellAsPictures) {
  fs::create_directory(path("arrays"));
  for (int i = 0; i < 3; ++i) {
    Tensor array(DType::f32, {1, 3, 32, 32});
    for (float& value : array.mutable_data<float>()) value = static_cast<float>(i) - 1;
    formats::write_npy(array, path("arrays") / (std::to_string(i) + ".npy"));
  }
  const Json json = run_json({"quantize", text("m.onnx"), "-o", text("out"), "--data",
                              text("arrays"), "--calibration", "2", "--runs", "2", "--keep-slow"});
  EXPECT_EQ(json["provenance"]["data_items"], 2);
  EXPECT_TRUE(json["metrics"].empty());
  EXPECT_LT(json["bytes"], json["float_bytes"]);
}

TEST_F(Commands, BlackPicturesAreDoubtedAndUsedAllTheSame) {
  fs::create_directory(path("black"));
  for (int i = 0; i < 3; ++i) {
    formats::write_npy(Tensor(DType::f32, {1, 3, 32, 32}),
                       path("black") / (std::to_string(i) + ".npy"));
  }
  const CliResult result = run_cli({"quantize", text("m.onnx"), "-o", text("out"), "--data",
                                    text("black"), "--runs", "2", "--compare", "0", "--json"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("ounce: warning: the calibration inputs have no content"),
            std::string::npos)
      << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
}

TEST_F(Commands, CompareNamesTheWorstLayer) {
  run_json(quantize_arguments("out"));
  const Json json = run_json({"compare", text("m.onnx"), text("out/model.ounce"), "--data",
                              text("photos"), "--limit", "3"});
  expect_keys(json, {"runs", "worst", "errors"});
  ASSERT_FALSE(json["errors"].empty());
  expect_keys(json["errors"][0], {"name", "own_sqnr_db", "accumulated_sqnr_db", "own_cosine"});
  const Json same = run_json({"compare", text("m.onnx"), text("m.onnx"), "--data", text("photos")});
  for (const Json& error : same["errors"]) EXPECT_EQ(error["own_sqnr_db"], 200.0);
  EXPECT_TRUE(same["diagnoses"].empty());
  EXPECT_TRUE(same["first_broken"].is_null());
}

TEST_F(Commands, CompareTellsWhatEachLayerCosts) {
  run_json(quantize_arguments("out"));
  const std::vector<std::string> command = {
      "compare", text("m.onnx"), text("out/model.ounce"), "--data", text("photos"), "--limit", "3"};
  const Json json = run_json(command);
  expect_keys(json["sensitivity"], {"all_db", "runs", "layers"});
  ASSERT_FALSE(json["sensitivity"]["layers"].empty());
  expect_keys(json["sensitivity"]["layers"][0], {"name", "op", "alone_db", "restored_db"});
  std::vector<std::string> without = command;
  without.insert(without.end(), {"--sensitivity", "0"});
  EXPECT_TRUE(run_json(without)["sensitivity"].is_null());
}

TEST_F(Commands, MethodsListsWhatThereIs) {
  const Json json = run_json({"methods"});
  bool found = false;
  for (const Json& method : json["methods"]) found = found || method["name"] == "q-yolo";
  EXPECT_TRUE(found);
  EXPECT_EQ(run_json({"methods", "q-yolo"})["name"], "q-yolo");
  EXPECT_EQ(run_cli({"methods", "no-such"}).code, 1);
}

TEST_F(Commands, ProgressIsShownWhenAskedFor) {
  const CliResult result = run_cli({"bench", text("m.onnx"), "--runs", "3", "--progress"});
  EXPECT_NE(result.err.find("timing: 3/3"), std::string::npos) << result.err;
  EXPECT_EQ(result.err.find('\x1b'), std::string::npos) << "no terminal, no escapes";
}

TEST_F(Commands, ControlCLeavesNothingHalfDone) {
  // The same few pictures so often that comparing on all of them would take minutes.
  std::ofstream list(path("often.txt"));
  std::vector<std::string> pictures;
  for (const auto& entry : fs::recursive_directory_iterator(path("photos"))) {
    if (entry.is_regular_file()) pictures.push_back(entry.path().string());
  }
  for (int i = 0; i < 20000; ++i) list << pictures[i % pictures.size()] << " 0\n";
  list.close();
  const std::vector<std::string> long_comparison{
      "quantize", text("m.onnx"), "-o", text("out"), "--data", text("often.txt"), "--calibration",
      "4",        "--runs",       "3",  "--compare", "20000"};
  const std::vector<std::string> before = names_in(folder_.path());
  // In the middle of the work: as soon as there is a hidden folder, and once models are in it.
  for (const auto& [sign, arguments] : {std::pair("", quantize_arguments("out", "100000")),
                                        std::pair("model.onnx", long_comparison)}) {
    const CliResult result = run_cli(arguments, [&, name = sign](int pid) {
      const fs::path seen = path(".ounce-partial-" + std::to_string(pid) + "-0") / name;
      for (int i = 0; i < 20000 && !fs::exists(seen); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      EXPECT_TRUE(fs::exists(seen)) << seen;
      kill(pid, SIGINT);
    });
    EXPECT_EQ(result.code, 130) << result.err;
    EXPECT_EQ(result.err, "ounce: interrupted, nothing was written\n");
    EXPECT_EQ(names_in(folder_.path()), before);
  }
}

TEST_F(Commands, ControlCKeepsTheOldFileOfAConversionOrFinishesIt) {
  write_bytes(path("old.onnx"), "old");
  const std::vector<std::string> before = names_in(folder_.path());
  int interrupted = 0;
  for (int wait_ms = 0; wait_ms < 40; wait_ms += 2) {
    const CliResult result =
        run_cli({"convert", text("m.onnx"), "-o", text("old.onnx")}, [&](int pid) {
          std::this_thread::sleep_for(std::chrono::milliseconds(wait_ms));
          kill(pid, SIGINT);
        });
    EXPECT_EQ(names_in(folder_.path()), before);
    if (result.code == 0) {
      EXPECT_EQ(run_cli({"inspect", text("old.onnx")}).code, 0);
      break;
    }
    EXPECT_EQ(fs::file_size(path("old.onnx")), 3u) << result.err;
    ++interrupted;
  }
  EXPECT_GT(interrupted, 0);
}

}  // namespace
}  // namespace ounce::cli
