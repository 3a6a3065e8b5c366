#include <algorithm>
#include <atomic>
#include <chrono>

#include "engine/thread_pool.h"
#include "graph/error.h"
#include "tests/engine_kernels/kernel_test.h"

namespace ounce::engine {
namespace {

TEST(ThreadPool, CallsEveryIndexOnceAndReturnsWhenAllAreDone) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(threads, pool.size());
    for (const int64_t count : {0, 1, 2, 5, 100, 1000}) {
      for (int round = 0; round < 50; ++round) {
        std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
        pool.parallel_for(count, [&](int64_t index, int thread) {
          EXPECT_GE(thread, 0);
          EXPECT_LT(thread, threads);
          calls[static_cast<size_t>(index)].fetch_add(1, std::memory_order_relaxed);
        });
        for (const auto& n : calls) ASSERT_EQ(1, n.load());
      }
    }
  }
}

TEST(ThreadPool, NoTwoCallsRunOnTheSameThreadIndexAtATime) {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> busy(4);
  pool.parallel_for(2000, [&](int64_t, int thread) {
    auto& mine = busy[static_cast<size_t>(thread)];
    EXPECT_EQ(0, mine.fetch_add(1));
    mine.fetch_sub(1);
  });
}

TEST(ThreadPool, WorkersThatSleptTakePartAgain) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    pool.parallel_for(100, [&](int64_t index, int) { sum += index; });
  }
  EXPECT_EQ(5 * 4950, sum.load());
}

TEST(ThreadPool, CanBeDestroyedRightAfterCreation) {
  for (int i = 0; i < 50; ++i) ThreadPool pool(3);
}

TEST(Isa, PortableIsAlwaysThereAndTheBestIsLast) {
  const std::vector<Isa> available = available_isas();
  ASSERT_FALSE(available.empty());
  EXPECT_EQ(Isa::kPortable, available.front());
  const IsaGuard guard;
  for (const Isa isa : available) {
    select_isa(isa);
    EXPECT_EQ(isa, current_isa());
  }
}

TEST(Isa, AnUnavailableLevelIsAnErrorThatListsTheOthers) {
  const std::vector<Isa> available = available_isas();
  for (const Isa isa : {Isa::kNeon, Isa::kAvx512Vnni}) {
    if (std::find(available.begin(), available.end(), isa) != available.end()) continue;
    const Isa before = current_isa();
    try {
      select_isa(isa);
      FAIL() << "accepted " << isa_name(isa);
    } catch (const Error& error) {
      EXPECT_NE(std::string::npos, error.remedy().find("portable")) << error.what();
      EXPECT_NE(std::string::npos, error.message().find(isa_name(isa))) << error.what();
    }
    EXPECT_EQ(before, current_isa());
  }
}

}  // namespace
}  // namespace ounce::engine
