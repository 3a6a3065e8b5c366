#include "engine/aligned_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace ounce::engine {
namespace {

struct Piece {
  void* memory;
  size_t bytes;
  int value;
};

bool holds(const Piece& piece) {
  const auto* bytes = static_cast<const unsigned char*>(piece.memory);
  for (size_t i = 0; i < piece.bytes; ++i) {
    if (bytes[i] != piece.value) return false;
  }
  return true;
}

// Small ones, ones that share huge pages, and ones with pages of their own; with their neighbours.
std::vector<Piece> allocate_all_sizes() {
  std::vector<Piece> pieces;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{16} << 10, size_t{100} << 10,
                            size_t{3} << 20, size_t{4} << 20, size_t{5} << 20}) {
    for (const size_t bytes : {size - (size > 0 ? 1 : 0), size, size + 1}) {
      const int value = static_cast<int>(pieces.size() % 251);
      pieces.push_back({allocate_aligned(bytes), bytes, value});
      std::memset(pieces.back().memory, value, bytes);
    }
  }
  return pieces;
}

TEST(AlignedMemory, PiecesStandOnCacheLinesAndDoNotOverlap) {
  const std::vector<Piece> pieces = allocate_all_sizes();
  for (const Piece& piece : pieces) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(piece.memory) % 64, 0U) << piece.bytes;
    EXPECT_TRUE(holds(piece)) << piece.bytes;
  }
  for (const Piece& piece : pieces) free_aligned(piece.memory, piece.bytes);
}

TEST(AlignedMemory, SurvivorsKeepTheirContentWhenOthersAreGivenBack) {
  std::vector<Piece> pieces = allocate_all_sizes();
  for (size_t i = 0; i < pieces.size(); i += 2) free_aligned(pieces[i].memory, pieces[i].bytes);
  const std::vector<Piece> later = allocate_all_sizes();
  for (size_t i = 1; i < pieces.size(); i += 2) {
    EXPECT_TRUE(holds(pieces[i])) << pieces[i].bytes;
    free_aligned(pieces[i].memory, pieces[i].bytes);
  }
  for (const Piece& piece : later) free_aligned(piece.memory, piece.bytes);
}

TEST(AlignedMemory, ThreadsMayAllocateTogether) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([] {
      for (const Piece& piece : allocate_all_sizes()) {
        EXPECT_TRUE(holds(piece));
        free_aligned(piece.memory, piece.bytes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace ounce::engine
