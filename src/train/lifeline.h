#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace ounce::train {

/// Tells the processes of a run when one of them is gone.
///
/// Each counts up a key of its own in the common store twice a second, whatever its main thread
/// does, and watches that of its neighbour: a rank may evaluate for hours while others wait for it,
/// and a lost one is named all the same. Who knows why the run must end writes that down once.
class Lifeline {
 public:
  using Clock = std::chrono::steady_clock;
  /// No sign of life for so long: lost.
  static constexpr std::chrono::milliseconds kSilence{30'000};
  /// The same after a connection broke.
  static constexpr std::chrono::milliseconds kSilenceInDoubt{3'000};

  /// `store` is used by nobody else.
  Lifeline(c10::intrusive_ptr<c10d::Store> store, int rank, int size);
  ~Lifeline();
  Lifeline(const Lifeline&) = delete;
  Lifeline& operator=(const Lifeline&) = delete;

  /// Why the run must end; empty while all is well.
  std::string verdict();
  /// A connection to somebody broke: whoever is silent is not waited for any longer.
  void doubt() noexcept;
  /// Waits until there is a verdict, or long enough to know that none will come (empty).
  std::string wait_for_verdict();
  /// Writes the verdict unless there is one, and waits until the others have read it.
  void pass_verdict(const std::string& verdict) noexcept;

 private:
  void beat();
  void look_at_neighbour(Clock::time_point now);
  void read_verdict();
  void end_with(const std::string& verdict);

  c10::intrusive_ptr<c10d::Store> store_;
  int rank_;
  int size_;
  int neighbour_;
  int64_t heard_ = -1;  // the neighbour's count
  Clock::time_point heard_at_ = Clock::now();

  std::mutex mutex_;
  Clock::time_point beat_at_ = Clock::now();
  std::condition_variable changed_;
  std::string verdict_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace ounce::train
