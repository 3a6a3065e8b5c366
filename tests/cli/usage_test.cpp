// How the program answers to its command line.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "tests/cli/run_cli.h"

namespace ounce::cli {
namespace {

const std::vector<std::string> kCommands = {"inspect", "run",     "eval",    "bench",  "quantize",
                                            "search",  "compare", "convert", "methods"};

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

/// Long options of a help text: the words of its option column that start with two dashes.
std::set<std::string> options_in(const std::string& help) {
  static const std::regex option(R"((^|\n)  (-\w,)?(--[a-z-]+))");
  std::set<std::string> found;
  for (std::sregex_iterator it(help.begin(), help.end(), option), end; it != end; ++it) {
    found.insert((*it)[3]);
  }
  return found;
}

/// The part of the manual under "## title".
std::string section(const std::string& manual, const std::string& title) {
  const size_t begin = manual.find("\n## " + title + "\n");
  if (begin == std::string::npos) return {};
  const size_t end = manual.find("\n## ", begin + 1);
  return manual.substr(begin, end == std::string::npos ? end : end - begin);
}

TEST(Usage, ManualNamesEveryCommandOptionAndExample) {
  std::ifstream file("docs/cli.md");
  if (!file) GTEST_SKIP() << "run from the project's root to check docs/cli.md";
  std::stringstream text;
  text << file.rdbuf();
  const std::string manual = text.str();
  const std::string shared =
      section(manual, "Common options") + section(manual, "Data and preprocessing");
  for (const std::string& command : kCommands) {
    const std::string own = section(manual, "ounce " + command);
    EXPECT_NE(own.find("    ounce " + command), std::string::npos) << command << " has no example";
    const std::string help = run_cli({command, "--help"}).out;
    const std::set<std::string> options = options_in(help);
    EXPECT_GE(options.size(), 5u) << help;
    for (const std::string& option : options) {
      if (option == "--help" || option == "--verbose" || option == "--output") continue;
      EXPECT_NE((own + shared).find(option), std::string::npos) << command << " " << option;
    }
    const size_t examples = help.find("Examples:");
    std::istringstream lines(examples == std::string::npos ? "" : help.substr(examples));
    for (std::string line; std::getline(lines, line);) {
      const size_t start = line.find("ounce " + command);
      if (start == std::string::npos) continue;
      const std::string example = line.substr(start, line.find(" | ") - start);
      EXPECT_NE(own.find(example), std::string::npos) << example;
    }
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
      {"quantize", "m.onnx", "--data", "d", "--weights", "33"},
      {"quantize", "m.onnx", "--data", "d", "--weights", "0"},
      {"quantize", "m.onnx", "--data", "d", "--weights", "f32"},
      {"quantize", "m.onnx", "--data", "d", "--weights", "binary"},
      {"quantize", "m.onnx", "--data", "d", "--activations", "9"},
      {"quantize", "m.onnx", "--data", "d", "--activations", "binary"},
      {"quantize", "m.onnx", "--data", "d", "--activations", "ternary", "--dynamic", "token"},
      {"quantize", "m.onnx", "--data", "d", "--activations", "ternary", "--dynamic", "tensor"},
      {"quantize", "m.onnx", "--data", "d", "--dynamic", "row"},
      {"quantize", "m.onnx", "--data", "d", "--preset", "better"},
      {"quantize", "m.onnx", "--data", "none", "--synthesis", "apa+dreams"},
      {"quantize", "m.onnx", "--data", "none", "--synthetic", "0"},
      {"quantize", "m.onnx", "--data", "d", "--set", "a:dynamic=row"},
      {"quantize", "m.onnx", "--data", "d", "--softmax", "log3"},
      {"quantize", "m.onnx", "--data", "d", "--set", "a:weights=0"},
      {"quantize", "m.onnx", "--data", "d", "--set", "a:activations=binary"},
      {"quantize", "m.onnx", "--data", "d", "--option", "keep-ends8=sometimes"},
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
