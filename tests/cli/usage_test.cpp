// How the program answers to its command line.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/cli/run_cli.h"

namespace ounce::cli {
namespace {

const std::vector<std::string> kCommands = {"inspect",  "run",     "eval",    "bench",
                                            "quantize", "compare", "convert", "methods"};

TEST(Usage, VersionAndHelpSucceed) {
  const CliResult version = run_cli({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_TRUE(version.out.starts_with("ounce ")) << version.out;
  const CliResult help = run_cli({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const std::string& command : kCommands) {
    EXPECT_NE(help.out.find("\n  " + command), std::string::npos) << command;
  }
}

TEST(Usage, EveryCommandHasExamplesAndTheCommonOptions) {
  for (const std::string& command : kCommands) {
    const CliResult help = run_cli({command, "--help"});
    EXPECT_EQ(help.code, 0) << command;
    for (const char* text : {"Examples:", "--json", "--threads", "--seed"}) {
      EXPECT_NE(help.out.find(text), std::string::npos) << command << " " << text;
    }
    EXPECT_NE(help.out.find("  ounce " + command), std::string::npos) << command;
  }
}

TEST(Usage, MistakesExitWithTwoAndOneLine) {
  const std::vector<std::vector<std::string>> mistakes = {
      {},
      {"frobnicate"},
      {"inspect"},
      {"inspect", "m.onnx", "--no-such-option"},
      {"bench", "m.onnx", "--threads", "0"},
      {"bench", "m.onnx", "--threads", "many"},
      {"bench", "m.onnx", "--runs", "0"},
      {"bench", "m.onnx", "--shape", "pixels=1x3xtwo"},
      {"bench", "m.onnx", "--shape", "1x-3"},
      {"bench", "m.onnx", "--shape", "99999999999999999999"},
      {"convert", "m.onnx"},
      {"convert", "m.onnx", "-o", "m.tflite"},
      {"run", "m.onnx", "--input", "a.npy", "b.jpg"},
      {"quantize", "m.onnx"},
      {"quantize", "m.onnx", "--data", "none"},
      {"quantize", "m.onnx", "--data", "d", "--weights", "33"},
      {"quantize", "m.onnx", "--data", "d", "--option", "no-such=1"},
      {"quantize", "m.onnx", "--data", "d", "--method", "no-such-method"},
      {"quantize", "m.onnx", "--data", "d", "--set", "nonsense"},
  };
  for (const auto& arguments : mistakes) {
    const CliResult result = run_cli(arguments);
    std::string shown;
    for (const std::string& one : arguments) shown += one + " ";
    EXPECT_EQ(result.code, 2) << shown << result.err;
    EXPECT_TRUE(result.err.starts_with("ounce: ")) << shown << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << shown << result.err;
    EXPECT_TRUE(result.out.empty()) << shown << result.out;
  }
}

}  // namespace
}  // namespace ounce::cli
