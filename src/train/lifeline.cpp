#include "train/lifeline.h"

#include <vector>

namespace ounce::train {
namespace {

constexpr std::chrono::milliseconds kBeat{500};
// Some beats of everyone, so that who serves the store does not end before it was read.
constexpr std::chrono::milliseconds kLongestGoodbye{2'000};

constexpr const char* kDoubt = "doubt";
constexpr const char* kVerdict = "verdict";
constexpr const char* kReaders = "readers";

std::string beats_of(int rank) {
  return "beats/" + std::to_string(rank);
}

}  // namespace

Lifeline::Lifeline(c10::intrusive_ptr<c10d::Store> store, int rank, int size)
    : store_(std::move(store)),
      rank_(rank),
      size_(size),
      neighbour_((rank + 1) % size),
      thread_([this] { beat(); }) {}

Lifeline::~Lifeline() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Lifeline::beat() {
  try {
    std::unique_lock lock(mutex_);
    while (!closing_ && verdict_.empty()) {
      lock.unlock();
      store_->add(beats_of(rank_), 1);
      look_at_neighbour(Clock::now());
      read_verdict();
      lock.lock();
      beat_at_ = Clock::now();
      changed_.wait_for(lock, kBeat, [this] { return closing_; });
    }
  } catch (const std::exception&) {
    end_with("rank 0 is gone, and with it the meeting point");
  }
}

void Lifeline::look_at_neighbour(Clock::time_point now) {
  const int64_t count = store_->add(beats_of(neighbour_), 0);
  if (count != heard_) {
    heard_ = count;
    heard_at_ = now;
    return;
  }
  if (now - heard_at_ < kSilenceInDoubt) return;
  const bool in_doubt = store_->check({kDoubt});
  if (!in_doubt && now - heard_at_ < kSilence) return;
  const std::string name = "rank " + std::to_string(neighbour_);
  const std::string text = in_doubt ? name + " is gone: it was killed, or its machine is"
                                    : name + " has shown no sign of life for " +
                                          std::to_string(kSilence.count() / 1000) + " s";
  store_->compareSet(kVerdict, {}, std::vector<uint8_t>(text.begin(), text.end()));
}

void Lifeline::read_verdict() {
  if (!store_->check({kVerdict})) return;
  const std::vector<uint8_t> text = store_->get(kVerdict);
  store_->add(kReaders, 1);
  end_with(std::string(text.begin(), text.end()));
}

void Lifeline::end_with(const std::string& verdict) {
  const std::lock_guard lock(mutex_);
  if (verdict_.empty()) verdict_ = verdict;
  changed_.notify_all();
}

std::string Lifeline::verdict() {
  const std::lock_guard lock(mutex_);
  const bool is_stuck = Clock::now() - beat_at_ > kSilence;
  return verdict_.empty() && is_stuck ? "rank 0 does not answer" : verdict_;
}

void Lifeline::doubt() noexcept {
  try {
    store_->set(kDoubt, {1});
  } catch (const std::exception&) {
    // The store is gone: the next beat says so.
  }
}

std::string Lifeline::wait_for_verdict() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kSilence + kSilenceInDoubt, [this] { return !verdict_.empty(); });
  }
  return verdict();
}

void Lifeline::pass_verdict(const std::string& verdict) noexcept {
  try {
    store_->compareSet(kVerdict, {}, std::vector<uint8_t>(verdict.begin(), verdict.end()));
    const Clock::time_point end = Clock::now() + kLongestGoodbye;
    while (Clock::now() < end && store_->add(kReaders, 0) < size_) {
      std::this_thread::sleep_for(kBeat / 10);
    }
  } catch (const std::exception&) {
    // Who served the store is gone, which the others notice by themselves.
  }
}

}  // namespace ounce::train
