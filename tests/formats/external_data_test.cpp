#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "formats/onnx/onnx.h"
#include "tests/formats/expect_error.h"
#include "tests/formats/onnx_model.h"
#include "tests/support/test_data.h"

namespace ounce::formats {
namespace {

namespace fs = std::filesystem;
using ::ounce::testing::TemporaryFolder;

/// A folder "model" with a data file of eight floats 0..7 beside the model, inside a folder that
/// also holds a file which must stay out of reach.
class ExternalData : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_ / "weights");
    const std::vector<float> values = {0, 1, 2, 3, 4, 5, 6, 7};
    for (const fs::path& path :
         {folder_ / "model.data", folder_ / "weights" / "w.bin", outer_.path() / "secret"}) {
      std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(values.data()), 32);
    }
  }

  OnnxModel model(const std::string& location, const char* offset = nullptr,
                  const char* length = nullptr) const {
    OnnxModel model(17);
    model.input("x", {4}).output("y", {4});
    model.node("Add", {"x", "w"}, {"y"});
    auto& tensor = model.tensor("w", 1, {4});
    tensor.set_data_location(onnx::TensorProto::EXTERNAL);
    const auto add = [&](const char* key, const std::string& value) {
      auto* entry = tensor.add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    };
    add("location", location);
    if (offset != nullptr) add("offset", offset);
    if (length != nullptr) add("length", length);
    return model;
  }

  std::vector<float> weights(const OnnxModel& model) const {
    const Graph graph = model.read(folder_);
    return graph.value(graph.find_value("w")).constant.to_f32();
  }

  void expect_refused(const std::string& location, const std::string& part) const {
    expect_error([&] { model(location).read(folder_); }, {"'w'", part});
  }

  TemporaryFolder outer_;
  fs::path folder_ = outer_.path() / "model";
};

TEST_F(ExternalData, ReadsTheWholeFileOrARangeOfIt) {
  EXPECT_EQ(weights(model("model.data")), (std::vector<float>{0, 1, 2, 3}));
  EXPECT_EQ(weights(model("model.data", "8", "16")), (std::vector<float>{2, 3, 4, 5}));
  EXPECT_EQ(weights(model("weights/w.bin", "16")), (std::vector<float>{4, 5, 6, 7}));
  EXPECT_EQ(weights(model("./model.data")), (std::vector<float>{0, 1, 2, 3}));
}

TEST_F(ExternalData, OddOffsetsAreReadCorrectly) {
  std::ofstream(folder_ / "odd", std::ios::binary) << "abc" << std::string(16, '\0');
  EXPECT_EQ(weights(model("odd", "3")), (std::vector<float>{0, 0, 0, 0}));
}

TEST_F(ExternalData, PathsOutsideTheFolderAreRefused) {
  expect_refused("../secret", "leaves the folder");
  expect_refused("weights/../../secret", "leaves the folder");
  expect_refused((outer_.path() / "secret").string(), "leaves the folder");
  expect_refused("/etc/hostname", "leaves the folder");
  expect_refused("", "leaves the folder");
  expect_refused(std::string("model.data\0x", 12), "leaves the folder");
}

TEST_F(ExternalData, LinksThatLeadOutsideAreRefused) {
  fs::create_symlink(outer_.path() / "secret", folder_ / "link");
  fs::create_directory_symlink(outer_.path(), folder_ / "door");
  expect_refused("link", "link leads out");
  expect_refused("door/secret", "link leads out");
}

TEST_F(ExternalData, LinksInsideTheFolderAreFollowed) {
  fs::create_symlink("weights/w.bin", folder_ / "inner");
  EXPECT_EQ(weights(model("inner")), (std::vector<float>{0, 1, 2, 3}));
}

TEST_F(ExternalData, MissingFileIsNamed) {
  expect_refused("absent.data", "'absent.data'");
}

TEST_F(ExternalData, OnlyRegularFilesAreOpened) {
  expect_refused("weights", "not a regular file");
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  expect_refused("pipe", "not a regular file");
}

TEST_F(ExternalData, RangesOutsideTheFileAreRefused) {
  const auto refused = [&](const char* offset, const char* length, const std::string& part) {
    expect_error([&] { model("model.data", offset, length).read(folder_); }, {"'w'", part});
  };
  refused("17", nullptr, "32 bytes");
  refused("4000000000", nullptr, "32 bytes");
  refused("18446744073709551615", nullptr, "32 bytes");
  refused("0", "15", "length 15");
  refused("99999999999999999999999", nullptr, "not a number");
  refused("-4", nullptr, "not a number");
  refused("", nullptr, "not a number");
}

TEST_F(ExternalData, BytesInMemoryHaveNoFolderToReadFrom) {
  expect_error([&] { model("model.data").read(); }, {"'model.data'"});
}

TEST_F(ExternalData, OffsetsBeyondTwoGigabytesAreReached) {
  constexpr uint64_t kOffset = 5'000'000'000;
  std::error_code failure;
  std::ofstream(folder_ / "large", std::ios::binary).close();
  fs::resize_file(folder_ / "large", kOffset + 16, failure);  // a hole: takes no space
  if (failure) GTEST_SKIP() << "this file system has no files of 5 GB";
  const std::vector<float> values = {1, 2, 3, 4};
  std::fstream file(folder_ / "large", std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(kOffset);
  file.write(reinterpret_cast<const char*>(values.data()), 16);
  file.close();
  EXPECT_EQ(weights(model("large", "5000000000", "16")), values);
}

TEST_F(ExternalData, WeightsStayReadableWhenTheFileNameIsGone) {
  const Graph graph = model("model.data").read(folder_);
  fs::remove(folder_ / "model.data");
  EXPECT_EQ(graph.value(graph.find_value("w")).constant.to_f32(), (std::vector<float>{0, 1, 2, 3}));
}

}  // namespace
}  // namespace ounce::formats
