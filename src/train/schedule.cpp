#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace ounce::train {

double rate_factor(const ScheduleOptions& options, int64_t step, int64_t steps) {
  const auto position = static_cast<double>(step);
  const auto total = static_cast<double>(std::max<int64_t>(steps, 1));
  const double warmup = options.warmup * total;
  // The first step is no step of rate 0.
  if (position < warmup) return (position + 1) / (warmup + 1);
  const double progress = (position - warmup) / std::max(total - warmup, 1.0);
  switch (options.kind) {
    case ScheduleKind::kConstant:
      return 1;
    case ScheduleKind::kLinear:
      return options.floor + (1 - options.floor) * (1 - progress);
    case ScheduleKind::kCosine:
      return options.floor +
             (1 - options.floor) * 0.5 * (1 + std::cos(std::numbers::pi * progress));
    case ScheduleKind::kStep:
      break;
  }
  const auto passed =
      std::count_if(options.milestones.begin(), options.milestones.end(),
                    [&](double milestone) { return position >= milestone * total; });
  return std::pow(options.decay, static_cast<double>(passed));
}

}  // namespace ounce::train
