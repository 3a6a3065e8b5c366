#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ounce::cli {

/// Output that appears whole or not at all: files are made in a hidden folder in or beside the
/// target and moved into place by `commit`. Without `commit` (error, Ctrl-C) everything is removed.
class StagedOutput {
 public:
  /// `target` is the folder to fill; it may exist (files of equal names are then replaced). Throws
  /// `Error` when it cannot be made.
  explicit StagedOutput(const std::filesystem::path& target);
  ~StagedOutput();
  StagedOutput(const StagedOutput&) = delete;
  StagedOutput& operator=(const StagedOutput&) = delete;

  /// Where to write the file that will be `name` in the target folder.
  std::filesystem::path path(std::string_view name) const { return stage_ / name; }
  void write_text(std::string_view name, std::string_view text) const;

  /// Moves all files into the target folder, each by one rename.
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path stage_;
};

/// The same for one file (with siblings that it may need, such as external data): `path()` lies in
/// a hidden folder beside `target`.
class StagedFile {
 public:
  explicit StagedFile(const std::filesystem::path& target);
  std::filesystem::path path() const { return folder_.path(name_); }
  void commit() { folder_.commit(); }

 private:
  std::string name_;
  StagedOutput folder_;
};

}  // namespace ounce::cli
