#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace ounce::engine {

/// A fixed set of worker threads for one kernel after the other. The calling thread takes part, so
/// a pool of size 1 owns no thread and runs everything inline.
class ThreadPool {
 public:
  // `threads` counts the caller; 0 means one per hardware thread. Throws std::system_error when the
  // system has no more threads.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls f(index, thread) for every index in [0, count), thread in [0, size()); returns when all
  // are done. Each thread begins with its own share, the same part of [0, count) every time: where
  // kernels number their tasks by rows, what a thread reads is what it wrote in the kernel before,
  // still in its cache. Who has finished takes from the end of what others have left. f must not
  // throw and must not call parallel_for of the same pool. Allocates nothing. Only one thread may
  // call it at a time.
  template <class F>
  void parallel_for(int64_t count, F&& f) {
    using Function = std::remove_reference_t<F>;
    run(
        count,
        [](void* context, int64_t index, int thread) {
          (*static_cast<Function*>(context))(index, thread);
        },
        const_cast<void*>(static_cast<const void*>(&f)));
  }

 private:
  using Call = void (*)(void* context, int64_t index, int thread);

  // Indices [begin, end) that a thread has still to do, `begin` in the lower half of one word, so
  // that its owner (at the front) and others (at the end) take from it without a lock.
  struct alignas(64) Share {
    std::atomic<uint64_t> range{0};
  };
  // Indices of one round: they fit in half a word.
  static constexpr int64_t kMostIndices = int64_t{1} << 31;

  void run(int64_t count, Call call, void* context);
  void run_round(int64_t first, int64_t count);
  void worker_main(int thread);
  void stop();
  void work(int thread);
  enum class End { kFront, kBack };
  static int64_t take(Share& share, End from);

  // The current parallel_for: written by the caller while no job is open, read by workers while one
  // is.
  Call call_ = nullptr;
  void* context_ = nullptr;
  int64_t first_ = 0;  // added to the indices of the round
  std::vector<Share> shares_;
  alignas(64) std::atomic<uint64_t> generation_{0};
  alignas(64) std::atomic<int> active_{0};  // workers that may be looking at the job
  std::atomic<bool> open_{false};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
};

}  // namespace ounce::engine
