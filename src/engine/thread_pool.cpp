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

int thread_count(int wanted) {
  const int threads = wanted > 0 ? wanted : static_cast<int>(std::thread::hardware_concurrency());
  return std::max(threads, 1);
}

uint64_t pack_range(uint64_t begin, uint64_t end) {
  return end << 32 | begin;
}

}  // namespace

// A pool of one needs no shares and takes nothing from the heap: kernels make such pools as they
// run.
ThreadPool::ThreadPool(int threads)
    : shares_(thread_count(threads) == 1 ? 0 : static_cast<size_t>(thread_count(threads))) {
  const int workers = std::max(static_cast<int>(shares_.size()) - 1, 0);
  workers_.reserve(static_cast<size_t>(workers));
  try {
    for (int i = 0; i < workers; ++i) {
      workers_.emplace_back([this, i] { worker_main(i + 1); });
    }
  } catch (...) {
    stop();  // those that were started
    throw;
  }
}

ThreadPool::~ThreadPool() {
  stop();
}

void ThreadPool::stop() {
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
  if (count <= 0) return;
  // The same call as by many threads: f is compiled once.
  if (count == 1 || workers_.empty()) {
    for (int64_t i = 0; i < count; ++i) call(context, i, 0);
    return;
  }
  call_ = call;
  context_ = context;
  for (int64_t first = 0; first < count; first += kMostIndices) {
    run_round(first, std::min(count - first, kMostIndices));
  }
}

void ThreadPool::run_round(int64_t first, int64_t count) {
  {
    const std::lock_guard lock(mutex_);
    first_ = first;
    const auto threads = static_cast<int64_t>(shares_.size());
    for (int64_t t = 0; t < threads; ++t) {
      const auto begin = static_cast<uint64_t>(count * t / threads);
      const auto end = static_cast<uint64_t>(count * (t + 1) / threads);
      shares_[static_cast<size_t>(t)].range.store(pack_range(begin, end));
    }
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

// An index of the share, or -1 when nothing is left.
int64_t ThreadPool::take(Share& share, End from) {
  uint64_t range = share.range.load();
  for (;;) {
    const uint64_t begin = range & 0xffffffffU;
    const uint64_t end = range >> 32;
    if (begin >= end) return -1;
    const bool front = from == End::kFront;
    const uint64_t left = front ? pack_range(begin + 1, end) : pack_range(begin, end - 1);
    if (share.range.compare_exchange_weak(range, left)) {
      return static_cast<int64_t>(front ? begin : end - 1);
    }
  }
}

void ThreadPool::work(int thread) {
  const Call call = call_;
  void* const context = context_;
  const int64_t first = first_;
  const auto own = static_cast<size_t>(thread);
  int64_t i = -1;
  while ((i = take(shares_[own], End::kFront)) >= 0) call(context, first + i, thread);
  for (size_t other = 1; other < shares_.size(); ++other) {
    Share& share = shares_[(own + other) % shares_.size()];
    while ((i = take(share, End::kBack)) >= 0) call(context, first + i, thread);
  }
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
