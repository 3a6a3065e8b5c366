#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace ounce::testing {

/// The folder of real models and data (`OUNCE_DATA`, by default ../shared/data from the project
/// root), or nullopt where it is absent.
std::optional<std::filesystem::path> data_folder();

/// A fresh folder that is removed when the object dies.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace ounce::testing

/// Skips the test with a clear line when the data folder is absent; else defines `folder_variable`.
#define OUNCE_REQUIRE_DATA(folder_variable)                                           \
  const auto folder_variable##_optional = ::ounce::testing::data_folder();            \
  if (!folder_variable##_optional)                                                    \
    GTEST_SKIP() << "no data folder: set OUNCE_DATA to run this test on real models"; \
  const std::filesystem::path folder_variable = *folder_variable##_optional
