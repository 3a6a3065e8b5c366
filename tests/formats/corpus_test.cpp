// Replays every file that the fuzzers have learned from or stumbled over.
#include <gtest/gtest.h>

#include <filesystem>

#include "formats/ounce_file/mapped_file.h"
#include "tests/fuzz/targets.h"

namespace ounce::formats {
namespace {

namespace fs = std::filesystem;

/// Hands every file of corpus/<format> to the target; returns how many there were.
template <class Target>
size_t replay(const char* format, Target&& target) {
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(fs::path("tests/fuzz/corpus") / format)) {
    SCOPED_TRACE(entry.path().string());
    EXPECT_NO_THROW(target(MappedFile::open(entry.path())->bytes()));
    ++files;
  }
  return files;
}

TEST(FuzzCorpus, OnnxFilesAreReadOrRefused) {
  EXPECT_GT(replay("onnx", fuzz::onnx), 0u);
}
TEST(FuzzCorpus, OunceFilesAreReadOrRefused) {
  EXPECT_GT(replay("ounce", fuzz::ounce), 0u);
}
TEST(FuzzCorpus, OunceGraphsAreReadOrRefused) {
  EXPECT_GT(replay("ounce_graph", fuzz::ounce_graph), 0u);
}
TEST(FuzzCorpus, NpyFilesAreReadOrRefused) {
  EXPECT_GT(replay("npy", fuzz::npy), 0u);
}
TEST(FuzzCorpus, TorchCheckpointsAreReadOrRefused) {
  EXPECT_GT(replay("torch_checkpoint", fuzz::torch_checkpoint), 0u);
}

}  // namespace
}  // namespace ounce::formats
