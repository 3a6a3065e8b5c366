#pragma once

#include <filesystem>

namespace ounce::recipes {

/// Keeps a second process from training in the same folder: both would write its checkpoints. Let
/// go of at the end of the process, however it ends.
class RunLock {
 public:
  /// Throws `Error` when another process holds the folder's lock, or the file cannot be made. Where
  /// the file system knows no locks there is none.
  explicit RunLock(const std::filesystem::path& folder);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int file_;
};

}  // namespace ounce::recipes
