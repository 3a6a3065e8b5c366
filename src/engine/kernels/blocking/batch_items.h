#pragma once

#include <algorithm>

#include "engine/kernels/common.h"

// Batches of products whose both operands are activations: the right one is packed into scratch,
// then multiplied like weights. Attention has many small products, so a thread takes whole items
// where there are enough of them; otherwise all threads share one item after the other.
namespace ounce::engine {

inline bool item_per_thread(int64_t items, int threads) {
  return threads == 1 || items >= 2 * threads;
}

/// Runs one(context of the item, item index), with scratch of `item_bytes` an item or all of it.
template <class One>
void for_items(const Context& context, int64_t items, size_t item_bytes, const One& one) {
  if (!item_per_thread(items, context.pool.size())) {
    for (int64_t i = 0; i < items; ++i) one(context, i);
    return;
  }
  context.pool.parallel_for(items, [&](int64_t i, int thread) {
    ThreadPool alone(1);
    const size_t offset = static_cast<size_t>(thread) * item_bytes;
    one(Context{alone, context.scratch.subspan(offset, item_bytes)}, i);
  });
}

inline size_t batch_bytes(int64_t items, int threads, size_t alone_bytes, size_t shared_bytes) {
  return item_per_thread(items, threads) ? alone_bytes * static_cast<size_t>(threads)
                                         : shared_bytes;
}

/// Panels for a thread to pack at a time.
inline constexpr int64_t kPanelsPerTask = 4;

/// Calls pack(first, last) for ranges of panels, in parallel.
template <class Pack>
void pack_in_parallel(ThreadPool& pool, int64_t panels, const Pack& pack) {
  pool.parallel_for(ceil_div(panels, kPanelsPerTask), [&](int64_t task, int) {
    const int64_t first = task * kPanelsPerTask;
    pack(first, std::min(first + kPanelsPerTask, panels));
  });
}

}  // namespace ounce::engine
