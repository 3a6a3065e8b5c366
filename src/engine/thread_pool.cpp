#include "engine/thread_pool.h"

#include <algorithm>

namespace ounce::engine {
namespace {

// Kernels follow each other within microseconds: a worker that sleeps at once would pay a wake-up
// (about 50 us) per kernel. Some 20 us of spinning bridges the gap between kernels and no more.
constexpr int kSpins = 600;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
  const int workers = std::max(threads, 1) - 1;
  workers_.reserve(static_cast<size_t>(workers));
  for (int i = 0; i < workers; ++i) {
    workers_.emplace_back([this, i] { worker_main(i + 1); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_.store(true);
    generation_.fetch_add(1);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// A job is open from the moment its fields are complete until the caller has found no index left.
// Workers announce themselves in `active_` before they look at `open_`; the caller closes the job
// before it looks at `active_`. So either the worker sees the job closed and leaves it alone, or
// the caller sees the worker and waits. A worker that wakes up late delays nobody.
void ThreadPool::run(int64_t count, Call call, void* context) {
  {
    const std::lock_guard lock(mutex_);
    call_ = call;
    context_ = context;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    open_.store(true);
    generation_.fetch_add(1);
  }
  wake_.notify_all();
  work(0);
  open_.store(false);
  for (int spins = 0; active_.load() != 0; ++spins) {
    if (spins < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::work(int thread) {
  const Call call = call_;
  void* const context = context_;
  const int64_t count = count_;
  for (int64_t i = next_.fetch_add(1); i < count; i = next_.fetch_add(1)) call(context, i, thread);
}

void ThreadPool::worker_main(int thread) {
  uint64_t seen = 0;
  while (true) {
    for (int spins = 0; spins < kSpins && generation_.load() == seen; ++spins) pause();
    if (generation_.load() == seen) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load() != seen; });
    }
    seen = generation_.load();
    if (stop_.load()) return;
    active_.fetch_add(1);
    if (open_.load()) work(thread);
    active_.fetch_sub(1);
  }
}

}  // namespace ounce::engine
