#pragma once

#include <cstddef>

namespace ounce::engine {

/// Memory on a cache-line boundary, for packed weights and activations: read once a run, in order,
/// and together larger than any cache. Where the system has huge pages (Linux: 2 MiB), large pieces
/// lie on them, small ones share them: with pages of 4 KiB a core reads main memory at half the
/// rate. Throws std::bad_alloc. May be called from any thread.
void* allocate_aligned(size_t bytes);

/// Gives back what allocate_aligned(bytes) returned.
void free_aligned(void* memory, size_t bytes) noexcept;

}  // namespace ounce::engine
