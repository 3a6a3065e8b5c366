// Every kind of broken input: exit 1, one line that names it, and nothing left behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "formats/formats.h"
#include "formats/npy.h"
#include "formats/onnx/onnx.h"
#include "tests/cli/run_cli.h"
#include "tests/cli/small_models.h"
#include "tests/support/test_data.h"

namespace ounce::cli {
namespace {

namespace fs = std::filesystem;

class BadInput : public ::testing::Test {
 protected:
  fs::path path(const std::string& name) const { return folder_.path() / name; }

  /// Runs the program, which must fail politely and mention `mention`.
  void expect_failure(const std::vector<std::string>& arguments, const std::string& mention) {
    const std::vector<std::string> before = names_in(folder_.path());
    const CliResult result = run_cli(arguments);
    const std::string shown = arguments[0] + " " + arguments[1];
    EXPECT_EQ(result.code, 1) << shown << ": " << result.err;
    EXPECT_TRUE(result.err.starts_with("ounce: ")) << shown << ": " << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << shown << result.err;
    EXPECT_NE(result.err.find(mention), std::string::npos) << shown << ": " << result.err;
    EXPECT_TRUE(result.out.empty()) << shown << ": " << result.out;
    EXPECT_EQ(names_in(folder_.path()), before) << shown << ": left something behind";
  }

  /// The same file given to every command that reads models.
  void expect_unreadable(const fs::path& model, const std::string& mention) {
    const std::string file = model.string();
    write_pictures(path("photos"), 1);
    expect_failure({"inspect", file}, mention);
    expect_failure({"bench", file, "--runs", "1"}, mention);
    expect_failure({"convert", file, "-o", path("converted.onnx").string()}, mention);
    expect_failure({"eval", file, "--data", path("photos").string()}, mention);
    expect_failure(
        {"quantize", file, "--data", path("photos").string(), "-o", path("out").string()}, mention);
  }

  fs::path written_classifier() {
    formats::write_onnx(small_classifier(), path("m.onnx"));
    return path("m.onnx");
  }

