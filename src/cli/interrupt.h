#pragma once

#include <exception>

namespace ounce::cli {

/// Thrown where long work notices that the user pressed Ctrl-C.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

/// While it lives, the first SIGINT or SIGTERM only sets a flag, so that work can stop at a clean
/// place; a second one ends the program as usual.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
};

/// Whether a signal came.
bool was_interrupted();

/// Throws `Interrupted` after a signal. Cheap; long work calls it between items.
void check_interrupted();

}  // namespace ounce::cli
