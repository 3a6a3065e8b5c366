#include "engine/limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <span>
#include <utility>

#include "engine/isa.h"
#include "engine/kernels/common.h"
#include "engine/kernels/limit_probes.h"

namespace ounce::engine {
namespace {

// A limit is the best of some short runs: what else the machine does only ever takes away.
constexpr int kRepeats = 6;
constexpr double kSecondsPerRun = 1e-3;
// So much more than the last-level cache that none of it is found there the next time.
constexpr size_t kReadBytes = size_t{128} << 20;
constexpr int kReadRepeats = 6;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Work per second, in units of 1e9, of `work(thread)` run once on every thread; the best of
// `repeats`.
template <class Work>
double best_rate(ThreadPool& pool, int repeats, const Work& work) {
  const int threads = pool.size();
  double best = 0;
  for (int i = 0; i < repeats; ++i) {
    std::atomic<int64_t> done{0};
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(threads, [&](int64_t part, int) { done += work(part); });
    const double seconds = seconds_since(start);
    if (seconds > 0) best = std::max(best, static_cast<double>(done.load()) / seconds * 1e-9);
  }
  return best;
}

double arithmetic_rate(ThreadPool& pool, int64_t (*probe)(int64_t)) {
  int64_t rounds = 1000;
  for (;;) {
    const auto start = std::chrono::steady_clock::now();
    probe(rounds);
    if (seconds_since(start) >= kSecondsPerRun) break;
    rounds *= 2;
  }
  return best_rate(pool, kRepeats, [&](int64_t) { return probe(rounds); });
}

double read_rate(ThreadPool& pool) {
  // Filled: pages never written to would all be the same one.
  const AlignedVector<std::byte> memory(kReadBytes, std::byte{1});
  const std::span<const std::byte> all(memory);
  const size_t part_bytes = kReadBytes / static_cast<size_t>(pool.size()) / 4096 * 4096;
  return best_rate(pool, kReadRepeats, [&](int64_t part) {
    return probe_read(all.subspan(static_cast<size_t>(part) * part_bytes, part_bytes));
  });
}

MachineLimits measure(int threads) {
  ThreadPool pool(threads);
  MachineLimits limits;
  limits.f32_gops = arithmetic_rate(pool, probe_f32);
  limits.int8_gops = arithmetic_rate(pool, probe_int8);
  limits.bit_gops =
      std::max(arithmetic_rate(pool, probe_bits), arithmetic_rate(pool, probe_bits_with_carry));
  limits.read_gbs = read_rate(pool);
  return limits;
}

}  // namespace

double MachineLimits::gops(const Multiplication& multiplication) const {
  switch (multiplication.arithmetic) {
    case Arithmetic::kInt8:
      return int8_gops;
    case Arithmetic::kBits:
      return bit_gops / std::max(multiplication.bit_products, 1);
    case Arithmetic::kF32:
      break;
  }
  return f32_gops;
}

double measure_read_gbs(int threads) {
  ThreadPool pool(threads);
  return read_rate(pool);
}

MachineLimits machine_limits(int threads) {
  static std::mutex mutex;
  static std::map<std::pair<Isa, int>, MachineLimits> known;
  const std::lock_guard lock(mutex);
  const std::pair<Isa, int> key{current_isa(), threads};
  const auto found = known.find(key);
  if (found != known.end()) return found->second;
  return known[key] = measure(threads);
}

}  // namespace ounce::engine
