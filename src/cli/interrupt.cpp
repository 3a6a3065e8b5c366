#include "cli/interrupt.h"

#include <atomic>
#include <csignal>

namespace ounce::cli {
namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set from a signal handler");

extern "C" void ounce_note_signal(int signal) {
  interrupted.store(true, std::memory_order_relaxed);
  std::signal(signal, SIG_DFL);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  interrupted.store(false);
  std::signal(SIGINT, ounce_note_signal);
  std::signal(SIGTERM, ounce_note_signal);
}

InterruptGuard::~InterruptGuard() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

bool was_interrupted() {
  return interrupted.load(std::memory_order_relaxed);
}

void check_interrupted() {
  if (was_interrupted()) throw Interrupted();
}

}  // namespace ounce::cli
