#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "cli/interrupt.h"
#include "report/format.h"

namespace ounce::cli {
namespace {

constexpr auto kTerminalInterval = std::chrono::milliseconds(100);
constexpr auto kLogInterval = std::chrono::seconds(2);

}  // namespace

Progress::Progress(const CommonOptions& options)
    : terminal_(isatty(STDERR_FILENO) != 0), shown_(terminal_ || options.progress) {}

Progress::~Progress() {
  clear();
}

void Progress::clear() {
  if (line_open_) std::fputs("\r\x1b[K", stderr);
  line_open_ = false;
}

void Progress::begin(const std::string& stage, int64_t done) {
  stage_ = stage;
  stage_first_ = done;
  stage_start_ = Clock::now();
  last_drawn_ = {};
}

std::string Progress::line(int64_t done, int64_t total, const std::string& detail) const {
  const double elapsed = std::chrono::duration<double>(Clock::now() - stage_start_).count();
  if (total <= 0) return fmt::format("{}: {} ({})", stage_, done, report::duration_text(elapsed));
  std::string text = fmt::format("{}: {}/{}", stage_, done, total);
  if (done > stage_first_ && done < total) {
    const double left =
        elapsed / static_cast<double>(done - stage_first_) * static_cast<double>(total - done);
    text += fmt::format(", {} left", report::duration_text(left));
  }
  return detail.empty() ? text : text + ", " + detail;
}

void Progress::step(const std::string& stage, int64_t done, int64_t total,
                    const std::string& detail) {
  check_interrupted();
  if (!shown_) return;
  if (stage != stage_) begin(stage, done);
  const auto now = Clock::now();
  const bool last = total > 0 && done >= total;
  const auto interval = terminal_ ? std::chrono::duration_cast<Clock::duration>(kTerminalInterval)
                                  : std::chrono::duration_cast<Clock::duration>(kLogInterval);
  if (!last && last_drawn_ != Clock::time_point{} && now - last_drawn_ < interval) return;
  last_drawn_ = now;
  if (terminal_) {
    fmt::print(stderr, "\r\x1b[K{}", line(done, total, detail));
    line_open_ = true;
  } else {
    fmt::print(stderr, "{}\n", line(done, total, detail));
  }
  std::fflush(stderr);
}

}  // namespace ounce::cli
