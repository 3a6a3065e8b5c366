#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace ounce::formats {

/// A file that appears under its name only when complete: it is written beside the target and
/// renamed by `commit`. Until then (an error, an interrupt, a full disk) the target stays as it
/// was. Where the file system has nameless files, even a killed process leaves nothing behind.
class AtomicFile {
 public:
  /// Throws `Error` when the folder of `target` is missing or not writable.
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Zero bytes up to `position`, counted from the start of the file.
  void pad_to(uint64_t position);
  uint64_t position() const { return position_; }

  /// Flushes to the disk and gives the file its name.
  void commit();

 private:
  void open_nameless();
  void open_temporary();
  void name_the_nameless();
  [[noreturn]] void fail(std::string_view action) const;

  std::filesystem::path target_;
  std::filesystem::path temporary_;  // empty while the file has no name
  int descriptor_ = -1;
  uint64_t position_ = 0;
};

}  // namespace ounce::formats
