#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

#include "train/image_set.h"

namespace ounce::train {

/// The batches of a run one after the other, made by threads before they are asked for.
///
/// Which thread makes a batch changes nothing in it. An error of a thread is thrown where its batch
/// is asked for. All threads end with the object, in the middle of a run too.
class Prefetcher {
 public:
  struct Range {
    int64_t per_epoch = 1;  // batches
    int64_t first = 0;      // batches of the run already used
    int64_t end = 0;        // batches of the whole run
  };

  /// This rank's shares, by `threads` threads; 0: in `next`. `source` must outlive the object.
  Prefetcher(const BatchSource& source, const Range& range, int threads);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// The next batch; not more often than the range has batches.
  Batch next();

 private:
  using Made = std::variant<Batch, std::exception_ptr>;

  Batch make(int64_t position) const;
  void work();

  const BatchSource& source_;
  const Range range_;
  const int64_t rank_;
  const int64_t ranks_;
  const int64_t ahead_;  // batches at most that wait or are being made

  std::mutex mutex_;
  std::condition_variable room_;
  std::condition_variable arrived_;
  int64_t next_;     // what is asked for next
  int64_t started_;  // what a thread makes next
  std::map<int64_t, Made> made_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ounce::train
