#include "formats/ounce_file/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>

#include "graph/error.h"

namespace ounce::formats {
namespace {

std::filesystem::path folder_of(const std::filesystem::path& target) {
  return target.has_parent_path() ? target.parent_path() : std::filesystem::path(".");
}

/// A name beside `target` that no other writer of this machine uses at the moment.
std::filesystem::path temporary_name(const std::filesystem::path& target) {
  static std::atomic<unsigned> counter{0};
  std::filesystem::path name = target;
  name += ".partial-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  return name;
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path target) : target_(std::move(target)) {
  if (std::filesystem::is_directory(target_)) {
    throw Error("cannot write: this is a folder", target_.string(), "name a file in it");
  }
  open_nameless();
  if (descriptor_ < 0) open_temporary();
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::open_nameless() {
#ifdef O_TMPFILE
  descriptor_ = ::open(folder_of(target_).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
#endif
}

void AtomicFile::open_temporary() {
  temporary_ = temporary_name(target_);
  descriptor_ = ::open(temporary_.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    temporary_.clear();
    fail("cannot create the file");
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("cannot write");
    bytes = bytes.subspan(static_cast<size_t>(written));
    position_ += static_cast<uint64_t>(written);
  }
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void AtomicFile::pad_to(uint64_t position) {
  static constexpr std::array<std::byte, 64> kZeros{};
  while (position_ < position) {
    write(std::span(kZeros).first(
        static_cast<size_t>(std::min<uint64_t>(kZeros.size(), position - position_))));
  }
}

void AtomicFile::name_the_nameless() {
  const std::string handle = "/proc/self/fd/" + std::to_string(descriptor_);
  // linkat does not replace an existing file, so the file gets a temporary name first.
  temporary_ = temporary_name(target_);
  if (::linkat(AT_FDCWD, handle.c_str(), AT_FDCWD, temporary_.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    temporary_.clear();
    fail("cannot name the written file");
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail("cannot flush to the disk");
  if (temporary_.empty()) name_the_nameless();
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("cannot rename into place");
  temporary_.clear();
  const int descriptor = descriptor_;
  descriptor_ = -1;
  if (::close(descriptor) != 0) fail("cannot close");
}

void AtomicFile::fail(std::string_view action) const {
  throw Error(std::string(action) + ": " + std::strerror(errno), target_.string(),
              "check that the folder exists, is writable and has room");
}

}  // namespace ounce::formats
