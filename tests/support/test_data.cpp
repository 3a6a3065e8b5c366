#include "tests/support/test_data.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>

namespace ounce::testing {

std::optional<std::filesystem::path> data_folder() {
  const char* set = std::getenv("OUNCE_DATA");
  const std::filesystem::path folder = set != nullptr ? set : "../shared/data";
  std::error_code ignored;
  if (std::filesystem::is_directory(folder, ignored)) return folder;
  return std::nullopt;
}

TemporaryFolder::TemporaryFolder() {
  static std::atomic<int> counter{0};
  path_ = std::filesystem::temp_directory_path() /
          ("ounce-test-" + std::to_string(getpid()) + "-" + std::to_string(counter++));
  std::filesystem::create_directories(path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace ounce::testing
