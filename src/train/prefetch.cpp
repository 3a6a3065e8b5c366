#include "train/prefetch.h"

#include <ATen/Parallel.h>
#include <omp.h>

#include <utility>

#include "train/distributed.h"

namespace ounce::train {

Prefetcher::Prefetcher(const BatchSource& source, const Range& range, int threads)
    : source_(source),
      range_(range),
      rank_(world().rank()),
      ranks_(world().size()),
      ahead_(2 * int64_t{threads}),
      next_(range.first),
      started_(range.first) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Prefetcher::~Prefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  room_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

Batch Prefetcher::make(int64_t position) const {
  return source_.batch(position / range_.per_epoch, position % range_.per_epoch, rank_, ranks_);
}

void Prefetcher::work() {
  // One thread is one thread: libtorch would start a team of its own beneath it.
  at::get_num_threads();
  omp_set_num_threads(1);
  std::unique_lock lock(mutex_);
  for (;;) {
    room_.wait(lock,
               [this] { return stopping_ || started_ >= range_.end || started_ < next_ + ahead_; });
    if (stopping_ || started_ >= range_.end) return;
    const int64_t position = started_++;
    lock.unlock();
    Made made;
    try {
      made = make(position);
    } catch (...) {
      made = std::current_exception();
    }
    lock.lock();
    made_.emplace(position, std::move(made));
    arrived_.notify_all();
  }
}

Batch Prefetcher::next() {
  if (threads_.empty()) return make(next_++);
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [this] { return made_.contains(next_); });
  Made made = std::move(made_.extract(next_).mapped());
  ++next_;
  lock.unlock();
  room_.notify_all();
  if (const auto* error = std::get_if<std::exception_ptr>(&made)) std::rethrow_exception(*error);
  return std::get<Batch>(std::move(made));
}

}  // namespace ounce::train
