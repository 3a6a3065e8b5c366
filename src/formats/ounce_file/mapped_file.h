#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace ounce::formats {

/// A regular file mapped read-only. Tensors borrow its bytes and keep it alive by its shared_ptr;
/// processes that map the same file share its pages.
class MappedFile {
 public:
  /// Throws `Error` when `path` is missing, unreadable or no regular file.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}

  const std::byte* data_;
  size_t size_;
};

}  // namespace ounce::formats