  testing::TemporaryFolder folder_;
};

TEST_F(BadInput, FileThatIsNotThere) {
  expect_unreadable(path("absent.onnx"), "absent.onnx");
}

TEST_F(BadInput, EmptyFile) {
  write_bytes(path("empty.onnx"), "");
  expect_unreadable(path("empty.onnx"), "empty.onnx");
}

TEST_F(BadInput, NotAModel) {
  write_bytes(path("notes.onnx"), "Dear diary, today I trained a network.\n");
  expect_unreadable(path("notes.onnx"), "notes.onnx");
}

TEST_F(BadInput, FolderInsteadOfAFile) {
  fs::create_directory(path("folder.onnx"));
  expect_unreadable(path("folder.onnx"), "folder.onnx");
}

TEST_F(BadInput, HeaderThatClaimsMoreThanThereIs) {
  std::string claim(8, '\0');
  claim[7] = 0x10;  // 2^60, little-endian
  write_bytes(path("claim.ounce"), claim + "{}");
  expect_unreadable(path("claim.ounce"), "claim.ounce");
  write_bytes(path("two.ounce"), "{}");
  expect_unreadable(path("two.ounce"), "two.ounce");
}

TEST_F(BadInput, TruncatedModel) {
  const fs::path model = written_classifier();
  for (const char* name : {"m.onnx", "m.ounce"}) {
    formats::write_model(small_classifier(), path(name));
    fs::resize_file(path(name), fs::file_size(path(name)) * 2 / 3);
    expect_unreadable(path(name), name);
  }
}

TEST_F(BadInput, HugeClaimsInTwoBytesAndInModels) {
  for (const char* name : {"two.onnx", "two.ounce"}) {
    write_bytes(path(name), "\xff\xff");
    expect_unreadable(path(name), name);
  }
  // A length of 2^60 - 1 bytes for the graph.
  write_bytes(path("long.onnx"), "\x08\x08\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x0f");
  expect_unreadable(path("long.onnx"), "long.onnx");
  std::string nodes("\x3a\x80\xda\xc4\x09", 5);  // a graph of 20 MB: ten million empty nodes
  for (int i = 0; i < 10'000'000; ++i) nodes.append("\x0a\x00", 2);
  nodes.resize(5 + 20'000'000);
  write_bytes(path("nodes.onnx"), nodes);
  expect_unreadable(path("nodes.onnx"), "too many parts");
}

TEST_F(BadInput, UnknownOperator) {
  const fs::path model = written_classifier();
  ASSERT_GE(patch_file(model, "Flatten", "Flattem"), 1);
  expect_unreadable(model, "Flattem");
}

TEST_F(BadInput, MissingExternalData) {
  formats::write_onnx(small_classifier(), path("m.onnx"),
                      {.weights = formats::WeightPlacement::external});
  ASSERT_TRUE(fs::remove(path("m.onnx.data")));
  expect_unreadable(path("m.onnx"), "m.onnx.data");
}

TEST_F(BadInput, ExternalDataOutsideTheFolder) {
  fs::create_directory(path("inner"));
  formats::write_onnx(small_classifier(), path("inner") / "m.onnx",
                      {.weights = formats::WeightPlacement::external});
  fs::rename(path("inner") / "m.onnx.data", path("onnx.dat"));
  ASSERT_GE(patch_file(path("inner") / "m.onnx", "m.onnx.data", "../onnx.dat"), 1);
  expect_unreadable(path("inner") / "m.onnx", "../onnx.dat");
}

TEST_F(BadInput, NanInWeights) {
  Graph graph = small_classifier();
  Tensor& weights = graph.value(graph.find_value("conv2.weight")).constant;
  weights.mutable_data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  formats::write_onnx(graph, path("nan.onnx"));
  const std::string file = path("nan.onnx").string();
  write_pictures(path("photos"), 1);
  expect_failure({"bench", file}, "conv2.weight");
  expect_failure({"quantize", file, "--data", path("photos").string(), "-o", path("out").string()},
                 "conv2.weight");
}

TEST_F(BadInput, WrongInputShape) {
  const std::string model = written_classifier().string();
  expect_failure({"bench", model, "--shape", "1x4x32x32"}, "pixels");
  expect_failure({"bench", model, "--shape", "images=1x3x32x32"}, "images");
  formats::write_npy(Tensor(DType::f32, {1, 4, 32, 32}), path("four.npy"));
  expect_failure({"run", model, "--input", path("four.npy").string()}, "pixels");
  fs::create_directory(path("arrays"));
  fs::copy_file(path("four.npy"), path("arrays") / "four.npy");
  expect_failure({"quantize", model, "--data", path("arrays").string(), "-o", path("out").string()},
                 "pixels");
  formats::write_npy(Tensor(DType::i64, {1, 3, 32, 32}), path("ints.npy"));
  expect_failure({"run", model, "--input", path("ints.npy").string()}, "pixels");
}

TEST_F(BadInput, DataThatIsNotThereOrEmpty) {
  const std::string model = written_classifier().string();
  fs::create_directory(path("nothing"));
  for (const char* name : {"nothing", "absent"}) {
    expect_failure({"eval", model, "--data", path(name).string()}, name);
    expect_failure({"quantize", model, "--data", path(name).string(), "-o", path("out").string()},
                   name);
  }
}

TEST_F(BadInput, PicturesThatAreNoPictures) {
  const std::string model = written_classifier().string();
  fs::create_directory(path("broken"));
  write_bytes(path("broken") / "a.jpg", "no picture");
  expect_failure({"run", model, "--input", (path("broken") / "a.jpg").string(), "-o",
                  path("drawn.png").string()},
                 "a.jpg");
  expect_failure({"quantize", model, "--data", path("broken").string(), "-o", path("out").string()},
                 "broken");
}

TEST_F(BadInput, OneCorruptPictureDoesNotStopQuantization) {
  const std::string model = written_classifier().string();
  write_pictures(path("photos"), 3);
  write_bytes(path("photos") / "class1" / "p1.jpg", "\xff\xd8\xff\xe0 cut off");
  write_bytes(path("photos") / "class0" / "p0.jpg", "");
  const CliResult result = run_cli({"quantize", model, "--data", path("photos").string(), "--crop",
                                    "32", "--runs", "1", "-o", path("out").string(), "--json"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("skipped 2 of 9"), std::string::npos) << result.err;
  EXPECT_NE(result.out.find("p1.jpg"), std::string::npos) << result.out;
  EXPECT_TRUE(fs::exists(path("out") / "model.onnx"));
}

TEST_F(BadInput, OneCorruptPictureIsNamedAndPassedOver) {
  const std::string model = written_classifier().string();
  write_pictures(path("photos"), 3);
  write_bytes(path("photos") / "class1" / "p1.jpg", "\xff\xd8\xff\xe0 cut off");
  const CliResult result =
      run_cli({"eval", model, "--data", path("photos").string(), "--crop", "32", "--json"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("skipped 1 of 9"), std::string::npos) << result.err;
  EXPECT_NE(result.out.find("p1.jpg"), std::string::npos) << result.out;
}

TEST_F(BadInput, NamesInErrorsCannotFloodTheTerminal) {
  Graph graph = small_classifier();
  graph.nodes[0].name = std::string(1'000'000, 'n');
  formats::write_onnx(graph, path("long.onnx"));
  ASSERT_GE(patch_file(path("long.onnx"), "Conv", "Conf"), 1);
  const CliResult result = run_cli({"inspect", path("long.onnx").string()});
  EXPECT_EQ(result.code, 1);
  EXPECT_LT(result.err.size(), 3000u);
}

TEST_F(BadInput, NamesInErrorsCannotSteerTheTerminal) {
  const CliResult result = run_cli({"inspect", path("a\x1b[2Jb.onnx").string()});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.err.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace ounce::cli
