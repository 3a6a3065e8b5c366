#include "engine/aligned_memory.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ounce::engine {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kBlockBytes = 8 * kHugePage;
constexpr size_t kSmall = size_t{16} << 10;  // too little to matter: left to operator new
constexpr size_t kLarge = kBlockBytes / 4;   // has huge pages of its own

// Sanitizers see the edges of what operator new returns, not of parts of a block.
#if defined(__SANITIZE_ADDRESS__) || !defined(__linux__)
constexpr bool kHugePages = false;
#else
constexpr bool kHugePages = true;
#endif

std::byte* allocate_pages(size_t bytes) {
  void* memory = ::operator new (bytes, std::align_val_t{kHugePage});
#if defined(__linux__)
  // A wish: without it, or where it is not granted, the memory is the same but slower.
  if (bytes >= kHugePage) ::madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return static_cast<std::byte*>(memory);
}

void free_pages(void* memory) noexcept {
  ::operator delete (memory, std::align_val_t{kHugePage});
}

// Blocks of huge pages that pieces are cut from one after the other. A block is given back with the
// last of its pieces: weights are packed together and dropped together, so little lies idle.
class Blocks {
 public:
  void* allocate(size_t bytes) {
    const size_t need = (bytes + kLine - 1) / kLine * kLine;
    const std::lock_guard lock(mutex_);
    if (blocks_.empty() || blocks_.back().used + need > kBlockBytes) {
      blocks_.push_back({allocate_pages(kBlockBytes), 0, 0});
    }
    Block& block = blocks_.back();
    std::byte* piece = block.memory + block.used;
    block.used += need;
    ++block.pieces;
    return piece;
  }

  void free(void* piece) noexcept {
    const std::lock_guard lock(mutex_);
    const auto* address = static_cast<const std::byte*>(piece);
    const auto block = std::find_if(blocks_.begin(), blocks_.end(), [&](const Block& candidate) {
      return address >= candidate.memory && address < candidate.memory + kBlockBytes;
    });
    if (--block->pieces > 0) return;
    free_pages(block->memory);
    blocks_.erase(block);
  }

 private:
  struct Block {
    std::byte* memory;
    size_t used;
    size_t pieces;
  };
  std::mutex mutex_;
  std::vector<Block> blocks_;
};

// Never destroyed: vectors of static lifetime may outlive any other static object.
Blocks& blocks() {
  static Blocks& instance = *new Blocks;
  return instance;
}

}  // namespace

void* allocate_aligned(size_t bytes) {
  if (!kHugePages || bytes < kSmall) return ::operator new (bytes, std::align_val_t{kLine});
  return bytes < kLarge ? blocks().allocate(bytes) : allocate_pages(bytes);
}

void free_aligned(void* memory, size_t bytes) noexcept {
  if (!kHugePages || bytes < kSmall) return ::operator delete (memory, std::align_val_t{kLine});
  if (bytes < kLarge) return blocks().free(memory);
  free_pages(memory);
}

}  // namespace ounce::engine
