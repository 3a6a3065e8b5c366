#include "cli/output.h"

#include <unistd.h>

#include <fstream>
#include <system_error>

#include "graph/error.h"

namespace ounce::cli {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const std::string& what, const fs::path& where, const std::error_code& why) {
  throw Error(what + ": " + why.message(), where.string(), "another place for the output, with -o");
}

/// The folder that holds `target`, "." when it has no other parent.
fs::path parent_of(const fs::path& target) {
  const fs::path parent = target.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

/// A name that no other output of this or another running process has.
std::string stage_name() {
  static int count = 0;
  return ".ounce-partial-" + std::to_string(getpid()) + "-" + std::to_string(count++);
}

/// "out/" and "out" name the same folder.
fs::path without_trailing_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

/// Moves what lies in one folder into another, over files of equal names.
void move_into(const fs::path& from, const fs::path& to) {
  for (const fs::directory_entry& entry : fs::directory_iterator(from)) {
    const fs::path target = to / entry.path().filename();
    if (entry.is_directory() && fs::is_directory(target)) {
      move_into(entry.path(), target);
      continue;
    }
    std::error_code failed;
    fs::rename(entry.path(), target, failed);
    if (failed) fail("cannot move a finished file into place", to, failed);
  }
}

}  // namespace

StagedOutput::StagedOutput(const fs::path& target) : target_(without_trailing_slash(target)) {
  std::error_code failed;
  if (fs::exists(target_, failed) && !fs::is_directory(target_, failed)) {
    throw Error("exists and is not a folder", target_.string(), "another name with -o");
  }
  // In the same file system as the target, so that a rename moves the files into place.
  const fs::path place = fs::is_directory(target_, failed) ? target_ : parent_of(target_);
  fs::create_directories(place, failed);
  if (failed) fail("cannot create the output folder", place, failed);
  stage_ = place / stage_name();
  fs::remove_all(stage_, failed);
  fs::create_directory(stage_, failed);
  if (failed) fail("cannot write there", place, failed);
}

StagedOutput::~StagedOutput() {
  std::error_code ignored;
  fs::remove_all(stage_, ignored);
}

void StagedOutput::write_text(std::string_view name, std::string_view text) const {
  const fs::path file = path(name);
  std::ofstream out(file, std::ios::binary);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  out.close();
  if (!out) throw Error("cannot write the file", file.string(), "free space on the disk");
}

void StagedOutput::commit() {
  std::error_code failed;
  if (!fs::exists(target_, failed)) {
    fs::rename(stage_, target_, failed);
    if (!failed) return;
    fs::create_directory(target_, failed);
  }
  move_into(stage_, target_);
}

StagedFile::StagedFile(const fs::path& target)
    : name_(target.filename().string()), folder_(parent_of(target)) {
  std::error_code ignored;
  if (name_.empty() || fs::is_directory(target, ignored)) {
    throw Error("is a folder", target.string(), "a file name with -o");
  }
}

}  // namespace ounce::cli
