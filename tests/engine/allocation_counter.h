#pragma once

#include <cstdint>

namespace ounce::testing {

/// Counts what all threads take from the heap through `operator new` while it lives; one at a time.
/// Its source file replaces the global operators of the executable that it is linked into.
class AllocationCounter {
 public:
  AllocationCounter();
  ~AllocationCounter();
  AllocationCounter(const AllocationCounter&) = delete;
  AllocationCounter& operator=(const AllocationCounter&) = delete;

  int64_t count() const;
};

}  // namespace ounce::testing
