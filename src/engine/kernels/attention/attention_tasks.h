#pragma once

#include "engine/kernels/attention/attention.h"
#include "engine/kernels/blocking/blocking.h"

namespace ounce::engine {

/// Tokens of a block, whose rows of f32 scores have `row` elements: the block stays in the caches
/// together with the panels that it meets. (Between 16 and 256 KiB it makes no difference.)
inline int64_t score_block_rows(int64_t row) {
  constexpr int64_t kScoreBytes = 64 * 1024;
  const int64_t tile_bytes = kMostTileRows * row * static_cast<int64_t>(sizeof(float));
  return std::clamp<int64_t>(kScoreBytes / std::max<int64_t>(tile_bytes, 1), 1, 8) * kMostTileRows;
}

/// How the heads of attention are shared out. A thread takes whole heads where there are enough of
/// them; otherwise heads are cut into ranges of tokens, and what is packed of keys and values is
/// packed for each range.
class AttentionTasks {
 public:
  /// Ranges begin at multiples of `block` tokens.
  AttentionTasks(int64_t heads, int64_t tokens, int64_t block, int threads)
      : heads_(heads), tokens_(tokens), block_(block), blocks_(ceil_div(tokens, block)) {
    const bool whole = threads == 1 || heads == 0 || heads >= 2 * threads;
    parts_ = whole ? 1 : std::clamp<int64_t>(ceil_div(2 * threads, heads), 1, blocks_);
  }

  /// Calls run(head, first token, last token, thread).
  template <class Run>
  void for_each(ThreadPool& pool, const Run& run) const {
    pool.parallel_for(heads_ * parts_, [&](int64_t task, int thread) {
      const int64_t part = task % parts_;
      run(task / parts_, blocks_ * part / parts_ * block_,
          std::min(tokens_, blocks_ * (part + 1) / parts_ * block_), thread);
    });
  }

 private:
  int64_t heads_, tokens_, block_, blocks_, parts_;
};

}  // namespace ounce::engine
