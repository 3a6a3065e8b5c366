#include "engine/plan/memory.h"

#include <algorithm>
#include <numeric>

namespace ounce::engine {
namespace {

constexpr size_t kAlignment = 64;

bool overlap(const BufferLifetime& a, const BufferLifetime& b) {
  return a.first <= b.last && b.first <= a.last;
}

}  // namespace

ArenaLayout plan_arena(const std::vector<BufferLifetime>& buffers) {
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  ArenaLayout layout;
  layout.offsets.assign(buffers.size(), 0);
  std::vector<size_t> placed;  // by increasing offset
  for (const size_t buffer : order) {
    const size_t bytes = (buffers[buffer].bytes + kAlignment - 1) / kAlignment * kAlignment;
    size_t offset = 0;
    for (const size_t other : placed) {
      if (!overlap(buffers[buffer], buffers[other])) continue;
      if (offset + bytes <= layout.offsets[other]) break;
      const size_t end = layout.offsets[other] + buffers[other].bytes;
      offset = std::max(offset, (end + kAlignment - 1) / kAlignment * kAlignment);
    }
    layout.offsets[buffer] = offset;
    layout.bytes = std::max(layout.bytes, offset + bytes);
    const auto position = std::find_if(
        placed.begin(), placed.end(), [&](size_t other) { return layout.offsets[other] > offset; });
    placed.insert(position, buffer);
  }
  return layout;
}

}  // namespace ounce::engine
