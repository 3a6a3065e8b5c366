#include "recipes/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "graph/error.h"

namespace ounce::recipes {

RunLock::RunLock(const std::filesystem::path& folder)
    : file_(::open((folder / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
  if (file_ < 0) {
    throw Error(std::generic_category().message(errno), (folder / "lock").string());
  }
  if (::flock(file_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(file_);
    throw Error("another process trains here", folder.string(),
                "another folder (-o), or waiting for it");
  }
}

RunLock::~RunLock() {
  ::close(file_);
}

}  // namespace ounce::recipes
