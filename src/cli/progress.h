#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "cli/common.h"

namespace ounce::cli {

/// A progress line with the time left on stderr: redrawn on a terminal, one line every few seconds
/// where --progress was given, nothing otherwise. Every step also notices Ctrl-C.
class Progress {
 public:
  explicit Progress(const CommonOptions& options);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` of `total` steps of `stage` are finished (total 0: unknown); `detail` is shown behind.
  /// The time left is that of the steps since the stage's first call: a run that goes on from a
  /// checkpoint begins in the middle. Throws `Interrupted` after a signal.
  void step(const std::string& stage, int64_t done, int64_t total, const std::string& detail = {});
  /// Removes the line.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  void begin(const std::string& stage, int64_t done);
  std::string line(int64_t done, int64_t total, const std::string& detail) const;

  bool terminal_ = false;
  bool shown_ = false;
  std::string stage_;
  Clock::time_point stage_start_;
  int64_t stage_first_ = 0;  // steps done then
  Clock::time_point last_drawn_;
  bool line_open_ = false;
};

}  // namespace ounce::cli
