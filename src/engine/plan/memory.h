#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ounce::engine {

/// One buffer of the arena: alive from step `first` to step `last`, both included.
struct BufferLifetime {
  size_t bytes = 0;
  int first = 0;
  int last = 0;
};

struct ArenaLayout {
  std::vector<size_t> offsets;  // one a buffer, 64-byte aligned
  size_t bytes = 0;
};

/// Places buffers so that no two that live at the same time overlap. Greedy by size: largest first,
/// each at the lowest offset that is free during its whole life.
ArenaLayout plan_arena(const std::vector<BufferLifetime>& buffers);

}  // namespace ounce::engine
